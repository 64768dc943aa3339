"""Who of several processes makes which shards: each the open ones of its group, then any that nobody has."""

from __future__ import annotations

import random

from tasks import claims
from tasks.run_directory import RunDirectory

AT_ONCE = 8
"""Shards of others that a process sets out for at most before it looks again; half of those that nobody has."""
LOOKS = 8
"""Claims of others that a process looks into, to see whether who made them lives, when no shard is without one."""


def group_of(group: int, groups: int, shards: int) -> range:
    """The shards of group 1, 2, ... of so many: neighbours, so that a process reads its own part of the input."""
    return range((group - 1) * shards // groups, group * shards // groups)


class Share:
    """What one process of a group finds to do. A look costs two listings, whatever the number of shards done."""

    def __init__(self, output: RunDirectory, shards: int, group: int, groups: int) -> None:
        self.output, self.shards = output, shards
        self.own = group_of(group, groups, shards)
        self.stale = output.stale()
        self.tried: set[int] = set()
        self.random = random.Random(f"{group}/{groups}")

    def open_ones(self) -> list[int]:
        """The group's open shards, whoever has them, or else what `more` finds."""
        return [shard for shard in self._unmade() if shard in self.own] or self.more()

    def more(self) -> list[int]:
        """Some open shards that nobody has, or whose claimant is dead, each at most once."""
        open_, claimed = self._unmade(), claims.claimed(self.output.store)
        left = [shard for shard in open_ if shard not in self.tried]
        if free := [shard for shard in left if shard not in claimed]:
            # processes that run dry at the same time should not set out for the same ones
            at = self.random.randrange(len(free))
            found = free[at : at + min(AT_ONCE, -(-len(free) // 2))]
        else:
            looked = self.random.sample(left, min(LOOKS, len(left)))
            held = claims.holders(self.output.store, {shard: claimed[shard] for shard in looked})
            found = sorted(shard for shard in looked if shard not in held)
        self.tried.update(found)
        return found

    def _unmade(self) -> list[int]:
        return self.output.unmade(self.shards, self.stale)
