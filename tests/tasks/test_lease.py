"""The lease: one writer at a time, and a dead one's place is free."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import lease
from tasks.errors import UserError
from tasks.store import Store


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3") + "/x"


@pytest.fixture
def store(root: str) -> Store:
    return Store(root)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


@pytest.fixture
def living() -> Iterator[psutil.Process]:
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield psutil.Process(process.pid)
    process.communicate(b"\n")


def put(store: Store, number: int = 1, **about: Any) -> None:
    owner = {"host": "elsewhere", "pid": 1, "started": 0.0, "renewed": time.time()} | about
    store.write(f"checkpoints/lease-{number:06d}.json", json.dumps(owner).encode())


async def test_a_lease_is_there_while_held_and_gone_after(store: Store) -> None:
    async with lease.hold(store) as number:
        assert store.keys("checkpoints") == [f"checkpoints/lease-{number[:6]}.json"]
    assert store.keys("checkpoints") == []
    async with lease.hold(store):
        pass


async def test_it_is_given_up_when_the_block_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lease.hold(store):
            raise ZeroDivisionError
    assert store.keys("checkpoints") == []


async def test_a_living_process_of_this_machine_keeps_its_place(store: Store, living: psutil.Process) -> None:
    put(store, host=socket.gethostname(), pid=living.pid, started=living.create_time(), renewed=0.0)
    held = lease.holder(store)
    assert held is not None
    assert held.pid == living.pid
    with pytest.raises(UserError, match=f"pid {living.pid} on {socket.gethostname()}") as caught:
        async with lease.hold(store):
            raise AssertionError("taken from a living owner")
    assert store.root in str(caught.value)


async def test_a_living_process_of_another_machine_keeps_its_place(store: Store) -> None:
    put(store, renewed=time.time() - lease.DEAD / 2)
    with pytest.raises(UserError, match="pid 1 on elsewhere"):
        async with lease.hold(store):
            raise AssertionError("taken from a living owner")


@pytest.mark.parametrize("death", ["no such pid", "pid used again", "stale elsewhere"])
async def test_a_dead_owners_place_is_taken(store: Store, living: psutil.Process, death: str) -> None:
    if death == "no such pid":
        put(store, host=socket.gethostname(), pid=2**22 + 7)
    elif death == "pid used again":
        put(store, host=socket.gethostname(), pid=living.pid, started=living.create_time() - 100)
    else:
        put(store, renewed=time.time() - lease.DEAD - 1)
    assert lease.holder(store) is None
    async with lease.hold(store) as number:
        assert number[:6] == "000002"
    assert store.keys("checkpoints") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"host": "elsewhere"}',
        b'{"host": "elsewhere", "pid": 1, "started": 0, "renewed": "?"}',
        b'{"host": "HERE", "pid": "?", "started": 0, "renewed": 0}',
        b'{"host": "HERE", "pid": -5, "started": 0, "renewed": 0}',
    ],
)
async def test_a_damaged_lease_is_nobodys(local: Store, content: bytes) -> None:
    local.write("checkpoints/lease-000001.json", content.replace(b"HERE", socket.gethostname().encode()))
    assert lease.holder(local) is None
    async with lease.hold(local) as number:
        assert number[:6] == "000002"


def test_one_of_several_takers_wins(root: str) -> None:
    put(Store(root), renewed=time.time() - 2 * lease.DEAD)
    stores = [Store(root) for _ in range(8)]

    def take(store: Store) -> int | None:
        with contextlib.suppress(UserError):
            return lease._acquire(store)
        return None

    # all are this process, whose own lease counts as left behind: let the dead lease be the only one they see
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(lease, "_newest", lambda store: 1)
        won = list(pool.map(take, stores))
    assert [number for number in won if number] == [2]


TAKER = """
import asyncio, sys
from tasks import lease
from tasks.errors import UserError
from tasks.store import Store

async def main():
    print("ready", flush=True)
    input()
    try:
        async with lease.hold(Store(sys.argv[1])):
            print("held", flush=True)
            input()
    except UserError as error:
        print("refused:", error, flush=True)
asyncio.run(main())
"""


def test_one_of_several_processes_holds_it(local: Store) -> None:
    put(local, host=socket.gethostname(), pid=2**22 + 7)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).resolve().parents[2]
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKER, local.root], cwd=root, **pipes)  # type: ignore[call-overload]
        for _ in range(3)
    ]
    assert [t.stdout.readline() for t in takers] == ["ready\n"] * 3
    for t in takers:
        t.stdin.write("\n")
        t.stdin.flush()
    said = [t.stdout.readline() for t in takers]
    for t in takers:
        with contextlib.suppress(BrokenPipeError):
            t.communicate("\n")
    assert said.count("held\n") == 1
    assert all(line.startswith(("held", f"refused: {local.root}: another process")) for line in said)
    assert local.keys("checkpoints") == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing tells of a file
            await asyncio.sleep(0.01)


async def test_the_owner_renews(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.01)
    async with lease.hold(local) as number:
        key = f"checkpoints/lease-{number[:6]}.json"
        first = local.read(key)
        await until(lambda: local.read(key) != first)
        owner = json.loads(local.read(key))
    assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())


async def test_an_owner_that_lost_its_place_stops_and_says_so(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW", 0.01)

    async def work() -> None:
        async with lease.hold(local):
            put(local, 2)
            await asyncio.sleep(30)

    with pytest.raises(lease.LeaseLost, match="another process took this run over"):
        await work()
    assert "checkpoints/lease-000002.json" in local.keys("checkpoints")  # the new owner's stays


async def test_a_cancelled_owner_stays_cancelled(local: Store) -> None:
    async def work() -> None:
        async with lease.hold(local):
            await asyncio.sleep(30)

    owner = asyncio.create_task(work())
    await until(lambda: local.keys("checkpoints"))
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert local.keys("checkpoints") == []


async def test_a_store_that_fails_once_does_not_end_renewal(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the owner's lease goes stale while it writes, and another machine takes the run from under it."""
    monkeypatch.setattr(lease, "RENEW", 0.01)
    write, failures = local.write, iter([OSError("a moment's outage")])

    def flaky(key: str, data: bytes) -> None:
        if error := next(failures, None):
            raise error
        write(key, data)

    async with lease.hold(local) as number:
        key = f"checkpoints/lease-{number[:6]}.json"
        first = local.read(key)
        monkeypatch.setattr(local, "write", flaky)
        for _ in range(300):
            if local.read(key) != first:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("not renewed after a failure")
