"""A paged cache of keys and values in which prefixes are found again, block by block, and a tier of it on the host.

A block is known by all tokens up to its end. Blocks of requests under way are held; others stay until their room is
needed, those that were used longest ago first, and of one request the last ones first. So of a prefix that is there,
all shorter ones are there as well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST = np.uint64(31)


def keys_of(ids: npt.NDArray[np.int32], block: int) -> list[int]:
    """A number for each whole block of a text [token]: the same for the same tokens up to the block's end, and by
    chance of 2^-64 for others."""
    whole = len(ids) // block * block
    mixed = ids[:whole].astype(np.uint64) + np.arange(1, whole + 1, dtype=np.uint64) * _ODD
    for shift, factor in _MIX:  # splitmix64
        mixed = (mixed ^ (mixed >> shift)) * factor
    found: list[int] = np.cumsum(mixed ^ (mixed >> _LAST))[block - 1 :: block].tolist()
    return found


class Block:
    """A block on the card, for as long as it is there."""

    __slots__ = ("before", "holders", "key")

    def __init__(self, key: int, before: Block | None) -> None:
        self.key, self.before = key, before
        self.holders = 0
        """Requests under way that end in it, and held blocks that follow it."""


@dataclass(slots=True)
class Lease:
    """What a request holds until it ends."""

    keys: list[int]
    """Of its whole blocks, answer included."""
    last: Block | None
    unfilled: int
    """Blocks that are not whole at its end: 0 or 1."""
    found: int
    """Tokens of its prompt that were on the card."""
    loaded: int
    """Tokens that come after them, which were in the host's memory."""


class PrefixCache:
    """One engine's cache, spread over its cards."""

    def __init__(self, tokens: int, host_tokens: int = 0, block: int = 16) -> None:
        """`tokens`: those that it holds. `host_tokens`: those that lie in the host's memory, where each request's are
        written when it ends."""
        self.block = block
        self.room, self.host_room = tokens // block, host_tokens // block
        self.blocks: dict[int, Block] = {}
        self.unfilled = 0
        """Blocks of requests under way that have no key."""
        self.held = 0
        """Blocks of requests under way, these included."""
        self.idle: OrderedDict[int, Block] = OrderedDict()
        """Blocks that nobody holds, in the order in which they go."""
        self.host: OrderedDict[int, None] = OrderedDict()

    def blocks_of(self, tokens: int) -> int:
        """Blocks of a request whose context comes to so many tokens."""
        return -(-tokens // self.block)

    def take(self, keys: list[int], prompt: int, tokens: int) -> Lease | None:
        """Room for a request: keys of its whole blocks, tokens of its prompt, and of its context at its end. None where
        requests under way leave too little."""
        there = _depth(keys, self.blocks)
        last = self.blocks[keys[there - 1]] if there else None
        unfilled = self.blocks_of(tokens) - len(keys)
        new = len(keys) - there + unfilled
        if self.held + _idle_up_to(last) + new > self.room:
            return None
        self._hold(last)
        while len(self.blocks) + self.unfilled + new > self.room:
            del self.blocks[self.idle.popitem(last=False)[0]]
        for key in keys[there:]:
            last = self.blocks[key] = Block(key, last)
            last.holders = 1
        self.held += new
        self.unfilled += unfilled
        readable = (prompt - 1) // self.block  # the last token is computed, whatever is there
        found = min(there, readable)
        loaded = max(0, min(_depth(keys, self.host), readable) - found) if self.host_room else 0
        return Lease(keys, last, unfilled, found * self.block, loaded * self.block)

    def give_back(self, lease: Lease) -> None:
        """A request has ended: what it held stays until its room is needed."""
        self.held -= lease.unfilled
        self.unfilled -= lease.unfilled
        block = lease.last
        while block is not None:
            block.holders -= 1
            if block.holders:
                break
            self.idle[block.key] = block
            self.held -= 1
            block = block.before
        if self.host_room:
            for key in reversed(lease.keys):
                self.host[key] = None
                self.host.move_to_end(key)
            while len(self.host) > self.host_room:
                self.host.popitem(last=False)

    def clear(self) -> None:
        """Drop all that is cached on the card and on the host; nothing is under way."""
        assert not self.held, "requests under way keep what they have"
        self.blocks.clear()
        self.idle.clear()
        self.host.clear()

    def _hold(self, block: Block | None) -> None:
        while block is not None:
            block.holders += 1
            if block.holders > 1:
                break
            del self.idle[block.key]
            self.held += 1
            block = block.before


def _idle_up_to(block: Block | None) -> int:
    """Blocks that nobody holds, from this one back."""
    found = 0
    while block is not None and not block.holders:
        found += 1
        block = block.before
    return found


def _depth(keys: Sequence[int], there: Container[int]) -> int:
    """How many of these are there, from the first on."""
    return bisect_left(keys, True, key=lambda key: key not in there)
