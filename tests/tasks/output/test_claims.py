"""Claims: every shard in one process's hands at a time, and a dead one's free."""

from __future__ import annotations

import asyncio
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

from tasks.errors import StoreError, UserError
from tasks.output import claims, liveness
from tasks.output.claims import Owner, alive, sessions
from tasks.output.liveness import BEATS, LivenessTracker
from tasks.output.session import Session, open_session
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.fixture
def make_session(local: Store) -> Iterator[Callable[..., Session]]:
    """Sessions of this process, on the local store unless another is given."""
    made = []

    def make(store: Store = local) -> Session:
        session = Session(store)
        made.append(session.name)
        claims.OPEN.add(session.name)
        session.renew()
        return session

    yield make
    claims.OPEN.difference_update(made)


def put(store: Store, shard: int = 0, number: int = 1, name: str = "abc", **about: Any) -> None:
    """A claim, and the session of another process that made it."""
    now = time.time()
    owner = {"session": name, "host": "elsewhere", "pid": 7, "started": 0.0, "began": now, "renewed": now, "sign": 1}
    store.write(
        f"checkpoints/sessions/{name}.json", json.dumps(owner | {"generated": {}, "ended": False} | about).encode()
    )
    store.write(f"checkpoints/claims/{shard:05d}/{number:06d}.json", json.dumps({"session": name}).encode())


def claims_of(store: Store) -> list[str]:
    return [key.removeprefix("checkpoints/claims/") for key in store.keys("checkpoints/claims")]


def here(process: psutil.Process, **about: Any) -> dict[str, Any]:
    return {"host": liveness.host(), "pid": process.pid, "started": liveness.started(process.pid)} | about


def holders(store: Store) -> dict[int, Owner]:
    """As for one who has heard of nobody yet."""
    return claims.holders(store, LivenessTracker())


def outlive(session: Session) -> None:
    """Let a session go on for as long as others may be silent."""
    for _ in range(BEATS):
        session.beat()


# --- one session


async def test_a_session_claims_and_gives_back(store: Store) -> None:
    async with open_session(store) as session:
        assert session.claim(3)
        assert session.holds(3)
        assert not session.holds(4)
        assert claims_of(store) == ["00003/000001.json"]
        assert {shard: owner.session for shard, owner in holders(store).items()} == {3: session.name}
        session.give_back(3)
        assert claims_of(store) == []
        assert not session.holds(3)
        assert holders(store) == {}
    assert store.keys("checkpoints") == []


async def test_a_session_that_fails_gives_its_claims_back_and_says_that_it_ended(store: Store) -> None:
    async def fail() -> None:
        async with open_session(store) as session:
            assert session.claim(0)
            assert session.claim(1)
            session.generated["draft"] = 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert claims_of(store) == []
    [owner] = sessions(store)
    assert (owner.ended, owner.pid, owner.generated) == (True, os.getpid(), {"draft": 5})
    assert not alive(owner, LivenessTracker(), 0)


async def test_a_cancelled_session_stays_cancelled(local: Store) -> None:
    began = asyncio.Event()

    async def work() -> None:
        async with open_session(local) as session:
            session.claim(0)
            began.set()
            await asyncio.sleep(30)

    owner = asyncio.create_task(work())
    await began.wait()
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert claims_of(local) == []
    assert [owner.ended for owner in sessions(local)] == [True]


async def test_a_store_that_is_away_at_the_end_hides_no_error(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it leave the claims in the hands of a process that has ended."""

    def away(*_: Any) -> Any:
        raise StoreError("the store is away")

    async def fail() -> None:
        async with open_session(local) as session:
            session.claim(0)
            monkeypatch.setattr(local, "delete", away)
            monkeypatch.setattr(local, "write", away)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert claims_of(local) == ["00000/000001.json"]
    assert holders(local) == {}


def test_a_claim_is_ours_however_often_we_ask(make_session: Callable[..., Session]) -> None:
    session = make_session()
    assert [session.claim(0) for _ in range(3)] == [True] * 3
    assert session.holds(0)


def test_a_claim_that_took_effect_after_its_answer_was_lost_is_ours(
    local: Store, make_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a process waits for itself, or makes a shard that it may never commit."""
    session = make_session()
    create = local.create

    def late(key: str, data: bytes) -> bool:
        create(key, data)
        raise StoreError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(local, "create", late)
        with pytest.raises(StoreError):
            session.claim(0)
    assert session.claim(0)
    assert session.holds(0)
    session.give_back(0)
    assert claims_of(local) == []


def test_what_is_forgotten_stays(local: Store, make_session: Callable[..., Session]) -> None:
    """A commit has removed it; by now the same place may hold another's claim."""
    session = make_session()
    session.claim(0)
    session.forget(0)
    session.close(run_is_complete=True)
    assert claims_of(local) == ["00000/000001.json"]


def test_a_closed_session_shows_no_more_sign_of_life(local: Store, make_session: Callable[..., Session]) -> None:
    session = make_session()
    session.close(run_is_complete=True)
    session.renew()
    assert local.keys("") == []


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


# --- take-over


def test_who_was_taken_over_holds_nothing(local: Store, make_session: Callable[..., Session]) -> None:
    slow, quick = make_session(), make_session()
    assert slow.claim(0)
    claims.OPEN.discard(slow.name)  # counts as dead
    assert quick.claim(0)
    slow.forget(0)
    assert (slow.holds(0), quick.holds(0)) == (False, True)
    slow.give_back(0)
    assert quick.holds(0)
    assert list(holders(local)) == [0]


def test_a_claim_given_back_leaves_none_that_was_taken_over(local: Store, make_session: Callable[..., Session]) -> None:
    """Else one that was taken for dead would hold the shard again when it wakes."""
    slow, quick = make_session(), make_session()
    assert slow.claim(0)
    claims.OPEN.discard(slow.name)
    assert quick.claim(0)
    quick.give_back(0)
    assert claims_of(local) == []
    assert not slow.holds(0)


def test_who_wakes_after_numbers_began_anew_holds_nothing(local: Store, make_session: Callable[..., Session]) -> None:
    """A commit removes a shard's claims; a shard that is made again begins at 1."""
    slow, quick = make_session(), make_session()
    assert slow.claim(0)
    local.delete_folder("checkpoints/claims/00000")
    assert not slow.holds(0)
    assert quick.claim(0)
    assert (slow.holds(0), quick.holds(0)) == (False, True)
    slow.close(run_is_complete=False)
    assert quick.holds(0)


def test_what_was_taken_in_silence_is_left_to_him_who_shows_life(
    local: Store, make_session: Callable[..., Session]
) -> None:
    """And stays with him: neither takes it from the other again while both live."""
    slow, quick = make_session(), make_session()
    assert slow.claim(0)
    assert not quick.claim(0)
    outlive(quick)
    assert quick.claim(0)
    assert quick.holds(0)
    for name in (slow.name, quick.name, "another"):
        local.write(f"checkpoints/00000/{name}-0000-00000-abc.parquet", b"x")
    assert slow.holds(0), "he wakes"
    assert [quick.holds(0), slow.holds(0)] == [False, True]
    kept = [key.rpartition("/")[2].partition("-")[0] for key in local.keys("checkpoints/00000")]
    assert sorted(kept) == sorted([slow.name, "another"]), "what the other made meanwhile does not mix with it"
    for _ in range(3 * BEATS):
        slow.beat()
        quick.beat()
        assert not quick.claim(0)
        assert slow.holds(0)
    quick.give_back(0)
    assert slow.holds(0)


def test_what_was_not_taken_in_his_silence_does_not_come_back(
    local: Store, make_session: Callable[..., Session]
) -> None:
    """A third has it from the second, who fell silent too."""
    first, second, third = (make_session() for _ in range(3))
    assert first.claim(0)
    for session in (second, third):
        assert not session.claim(0)
        outlive(session)
    assert second.claim(0)
    assert not third.claim(0)
    outlive(third)
    assert third.claim(0)
    assert [session.holds(0) for session in (first, third, second, third)] == [False, True, True, False]


def test_who_may_not_take_back_holds_nothing(local: Store, make_session: Callable[..., Session]) -> None:
    slow, quick = make_session(), make_session()
    assert slow.claim(0)
    assert not quick.claim(0)
    outlive(quick)
    assert quick.claim(0)
    assert (slow.holds(0, take_back=False), quick.holds(0)) == (False, True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"session": null}',
        b'{"session": ["abc"]}',
        b'{"session": "../../config"}',
        b'{"session": "abcdef"}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_claim_is_nobodys(local: Store, make_session: Callable[..., Session], content: bytes) -> None:
    put(local)
    local.write("checkpoints/claims/00000/000001.json", content)
    assert holders(local) == {}
    session = make_session()
    assert session.claim(0)
    assert session.holds(0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000], ids=lambda c: repr(c[:9]))
def test_a_session_that_is_no_session_is_dead(
    local: Store, make_session: Callable[..., Session], content: bytes
) -> None:
    put(local)
    local.write("checkpoints/sessions/abc.json", content)
    assert holders(local) == {}
    assert sessions(local) == []
    assert make_session().claim(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "?") for name in ("pid", "started", "began", "renewed", "generated")),
        *((name, None) for name in ("pid", "started", "began", "renewed", "generated")),
        *((name, "?") for name in ("sign", "ahead")),
        *((name, float("inf")) for name in ("pid", "renewed", "ahead")),
        ("renewed", float("nan")),
        ("pid", -5),
        ("generated", ["draft"]),
        ("generated", {"draft": "?"}),
    ],
)
def test_a_damaged_session_is_dead(
    local: Store, make_session: Callable[..., Session], name: str, value: object
) -> None:
    put(local)
    assert list(holders(local)) == [0]
    put(local, **{name: value})
    assert holders(local) == {}
    assert make_session().claim(0)


@pytest.mark.parametrize("pid", [2**31, 2**63, 10**30])
def test_a_pid_that_is_none_is_no_process(local: Store, pid: int) -> None:
    put(local, host=liveness.host(), pid=pid, started=1.0)
    assert holders(local) == {}


def test_a_process_that_is_buried_counts_as_ended_until_it_shows_a_sign_of_life(
    local: Store, make_session: Callable[..., Session]
) -> None:
    session = make_session()
    session.claim(0)
    [key] = local.keys(claims.SESSIONS)
    claims.mark_dead(local, key)
    assert holders(local) == {}
    session.renew()
    assert holders(local).keys() == {0}
    claims.mark_dead(local, "checkpoints/sessions/gone.json")
    assert len(sessions(local)) == 1


async def test_a_process_that_ends_before_its_run_says_so(local: Store) -> None:
    """And says nothing where the run was tidied up meanwhile."""
    local.write("checkpoints/run.json", b"{}")
    async with open_session(local, flow_run="a flow run", completes=False) as session:
        session.claim(3)
        assert claims.claimed(local) == {3: 1}
    [owner] = sessions(local)
    assert (owner.ended, owner.flow_run, claims.claimed(local)) == (True, "a flow run", {})
    async with open_session(local, completes=False):
        local.delete_folder("checkpoints")
    assert local.keys("") == []


def test_foreign_files_among_claims_do_no_harm(local: Store, make_session: Callable[..., Session]) -> None:
    for name in ("x.json", "000007.json.bak", "7.json", "0000-0.parquet", ".DS_Store"):
        local.write(f"checkpoints/claims/00000/{name}", b"{}")
    local.write("checkpoints/sessions/.DS_Store", b"\x00")
    local.write("checkpoints/claims/elsewhere/000009.json", b"{}")
    assert (holders(local), sessions(local)) == ({}, [])
    session = make_session()
    assert session.claim(0)
    assert session.claims == {0: 1}


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


# --- signs of life


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing tells of a file
            await asyncio.sleep(0.01)


def last_sign(store: Store) -> float:
    return max((owner.sign for owner in sessions(store)), default=0)


async def test_a_session_is_renewed_and_tells_what_it_wrote(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.output.session.RENEW", 0.01)
    async with open_session(local) as session:
        first = last_sign(local)
        session.generated |= {"draft": 12, "target": 3}
        await until(lambda: last_sign(local) > first and sessions(local)[0].generated)
        [owner] = sessions(local)
        assert owner.generated == {"draft": 12, "target": 3}
        assert (owner.host, owner.pid, owner.ended) == (liveness.host(), os.getpid(), False)
        assert alive(owner, LivenessTracker(), 0)
    assert local.keys("checkpoints") == []


@pytest.mark.parametrize("fault", [StoreError("away"), UserError("permission denied")])
async def test_renewal_goes_on_after_faults_of_the_store(
    local: Store, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Else the owner counts as dead while it writes, and another takes its shards from under it."""
    monkeypatch.setattr("tasks.output.session.RENEW", 0.01)
    write, faults = local.write, [fault] * 3

    def flaky(key: str, data: bytes) -> Any:
        if faults:
            raise faults.pop()
        return write(key, data)

    async with open_session(local):
        monkeypatch.setattr(local, "write", flaky)
        await until(lambda: not faults)
        last = last_sign(local)
        await until(lambda: last_sign(local) > last)


async def test_renewal_does_not_wait_for_the_event_loop(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizing and writing tables may hold it for longer than a process may be silent."""
    monkeypatch.setattr("tasks.output.session.RENEW", 0.01)
    async with open_session(local):
        first, until_then = last_sign(local), time.monotonic() + 30
        while last_sign(local) == first:
            assert time.monotonic() < until_then
        assert last_sign(local) > first


def test_sessions_come_in_the_order_in_which_they_began(local: Store) -> None:
    for name, began in (("aa", 3.0), ("bb", 1.0), ("cc", 2.0)):
        put(local, name=name, began=began)
    assert [owner.session for owner in sessions(local)] == ["bb", "cc", "aa"]
