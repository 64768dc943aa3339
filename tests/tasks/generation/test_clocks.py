"""Processes on one output whose clocks say anything, whose time runs at different speeds, that are stopped and killed:
the run is always complete in the end, each of its shards committed once.

STEPWAVE_EXAMPLES multiplies the number of examples, and makes them new ones each time.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from disks import CLOCK, Crash, Disk, MemoryStore, Turns
from hypothesis import event, given, settings
from hypothesis import strategies as st
from small_runs import Layout, Process, Witness, plan_of
from test_commit_protocol import finished, straight

from tasks.output import liveness
from tasks.storage import store_clock

MORE = float(os.environ.get("STEPWAVE_EXAMPLES", "1"))
NAMES = "abcdef"


class Clocks:
    """Each thread is a machine with a clock of its own; the store has one too."""

    def __init__(self) -> None:
        self.off: dict[str, float] = {}
        """Seconds by which a machine's clock is off."""
        self.apart = True
        """Is each process on a machine of its own? Else they see of each other who is there."""

    def time(self) -> float:
        return CLOCK.now + self.off.get(threading.current_thread().name, 0.0)

    def monotonic(self) -> float:
        return CLOCK.now - 1e9

    def host(self) -> str:
        return threading.current_thread().name if self.apart else "here"


CLOCKS = Clocks()


@pytest.fixture(scope="module", autouse=True)
def clocks_apart(at_once: pytest.MonkeyPatch) -> None:
    """Each machine has a clock and a name of its own."""
    at_once.setattr(store_clock, "time", CLOCKS)
    at_once.setattr(liveness, "host", CLOCKS.host)


@dataclass
class Machine:
    """Where one process after another works on the run: the next when one is killed."""

    store: Callable[[], MemoryStore]
    speed: float
    """Signs of life in each turn of anybody."""
    process: Process | None = None
    due: float = 0.0
    asleep: int = 0
    """Turns for which it is stopped."""
    killed: int = 0
    processes: list[Process] = field(default_factory=list)

    def kill(self) -> None:
        if self.process:
            self.process.store.memory.dead = True
            self.killed += 1

    def pass_time(self) -> None:
        self.asleep = max(0, self.asleep - 1)
        self.due += 0 if self.asleep else self.speed
        while self.due >= 1:
            self.due -= 1
            if self.process and not self.process.store.memory.dead:
                self.process.beat()


class Crowd(Turns):
    """Any number of processes in turns that are drawn; when none is left, those that are awake take turns evenly."""

    def __init__(self, machines: dict[str, Machine], happens: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.machines, self.happens, self.left = machines, iter(happens), 7

    def give_way(self, name: str) -> bool:
        if len(self.places) < 2:
            return False
        if (chosen := self._chosen(name)) != name:
            self._hand_to(chosen)
            self.places[name].acquire()
        return True

    def leave(self, name: str) -> None:
        after = self._chosen(name)
        del self.places[name]
        if self.places:
            self._hand_to(after if after in self.places else next(iter(self.places)))

    def _hand_to(self, name: str) -> None:
        self.current = name
        self.places[name].release()

    def _chosen(self, name: str) -> str:
        """Who acts next, after what happens before that."""
        for machine in self.machines.values():
            machine.pass_time()
        CLOCK.now += 1.0
        there = list(self.places)
        for what, who, how_long in self.happens:
            chosen = there[who % len(there)]
            machine = self.machines[chosen]
            if what == "kill":
                machine.kill()
            elif what == "stop":
                machine.asleep = how_long
            elif not machine.asleep:
                self.left = how_long
                return chosen
        self.left = 7
        at = there.index(name) + 1
        awake = [other for other in there[at:] + there[:at] if not self.machines[other].asleep]
        return (awake or there)[0]


def live(machine: Machine, crowd: Crowd, plan: Any, name: str, faults: list[BaseException]) -> None:
    crowd.begin(name)
    try:
        while True:
            machine.process = Process(machine.store(), plan)
            machine.processes.append(machine.process)
            machine.process.run()
            if not isinstance(machine.process.ended, Crash):
                return
    except BaseException as error:
        faults.append(error)
    finally:
        machine.process = None
        crowd.leave(name)


HAPPENS = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 5), st.integers(1, 60)),
    st.tuples(st.just("run"), st.integers(0, 5), st.integers(1, 8)),
    st.tuples(st.just("kill"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("stop"), st.integers(0, 5), st.integers(5, 80)),
)
LAYOUTS = st.builds(Layout, shard_size=st.sampled_from([2, 4]), checkpoint_seconds=st.sampled_from([0, 1e6]))
OFF = st.sampled_from([0.0, 90.0, -90.0, 3600.0, -3600.0, 1e12, -1e12])
SPEEDS = st.sampled_from([0.05, 0.3, 1.0, 1.0, 4.0])


@pytest.mark.tier2
@settings(max_examples=int(60 * MORE), deadline=None, derandomize=MORE == 1, print_blob=True)
@given(data=st.data())
def test_processes_of_any_clock_speed_and_fate_complete_the_run(problems: str, data: st.DataObject) -> None:
    CLOCK.set_back()
    layout = Layout(
        shard_size=data.draw(st.sampled_from([2, 4])), checkpoint_seconds=data.draw(st.sampled_from([0, 1e6]))
    )
    straight(problems, layout)
    plan, disk = plan_of(problems, layout), Disk()
    witness = Witness(disk, plan.shards, overslept=True)
    commits, taken, look = Counter[str](), set[str](), disk.watch

    def watched(key: str) -> None:
        if key.startswith("checkpoints/claims/") and b'"over"' in disk.files.get(key, b""):
            taken.add(key)
        if key.startswith("shards/") and key in disk.files:
            commits[key] += 1
        look(key)

    disk.watch = watched
    names = NAMES[: data.draw(st.integers(2, 6))]
    CLOCKS.apart = data.draw(st.booleans(), label="apart")
    CLOCKS.off = {name: data.draw(OFF) for name in names}
    machines: dict[str, Machine] = {}
    crowd = Crowd(machines, data.draw(st.lists(HAPPENS, min_size=20, max_size=120)))
    for name in names:
        machines[name] = Machine(functools.partial(MemoryStore, disk, (), crowd, name), data.draw(SPEEDS))
        crowd.enter(name)
    faults: list[BaseException] = []
    threads = [
        threading.Thread(target=live, args=[machine, crowd, plan, name, faults], name=name)
        for name, machine in machines.items()
    ]
    for thread in threads:
        thread.start()
    crowd.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    processes = [process for machine in machines.values() for process in machine.processes]
    assert all(process.ended is None or isinstance(process.ended, Crash) for process in processes)
    # a shard is committed again only where somebody who woke late spoiled its tables
    assert plan.shards <= sum(commits.values()) <= plan.shards + len(witness.spoiled)
    event(f"killed: {sum(machine.killed for machine in machines.values()) > 0}, taken over: {bool(taken)}")
    disk.watch = lambda key: None
    finished(disk, problems, layout, processes)
