"""Runs whose processes end anywhere, meet faults, find their files damaged and share an output: nothing is lost,
nothing is there twice, and no reader is ever told that something is done which is not.

STEPWAVE_EXAMPLES multiplies the number of examples, and makes them new ones each time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from disks import CLOCK, Disk, Event, MemoryStore, Turns
from hypothesis import Phase, event, given, note, settings
from hypothesis import strategies as st
from small_runs import (
    TEXTS,
    Health,
    Layout,
    Process,
    Reader,
    Row,
    Witness,
    plan_of,
)

from tasks.output import liveness

MORE = float(os.environ.get("STEPWAVE_EXAMPLES", "1"))
pytestmark = pytest.mark.usefixtures("at_once")
USABLE = {f"p{n}" for n, text in enumerate(TEXTS) if text}


def examples(count: int) -> settings:
    return settings(
        max_examples=int(count * MORE),
        deadline=None,
        derandomize=MORE == 1,
        print_blob=True,
        phases=[p for p in Phase if p.name != "shrink"] if os.environ.get("NOSHRINK") else list(Phase),
    )


Tables = tuple[list[Row], list[Row], list[Row]]


@dataclass(frozen=True)
class Straight:
    """A run that nothing disturbs."""

    process: Process
    disk: Disk
    tables: Tables

    def begun(self, how: str) -> Disk:
        """A disk that holds the run, as it was written or copied to; or an empty one."""
        disk = Disk()
        if how != "empty":
            disk.files, disk.versions, disk.writes = dict(self.disk.files), dict(self.disk.versions), self.disk.writes
        if how == "copied":
            disk.files.clear()
            for key, content in self.disk.files.items():
                disk.put(key, content)
        return disk


@functools.cache
def straight(problems: str, layout: Layout, refused: frozenset[int] = frozenset()) -> Straight:
    disk = Disk()
    process = Process(MemoryStore(disk), plan_of(problems, layout), Health(refused, at_first=False)).run()
    assert process.ended is None
    return Straight(process, disk, tables(disk))


def tables(disk: Disk) -> Tables:
    """Solutions, steps and rejected rows; what may differ between two runs left out."""
    reader = Reader(disk)
    solutions, steps, rejected = (reader.tables(name) for name in ("solutions", "steps", "rejected"))
    for row in solutions:
        row["answer"] = "the same whoever grades"
    for row in steps:
        del row["wave"]
    return solutions, steps, rejected


def is_complete(disk: Disk, there: Tables, problems: str, layout: Layout, written: dict[str, int]) -> None:
    """Every file of the run is there, and says the same as the others. `written`: tokens by role, of all processes."""
    reader, plan = Reader(disk), plan_of(problems, layout)
    solutions, steps, rejected = there
    samples = [(row["problem_id"], row["sample"]) for row in solutions]
    assert sorted(samples) == sorted((p, s) for p in USABLE for s in range(layout.samples))
    assert len(rejected) == len(TEXTS) - len(USABLE)
    records, manifest = reader.records(), reader.sealed("manifest.json")
    assert sorted(records) == list(range(plan.shards))
    assert all(reader.whole(record) for record in records.values())
    described = {t["key"] for record in records.values() for t in record["tables"].values()}
    described |= {"config.yaml", "manifest.json"} | {f"shards/{n:05d}.json" for n in records}
    assert set(disk.files) == described
    assert manifest is not None
    assert manifest["run_id"] == records[0]["run_id"] == solutions[0]["run_id"]
    for counts, number in ((manifest["counts"], None), *((r["counts"], n) for n, r in records.items())):
        of = [[row for row in rows if number in (None, row["shard"])] for rows in (solutions, steps, rejected)]
        assert [counts[name] for name in ("solutions", "attempts", "rejected")] == [len(rows) for rows in of]
        assert counts["failed"] == sum(row["status"] == "failed" for row in of[0])
        for name in ("steps", "draft_tokens", "target_tokens", "prm_tokens"):
            assert counts[name] == sum(row[name] for row in of[0])
    for role in ("draft", "target"):
        computed = manifest["computed"][role]["generated"]
        assert manifest["counts"][f"{role}_tokens"] <= computed <= written[role]


def is_result(there: Tables, problems: str, layout: Layout) -> None:
    """The tables are those of an undisturbed run, except for what failed."""
    solutions, steps, rejected = there
    expected = straight(problems, layout).tables
    failed = {(row["problem_id"], row["sample"]) for row in solutions if row["status"] == "failed"}
    for rows, wanted in ((solutions, expected[0]), (steps, expected[1])):
        assert well(rows, failed) == well(wanted, failed)
    assert rejected == expected[2]
    kept = [row for row in steps if (row["problem_id"], row["sample"]) in failed]
    assert all(row in expected[1] for row in kept)


def well(rows: list[Row], failed: set[tuple[str, int]]) -> list[Row]:
    return [row for row in rows if (row["problem_id"], row["sample"]) not in failed]


# --- what happens


LAYOUTS = st.builds(
    Layout,
    shard_size=st.sampled_from([2, 4, 9]),
    in_flight=st.sampled_from([1, 2, 4, 100]),
    checkpoint_seconds=st.sampled_from([0, 1e6]),
    samples=st.sampled_from([1, 2]),
)
BEGUN = st.sampled_from(["empty", "written", "copied"])
SICK = st.frozensets(st.sampled_from([0, 1, 4, 8]), min_size=1, max_size=3)
HEALTH = st.builds(Health, st.one_of(st.just(frozenset()), SICK), st.booleans())


def events(of: Straight) -> st.SearchStrategy[Event]:
    """What may befall a process that has as much to do as `of` had."""
    count = of.process.store.memory.count
    change, look, done = st.integers(0, count[False]), st.integers(0, count[True]), st.integers(0, 4)
    return st.one_of(
        st.builds(Event, st.just("crash"), change, done),
        st.builds(Event, st.sampled_from(["crash", "fault", "unsure", "interrupt"]), change, done),
        st.builds(Event, st.sampled_from(["fault", "interrupt"]), look, looking=st.just(True)),
    )


@st.composite
def damages(draw: st.DrawFn, witness: Witness) -> None:
    """Now and then a file is changed, cut, emptied or removed by a careless hand, but for the configuration."""
    files = witness.disk.files
    keys = sorted(files.keys() - {"config.yaml"})
    if draw(st.integers(0, 3)) or not keys:
        return
    key = keys[draw(st.integers(0, 99)) * len(keys) // 100]
    content = files[key] or b"x"
    at = draw(st.integers(0, 999)) * len(content) // 1000
    flipped = content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
    damaged = [flipped, content[:at], b"", content + b"\n", None][draw(st.integers(0, 4))]
    note(f"{key} of {len(content)} bytes is now {'gone' if damaged is None else len(damaged)}")
    witness.damage(key, damaged)


def finished(
    disk: Disk, problems: str, layout: Layout, processes: list[Process], kept: Mapping[int, int] | None = None
) -> None:
    """The same command without a disturbance, and then for what failed: they give the whole result, and make nothing
    that is `kept` again."""
    plan = plan_of(problems, layout)
    for retry_failed in (False, True):
        process = Process(MemoryStore(disk), plan, Health(kept=kept or {}), retry_failed).run()
        assert process.ended is None
        processes.append(process)
        written = {r: sum(p.health.written.get(r, 0) for p in processes) for r in ("draft", "target")}
        there = tables(disk)
        is_complete(disk, there, problems, layout, written)
        is_result(there, problems, layout)
        failed = sum(row["status"] == "failed" for row in there[0])
        if not failed:
            return
    assert not failed, "the rows that failed were not made again"


@pytest.mark.tier2
@pytest.mark.parametrize("kind", ["crash", "fault", "interrupt", "unsure"])
@pytest.mark.parametrize("retry_failed", [False, True], ids=["first time", "retry"])
def test_a_process_that_ends_at_any_moment(problems: str, kind: Any, retry_failed: bool) -> None:
    layout = Layout(shard_size=4)
    plan, before = plan_of(problems, layout), straight(problems, layout, frozenset({0, 4}))

    def live(*events: Event) -> tuple[Disk, Process]:
        CLOCK.set_back()
        disk = before.begun("written" if retry_failed else "empty")
        healthy = Health(kept=Witness(disk, plan.shards).kept)
        return disk, Process(MemoryStore(disk, events), plan, healthy, retry_failed).run()

    for at, (operation, files) in enumerate(live()[1].store.memory.changes):
        if kind == "unsure" and operation != "create":
            continue
        for done in range(files + 1) if kind in ("crash", "fault") else [0]:
            disk, process = live(Event(kind, at, done))
            assert process.store.memory.met
            processes = [process, before.process] if retry_failed else [process]
            finished(disk, problems, layout, processes, process.health.kept)


@examples(150)
@given(data=st.data())
def test_processes_that_end_anywhere(problems: str, data: st.DataObject) -> None:
    CLOCK.set_back()
    layout = data.draw(LAYOUTS)
    plan, before = plan_of(problems, layout), straight(problems, layout, data.draw(SICK))
    begun = data.draw(BEGUN, label="begin with a run whose rows failed")
    disk = before.begun(begun)
    witness, processes = Witness(disk, plan.shards), [] if begun == "empty" else [before.process]
    for _ in range(data.draw(st.integers(1, 4))):
        store = MemoryStore(disk, data.draw(st.lists(events(before), min_size=1, max_size=3)))
        health = dataclasses.replace(data.draw(HEALTH), kept=witness.kept)
        process = Process(store, plan, health, data.draw(st.booleans(), label="retry failed")).run()
        for met in store.memory.met:
            event(met.kind)
        processes.append(process)
        data.draw(damages(witness))
    finished(disk, problems, layout, processes, witness.kept)


# --- two processes at once


def both(disk: Disk, turns: Turns, processes: list[Process]) -> None:
    """Run processes at once, which act in turns."""

    def live(process: Process) -> None:
        name = process.store.memory.name
        turns.begin(name)
        try:
            process.run()
        except BaseException as error:
            faults.append(error)
        finally:
            turns.leave(name)

    faults: list[BaseException] = []
    threads = [threading.Thread(target=live, args=[process]) for process in processes]
    for process in processes:
        turns.enter(process.store.memory.name)
    for thread in threads:
        thread.start()
    turns.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def runs(of: Straight) -> st.SearchStrategy[list[int]]:
    """Operations in each turn."""
    most = sum(of.process.store.memory.count.values())
    run = st.one_of(st.integers(0, 20), st.integers(0, most))
    return st.one_of(st.lists(run, max_size=4), st.lists(run, max_size=30))


@pytest.mark.tier2
@examples(100)
@given(data=st.data())
def test_processes_that_share_an_output(problems: str, data: st.DataObject) -> None:
    CLOCK.set_back()
    layout = data.draw(LAYOUTS)
    plan, before = plan_of(problems, layout), straight(problems, layout, data.draw(SICK))
    begun = data.draw(BEGUN, label="begin with a run whose rows failed")
    disk = before.begun(begun)
    kept = Witness(disk, plan.shards).kept
    turns = Turns(data.draw(runs(before)))
    stores = [MemoryStore(disk, data.draw(st.lists(events(before), max_size=1)), turns, name) for name in "ab"]
    retry = data.draw(st.booleans(), label="retry failed")
    healths = [dataclasses.replace(data.draw(HEALTH), kept=kept) for _ in stores]
    processes = [Process(s, plan, h, begun != "empty" and retry) for s, h in zip(stores, healths, strict=True)]
    both(disk, turns, processes)
    for process in processes:
        event(f"{type(process.ended).__name__}")
        if process.ended is None:
            assert process.manifest is not None
        else:
            assert process.store.memory.met
    processes += [] if begun == "empty" else [before.process]
    if all(process.ended is None for process in processes):
        assert not disk.below("checkpoints")
    finished(disk, problems, layout, processes, kept)


@pytest.mark.tier2
@examples(100)
@given(data=st.data())
def test_processes_that_oversleep(problems: str, data: st.DataObject) -> None:
    """One that is taken for dead, and wakes between asking whether a shard is its own and removing what a third left of
    it, may spoil what was committed meanwhile. Then the shard counts as damaged, and is made again."""
    layout = data.draw(LAYOUTS)
    schedule = data.draw(runs(straight(problems, layout)))
    nights = data.draw(st.lists(st.sampled_from(["asleep", "and slow to wake", ""]), max_size=len(schedule)))
    spoiled, taken_over = oversleep(problems, layout, schedule, nights)
    event(f"spoiled: {spoiled > 0}, taken over: {taken_over}")


def oversleep(problems: str, layout: Layout, schedule: list[int], nights: list[str]) -> tuple[int, bool]:
    """Returns how often a shard was found spoiled, and whether the second committed what the first had begun."""
    CLOCK.set_back()
    disk, plan, left = Disk(), plan_of(problems, layout), iter(nights)
    witness, turns = Witness(disk, plan.shards, overslept=True), Turns(schedule)
    processes = {name: Process(MemoryStore(disk, (), turns, name), plan) for name in "ab"}

    def woken(name: str) -> None:
        night = next(left, "")
        turns.alone = liveness.BEATS if night else 0
        if night != "and slow to wake":
            processes[name].beat()

    turns.handed_over = woken
    both(disk, turns, list(processes.values()))
    assert [process.ended for process in processes.values()] == [None, None]
    assert not disk.below("checkpoints")
    finished(disk, problems, layout, list(processes.values()))
    second = processes["b"].session
    return len(witness.spoiled), bool(processes["a"].health.written and second and second.committed)


@pytest.mark.tier2
@pytest.mark.parametrize("night", ["asleep", "and slow to wake"])
def test_one_that_oversleeps_at_any_moment(problems: str, night: str) -> None:
    """Nothing of a commit is written over, so it spoils nothing, wherever in its own it was stopped."""
    layout = Layout(shard_size=9, in_flight=100, checkpoint_seconds=1e6)
    most = sum(straight(problems, layout).process.store.memory.count.values())
    nights = [oversleep(problems, layout, [moment], ["", night, night]) for moment in range(most + 1)]
    assert not any(spoiled for spoiled, _ in nights)
    assert sum(taken_over for _, taken_over in nights) > 10


@pytest.mark.tier2
@pytest.mark.parametrize("turn", range(1, 12))
def test_of_two_configurations_that_begin_at_once_one_has_the_output(problems: str, turn: int) -> None:
    layouts = Layout(shard_size=9), Layout(shard_size=9, seed=1)
    for first in range(1, 30):
        CLOCK.set_back()
        disk, turns = Disk(), Turns([first] + [turn] * 50)
        processes = [Process(MemoryStore(disk, (), turns, str(at)), plan_of(problems, at)) for at in layouts]
        both(disk, turns, processes)
        lost = [n for n, process in enumerate(processes) if process.ended]
        assert len(lost) == 1
        assert "another configuration (decoding.seed: " in str(processes[lost[0]].ended)
        winner = 1 - lost[0]
        finished(disk, problems, layouts[winner], [processes[winner]])
