"""What one of several processes finds to do, by two listings a look."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tasks.generation.shard_groups import AT_ONCE, LOOKS, Share
from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.directory import RunDirectory
from tasks.output.run_files import shard_key
from tasks.output.session import Session
from tasks.storage.store import Store


@pytest.fixture
def output(tmp_path: Path) -> RunDirectory:
    return RunDirectory(Store(str(tmp_path / "out")))


def done(output: RunDirectory, *shards: int) -> None:
    for shard in shards:
        output.store.write(shard_key(shard), b"{}")


def claimed(output: RunDirectory, *shards: int, dead: bool = False, flow_run: str = "") -> None:
    name = "d" if dead else "a"
    owner = Owner(name, "elsewhere", 7, 0.0, 0.0, 0.0, {}, dead, flow_run=flow_run)
    output.store.write(f"checkpoints/sessions/{name}.json", json.dumps(owner._asdict()).encode())
    for shard in shards:
        output.store.write(f"checkpoints/claims/{shard:05d}/000001.json", json.dumps({"session": name}).encode())


def share_of(output: RunDirectory, shards: int, group: int, groups: int, flow_run: str = "") -> Share:
    return Share(output, shards, group, groups, Session(output.store, flow_run=flow_run))


def test_first_its_groups_open_shards_then_others_as_far_as_nobody_has_them(output: RunDirectory) -> None:
    done(output, 0, 3, 11)
    claimed(output, 1, 4, 6)
    share = share_of(output, 12, 2, 3)
    assert share.open_ones() == [5, 7]
    done(output, 4, 5, 6, 7)
    looks = [share.more() for _ in range(5)]
    assert sorted(shard for look in looks for shard in look) == [2, 8, 9, 10]
    assert len(looks[0]) <= 2, "half of them are left to others"
    assert looks[-1] == []


def test_a_group_that_is_done_helps_at_once(output: RunDirectory) -> None:
    done(output, 4, 5, 6, 7)
    assert set(share_of(output, 12, 2, 3).open_ones()) <= {0, 1, 2, 3, 8, 9, 10, 11}


def test_of_a_group_that_living_others_hold_nothing_is_to_be_had(output: RunDirectory) -> None:
    """Not so what an earlier process of the same flow run held, or one that is dead."""
    claimed(output, 0, 1, flow_run="x")
    claimed(output, 2, 3, dead=True)
    assert share_of(output, 4, 1, 2, "y").open_ones() == [2, 3], "what is to be had of others' shards"
    assert share_of(output, 4, 1, 2, "x").open_ones() == [0, 1]
    assert share_of(output, 4, 2, 2, "y").open_ones() == [2, 3]


def test_those_of_the_dead_are_taken_once_no_other_is_left(output: RunDirectory) -> None:
    claimed(output, 0, 1)
    claimed(output, 2, 3, dead=True)
    share = share_of(output, 5, 5, 5)
    assert share.open_ones() == [4]
    assert share.more() == [4]
    done(output, 4)
    assert share.more() == [2, 3]
    assert share.more() == []


def test_a_look_costs_the_same_however_many_shards_are_done_or_in_other_hands(
    output: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(output, *range(100))
    claimed(output, *range(100, 200))
    requests = Counter[str]()
    files = output.store.files
    for name in ("read", "stats"):

        def counted(*arguments: str, name: str = name, call: object = getattr(files, name)) -> object:
            requests[name] += 1
            return call(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(files, name, counted)
    share = share_of(output, 300, 1, 3)
    assert 0 < len(share.open_ones()) <= AT_ONCE
    assert requests == {"read": 1, "stats": 3}
    while share.more():
        pass
    requests.clear()
    assert share.more() == []
    assert requests["stats"] == 2
    assert requests["read"] <= 2 * LOOKS


def test_processes_that_run_dry_together_set_out_for_different_shards(output: RunDirectory) -> None:
    starts = {tuple(share_of(output, 640, group, 64).more()) for group in range(1, 65)}
    assert len(starts) > 50


def test_of_one_that_has_ended_nothing_is_held(output: RunDirectory) -> None:
    claimed(output, 0)
    claims.mark_dead(output.store, "checkpoints/sessions/a.json")
    assert share_of(output, 1, 2, 2).open_ones() == [0]
