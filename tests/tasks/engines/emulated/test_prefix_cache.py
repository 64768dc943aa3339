"""A paged cache finds prefixes again, drops what was used longest ago, and keeps a copy on the host where it may."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.engines.emulated.prefix_cache import Lease, PrefixCache, keys_of

BLOCK = 4


def keys(text: str) -> list[int]:
    return keys_of(np.frombuffer(text.encode(), np.uint8).astype(np.int32), BLOCK)


def take(cache: PrefixCache, text: str, written: int = 0) -> Lease | None:
    return cache.take(keys(text), len(text) - written, len(text))


def use(cache: PrefixCache, text: str) -> tuple[int, int]:
    """Tokens of a prompt that were on the card, and on the host."""
    lease = take(cache, text)
    assert lease is not None
    cache.give_back(lease)
    return lease.found, lease.loaded


def test_a_block_is_known_by_all_that_comes_before_it() -> None:
    assert keys("aaaabbbb")[:1] == keys("aaaacccc")[:1]
    assert keys("aaaabbbb")[1] != keys("ccccbbbb")[1]
    assert keys("aaaabbbbc") == keys("aaaabbbb")
    assert len({*keys("abababababababab")}) == 4
    assert keys("abcd") != keys("dcba")


def test_whole_blocks_are_found_again_but_never_the_last_token() -> None:
    cache = PrefixCache(100, block=BLOCK)
    assert use(cache, "aaaabbbb") == (0, 0)
    assert use(cache, "aaaabbbb") == (4, 0)
    assert use(cache, "aaaabbbbc") == (8, 0)
    assert use(cache, "aaaaxbbb") == (4, 0)
    assert use(cache, "xaaabbbb") == (0, 0)


def test_what_was_written_is_found_by_who_reads_it() -> None:
    cache = PrefixCache(100, block=BLOCK)
    lease = take(cache, "aaaabbbbcccc", written=8)
    assert lease is not None
    assert lease.found == 0
    cache.give_back(lease)
    assert use(cache, "aaaabbbbccccd") == (12, 0)


def test_the_ends_of_what_was_used_longest_ago_go_first() -> None:
    cache = PrefixCache(6 * BLOCK, block=BLOCK)
    use(cache, "aaaabbbbcccc")
    use(cache, "ddddeeee")
    use(cache, "aaaabbbbz")
    use(cache, "ffff")  # of the six blocks, those of c and of the z are the oldest
    assert use(cache, "aaaabbbbz") == (8, 0)
    assert use(cache, "ddddeeeez") == (8, 0)
    assert use(cache, "aaaabbbbccccz") == (8, 0)


def test_requests_under_way_keep_what_they_hold() -> None:
    cache = PrefixCache(4 * BLOCK, block=BLOCK)
    long = take(cache, "aaaabbbbcc")
    assert long is not None
    assert take(cache, "ddddeeee") is None
    other = take(cache, "aaaabbbbcd")
    assert other is not None  # it shares two blocks, and needs but one
    assert other.found == 8
    assert take(cache, "d") is None
    cache.give_back(long)
    assert take(cache, "d") is not None


def test_the_host_keeps_what_the_card_has_no_room_for() -> None:
    cache = PrefixCache(3 * BLOCK, host_tokens=100, block=BLOCK)
    use(cache, "aaaabbbbc")
    use(cache, "ddddeeeef")
    assert use(cache, "aaaabbbbc") == (0, 8)
    assert use(cache, "aaaabbbbc") == (8, 0)
    small = PrefixCache(3 * BLOCK, host_tokens=1 * BLOCK, block=BLOCK)
    use(small, "aaaabbbbc")
    use(small, "ddddeeeef")
    assert use(small, "ddddeeeef") == (8, 0)
    assert use(small, "aaaabbbbc") == (0, 0)


def test_a_cache_that_is_cleared_is_empty() -> None:
    cache = PrefixCache(100, host_tokens=100, block=BLOCK)
    use(cache, "aaaabbbbc")
    cache.clear()
    assert use(cache, "aaaabbbbc") == (0, 0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=24), st.booleans()), max_size=40),
    st.integers(6, 12),
    st.integers(0, 8),
)
def test_blocks_are_counted_rightly_whatever_comes(asked: list[tuple[str, bool]], room: int, host: int) -> None:
    """As a plain cache would: what is held is what requests under way have, each block once."""
    cache = PrefixCache(room * BLOCK, host * BLOCK, BLOCK)
    under_way: list[tuple[str, Lease]] = []
    for text, ends in asked:
        held = {text[: (i + 1) * BLOCK] for text, _ in under_way for i in range(len(text) // BLOCK)}
        unfilled = sum(len(text) % BLOCK > 0 for text, _ in under_way)
        assert cache.held == len(held) + unfilled
        assert len(cache.blocks) + cache.unfilled <= cache.room
        assert len(cache.idle) == len(cache.blocks) - len(held)
        assert len(cache.host) <= host
        own = {text[: (i + 1) * BLOCK] for i in range(len(text) // BLOCK)}
        fits = len(held | own) + unfilled + (len(text) % BLOCK > 0) <= room
        lease = take(cache, text)
        assert (lease is not None) == fits
        if lease is not None:
            under_way.append((text, lease))
        if under_way and (ends or lease is None):
            cache.give_back(under_way.pop(0)[1])
    for _, lease in under_way:
        cache.give_back(lease)
    assert not cache.held
    assert not cache.unfilled
