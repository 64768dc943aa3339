"""Which process of a fleet makes which shards: the open ones of its group, then any that nobody has."""

from __future__ import annotations

import random

from tasks.output import claims
from tasks.output.directory import RunDirectory
from tasks.output.session import Session

AT_ONCE = 8
"""Shards of others that a process sets out for at most before it looks again; half of those that nobody has."""
LOOKS = 8
"""Claims of others that a process looks into, to see whether who made them lives, when no shard is without one."""


def group_of(group: int, groups: int, shards: int) -> range:
    """The shards of group 1, 2, ... of so many: neighbours, so that a process reads its own part of the input."""
    return range((group - 1) * shards // groups, group * shards // groups)


class Share:
    """What one process of a group finds to do. A look costs two listings, whatever the number of shards done.

    `session`: that of the process. What an earlier process of the same flow run holds will be free.
    """

    def __init__(self, output: RunDirectory, shards: int, group: int, groups: int, session: Session) -> None:
        self.output, self.shards, self.session = output, shards, session
        self.own = group_of(group, groups, shards)
        self.stale = output.stale()
        self.tried: set[int] = set()
        self.random = random.Random(f"{group}/{groups}")

    def open_ones(self) -> list[int]:
        """The group's open shards that no other living process has, or else what `more` finds. Looks once into each
        claim of its group."""
        if mine := [shard for shard in self._unmade() if shard in self.own]:
            claimed = claims.claimed(self.output.store)
            held = self._held({shard: claimed[shard] for shard in mine if shard in claimed})
            mine = [shard for shard in mine if shard not in held or self._is_ours(held[shard])]
        return mine or self.more()

    def _held(self, newest: dict[int, int]) -> dict[int, claims.Owner]:
        return claims.holders(self.output.store, self.session.living, newest)

    def _is_ours(self, owner: claims.Owner) -> bool:
        return bool(owner.flow_run) and owner.flow_run == self.session.flow_run

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
            held = self._held({shard: claimed[shard] for shard in looked})
            found = sorted(shard for shard in looked if shard not in held)
        self.tried.update(found)
        return found

    def _unmade(self) -> list[int]:
        return self.output.unmade(self.shards, self.stale)
