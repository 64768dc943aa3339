"""Claims: every shard in one process's hands at a time, and a dead one's free."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from output.claimed import claims_of, holders, outlive, put

from tasks.errors import StoreError
from tasks.output import liveness
from tasks.output.liveness import BEATS
from tasks.output.session import Session, open_session
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def living() -> Iterator[psutil.Process]:
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield psutil.Process(process.pid)
    process.communicate(b"\n")


def here(process: psutil.Process, **about: Any) -> dict[str, Any]:
    return {"host": liveness.host(), "pid": process.pid, "started": liveness.started(process.pid)} | about


# --- others


async def test_a_living_process_of_this_machine_keeps_its_shard(store: Store, living: psutil.Process) -> None:
    put(store, **here(living))
    assert {shard: owner.pid for shard, owner in holders(store).items()} == {0: living.pid}
    async with open_session(store) as session:
        assert not session.claim(0)
        assert session.claim(1)
        assert not session.holds(0)


@pytest.mark.parametrize("renewed", [0.0, -1e9, 1.0, 1.8e9, 1.8e9 - 3600, 1.8e9 + 3600, 9e9, 1e300])
async def test_a_living_process_of_another_machine_keeps_its_shard(local: Store, renewed: float) -> None:
    """Whatever its clock says, and be it that it stands still."""
    store = local
    put(store, renewed=renewed)
    async with open_session(store) as session:
        for sign in range(2, 2 + 3 * BEATS):
            assert not session.claim(0)
            if sign % (BEATS - 1) == 0:
                put(store, renewed=renewed, sign=sign)
            session.beat()
    assert [str(owner) for owner in holders(store).values()] == ["pid 7 on elsewhere"]


DEATHS: dict[str, Callable[[psutil.Process], dict[str, Any]]] = {
    "ended": lambda process: here(process, ended=True),
    "ended elsewhere": lambda process: {"ended": True},
    "no such pid": lambda process: here(process, pid=2**22 + 7),
    "pid used again": lambda process: here(process, started=1.0),
    "an earlier session of this process": lambda process: here(psutil.Process()),
}


@pytest.mark.parametrize("clock", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("death", DEATHS)
async def test_a_dead_ones_shard_is_taken_over(store: Store, living: psutil.Process, death: str, clock: float) -> None:
    """At once where that can be seen: no time has to pass, and no clock is asked."""
    put(store, number=4, **DEATHS[death](living), renewed=time.time() + clock)
    assert holders(store) == {}
    async with open_session(store) as session:
        assert session.claim(0)
        assert session.holds(0)
        assert claims_of(store) == ["00000/000004.json", "00000/000005.json"]
        assert [owner.session for owner in holders(store).values()] == [session.name]


@pytest.mark.parametrize("clock", [-3600.0, -90.0, 0.0, 90.0, 3600.0])
@pytest.mark.parametrize("where", ["elsewhere", "here", "of an earlier release"])
async def test_a_silent_ones_shard_is_taken_over_after_the_stated_time_and_no_sooner(
    local: Store, living: psutil.Process, where: str, clock: float
) -> None:
    """Who begins has heard of nobody yet: it waits as long as anybody. One that is here, but stopped, makes nothing."""
    about = {"elsewhere": {}, "here": here(living), "of an earlier release": {"started": time.time() - 100}}[where]
    put(local, renewed=time.time() + clock, **about)
    if where == "of an earlier release":
        key = "checkpoints/sessions/abc.json"
        local.write(key, json.dumps({k: v for k, v in json.loads(local.read(key)).items() if k != "sign"}).encode())
    async with open_session(local) as session:
        for _ in range(BEATS):
            assert not session.claim(0)
            session.beat()
        assert session.claim(0)
        assert claims_of(local) == ["00000/000001.json", "00000/000002.json"]


async def test_nobody_is_dead_who_could_not_be_heard(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a store takes nothing, nobody's signs get through, ours neither."""
    put(local)
    async with open_session(local) as session:
        assert not session.claim(0)
        with monkeypatch.context() as patch:
            patch.setattr(local, "write", fails)
            for _ in range(10 * BEATS):
                with pytest.raises(StoreError):
                    session.beat()
                assert not session.claim(0)
        outlive(session)
        assert session.claim(0)


def fails(*_: Any) -> Any:
    raise StoreError("away")


def test_a_zombies_shard_is_taken_over(local: Store) -> None:
    """A killed process whose parent has not asked for its end."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    put(local, **here(psutil.Process(process.pid)))
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert holders(local) == {}
    process.communicate()


def test_the_highest_claim_counts(local: Store, living: psutil.Process) -> None:
    put(local, number=1, name="a1")
    put(local, number=2, name="b2", **here(living))
    put(local, number=10, name="c3", ended=True)
    assert holders(local) == {}
    put(local, number=11, name="d4")
    assert [owner.session for owner in holders(local).values()] == ["d4"]


def test_a_containers_process_ids_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers of one host name: neither may look the other's pid up among its own."""
    here = liveness.host()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[4026539999]")
    assert liveness.host().startswith(f"{socket.gethostname()}/")
    assert liveness.host().endswith(" (pid:[4026539999])")
    assert liveness.host() != here


# --- several takers


def test_one_of_several_takers_wins(root: str, make_session: Callable[..., Session]) -> None:
    put(Store(root), ended=True)
    takers = [make_session(Store(root)) for _ in range(8)]
    together = threading.Barrier(8)

    def take(session: Session) -> list[bool]:
        together.wait()
        return [session.claim(shard) for shard in range(5)]

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, takers))
    for shard in range(5):
        assert sum(of_taker[shard] for of_taker in won) == 1
        assert [taker.holds(shard) for taker in takers] == [of_taker[shard] for of_taker in won]


TAKER = """
import asyncio, sys
from tasks.output.session import open_session
from tasks.storage.store import Store

async def main():
    async with open_session(Store(sys.argv[1])) as session:
        print("ready", flush=True)
        input()
        print(*[int(session.claim(shard)) for shard in range(20)], flush=True)
        input()
        print(*[int(session.holds(shard)) for shard in range(20)], flush=True)
        input()
asyncio.run(main())
"""


def test_of_several_processes_each_shard_has_one(local: Store) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    takers = [subprocess.Popen([sys.executable, "-c", TAKER, local.root], cwd=ROOT, **pipes) for _ in range(3)]

    def said() -> list[str]:
        return [taker.stdout.readline().strip() for taker in takers]

    def go_on() -> None:
        for taker in takers:
            taker.stdin.write("\n")
            taker.stdin.flush()

    assert said() == ["ready"] * 3
    go_on()
    claimed = said()
    assert [sum(map(int, of_shard)) for of_shard in zip(*(line.split() for line in claimed), strict=True)] == [1] * 20
    go_on()
    assert said() == claimed
    held = holders(local)
    assert sorted(held) == list(range(20))
    assert {owner.pid for owner in held.values()} <= {taker.pid for taker in takers}
    for taker in takers[1:]:
        taker.kill()
        taker.wait()
    assert {owner.pid for owner in holders(local).values()} <= {takers[0].pid}
    takers[0].communicate("\n")
    assert holders(local) == {}
    assert all(taker.wait() == (0 if taker is takers[0] else -9) for taker in takers)
