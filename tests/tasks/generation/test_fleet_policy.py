"""When flow runs are started, started again, and given up: decisions alone, no Prefect."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import FleetError, RunCancelled, UserError
from tasks.generation.fleet_policy import LATE, LONG, Fleet, FlowRun, Start, State
from tasks.generation.shard_groups import group_of


def run(
    group: int,
    state: State,
    attempt: int = 1,
    message: str = "",
    seconds: float = 0.0,
    groups: int = 3,
    since: float = 0.0,
) -> FlowRun:
    id_ = f"{group}/{groups}-{attempt}"
    return FlowRun(id_, f"run {group}", group, groups, attempt, state, message, seconds, since)


class World:
    """A fleet of so many groups and shards, and what becomes of the flow runs that it starts."""

    def __init__(self, groups: int = 3, shards: int = 9, restarts: int = 2) -> None:
        self.fleet, self.shards, self.open = Fleet(groups, restarts), shards, set(range(shards))

    def look(self, free: bool = False) -> list[Start]:
        starts = self.fleet.starts(self.open, self.shards, free)
        for start in starts:
            self.become(start.group, "waiting", start.attempt)
        return starts

    def become(
        self,
        group: int,
        state: State,
        attempt: int | None = None,
        message: str = "",
        seconds: float = 0,
        since: float = 0,
    ) -> None:
        attempt = attempt or self.fleet.runs[group, self.fleet.groups].attempt
        self.fleet.keep(run(group, state, attempt, message, seconds, self.fleet.groups, since))


@given(st.integers(1, 70), st.integers(0, 300))
def test_groups_share_out_every_shard_once_and_evenly(groups: int, shards: int) -> None:
    parts = [group_of(group, groups, shards) for group in range(1, groups + 1)]
    assert [shard for part in parts for shard in part] == list(range(shards))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_each_group_is_started_once_and_then_left_alone() -> None:
    world = World()
    assert world.look() == [Start(1, 1), Start(2, 1), Start(3, 1)]
    assert world.look() == []
    world.become(2, "running")
    assert world.look() == []


def test_no_more_are_started_than_shards_are_open_and_first_those_whose_shards_they_are() -> None:
    world = World(groups=4, shards=40)
    world.open = {25, 39}
    assert [start.group for start in world.look()] == [3, 4]
    world.open = {25}
    world.become(4, "crashed")
    assert world.look() == []


def test_what_an_earlier_parent_started_is_gone_on_with() -> None:
    world = World()
    world.fleet.adopt([run(1, "crashed", 1), run(1, "running", 2), run(2, "done", 1), run(3, "cancelled", 3)])
    assert world.look() == [Start(2, 2), Start(3, 4)]


def test_flow_runs_of_an_earlier_parent_with_other_groups_are_watched_and_followed_by_groups_of_this_one() -> None:
    world = World(groups=2, shards=40)
    old = [run(group, "running", groups=8) for group in range(1, 9)]
    world.fleet.adopt([*old, run(1, "running", 4, groups=2)])
    assert len(world.fleet.at_work()) == 9, "1/8 is not 1/2"
    assert world.look(free=True) == []
    world.become(1, "done")
    for flow_run in old[:7]:
        world.fleet.keep(replace(flow_run, state="crashed"))
    assert world.look(free=False) == []
    assert world.look(free=True) == [Start(2, 1)]
    world.fleet.keep(replace(old[7], state="crashed"))
    assert world.look(free=True) == [], "another works"
    world.become(2, "done")
    assert world.look(free=True) == [Start(1, 5), Start(2, 2)]


def test_one_that_does_not_begin_is_waited_for_but_not_reckoned_on() -> None:
    world = World()
    world.look()
    world.open = {0}
    world.become(2, "done")
    world.become(3, "done")
    assert world.look(free=True) == [], "it may begin any moment"
    world.become(1, "waiting", since=LATE + 1)
    assert world.look(free=True) == [Start(2, 2)]
    assert [flow_run.group for flow_run in world.fleet.at_work()] == [1, 2]
    world.become(2, "cancelled")
    world.become(3, "cancelled")
    assert world.look(free=True) == [], "no end of the run, for it may begin yet"
    world.become(1, "crashed")
    assert world.look(free=True) == [Start(1, 2)]


def test_one_that_crashed_is_started_again_later_and_later_if_it_crashes_at_once() -> None:
    world = World(restarts=9)
    world.look()
    delays = []
    for _ in range(7):
        world.become(1, "crashed")
        [start] = world.look()
        delays.append(start.delay)
    assert delays == [0, 10, 20, 40, 80, 160, 300]
    world.become(1, "crashed", seconds=LONG)
    assert [start.delay for start in world.look()] == [0]


def test_a_group_is_given_up_after_so_many_starts_without_a_shard_committed() -> None:
    world = World(restarts=2)
    world.look()
    for _ in range(3):  # a shard of any group counts
        for _ in range(2):
            world.become(1, "crashed", message="out of memory")
            assert len(world.look()) == 1
        world.open.pop()
        assert world.look() == []
    for _ in range(2):
        world.become(1, "crashed", message="out of memory")
        world.look()
    world.become(1, "crashed", message="out of memory")
    with pytest.raises(FleetError, match="flow run run 1: out of memory; it was started again 2 times without a shard"):
        world.look()


def test_a_mistake_is_not_tried_again() -> None:
    world = World()
    world.look()
    world.become(3, "crashed", message="Flow run encountered an exception: UserError: models.draft: is\nnot here")
    with pytest.raises(UserError, match=r"^models\.draft: is\\nnot here$"):
        world.look()


def test_one_that_ended_is_started_again_only_where_nobody_works_and_a_shard_is_free() -> None:
    world = World()
    world.look()
    world.open = {4}
    world.become(1, "done")
    world.become(2, "done")
    world.become(3, "running")
    assert world.look(free=True) == []
    world.become(3, "done")
    assert world.look(free=False) == []
    assert world.look(free=True) == [Start(2, 2)]


def test_one_that_was_cancelled_is_not_started_again() -> None:
    world = World()
    world.look()
    world.become(1, "cancelled")
    assert world.look() == []
    world.become(2, "cancelled")
    world.become(3, "crashed")
    assert world.look() == [Start(3, 2)]
    world.become(3, "cancelled")
    with pytest.raises(RunCancelled):
        world.look()


@given(st.data())
def test_whatever_becomes_of_flow_runs_some_are_at_work_until_the_run_ends(data: st.DataObject) -> None:
    """Whatever an earlier parent left as well: no look at free shards finds nobody at work and leaves it at that."""
    world = World(data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12)), restarts=3)
    ends: st.SearchStrategy[State] = st.sampled_from(["running", "done", "crashed", "cancelled"])
    states: st.SearchStrategy[State] = st.sampled_from(["waiting", "running", "done", "crashed", "cancelled"])
    parts = st.integers(1, 6).flatmap(lambda groups: st.tuples(st.integers(1, groups), st.just(groups)))
    known = data.draw(st.dictionaries(parts, states, max_size=8))
    world.fleet.adopt([run(group, state, groups=groups) for (group, groups), state in known.items()])
    most = max(len(world.fleet.at_work()), world.fleet.groups)
    keys = {(group, 1) for group, groups in known if groups == world.fleet.groups}
    for _ in range(40):
        if not world.open:
            return
        try:
            starts = world.look(free=True)
        except (FleetError, RunCancelled):
            return
        made = {(start.group, start.attempt) for start in starts}
        assert not made & keys, "an attempt is made once"
        keys |= made
        assert 1 <= len(world.fleet.at_work()) <= most
        for flow_run in world.fleet.at_work():
            world.fleet.keep(replace(flow_run, state=data.draw(ends)))
        for _ in range(data.draw(st.integers(0, 2))):
            world.open = set(sorted(world.open)[1:])
