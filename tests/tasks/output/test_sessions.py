"""A process's session: what it claims and gives back, and its signs of life."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from output.claimed import claims_of, holders, put

from tasks.decoding.usage import Usage
from tasks.errors import StoreError, UserError
from tasks.output import liveness
from tasks.output.claims import alive, sessions
from tasks.output.liveness import LivenessTracker
from tasks.output.session import Session, open_session
from tasks.storage.store import Store

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
            session.tally.usage["draft"] = Usage(generated=5)
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


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing tells of a file
            await asyncio.sleep(0.01)


def last_sign(store: Store) -> float:
    return max((owner.sign for owner in sessions(store)), default=0)


# --- signs of life


async def test_a_session_is_renewed_and_tells_what_it_wrote(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.output.session.RENEW", 0.01)
    async with open_session(local) as session:
        first = last_sign(local)
        session.tally.usage |= {"draft": Usage(generated=12), "target": Usage(generated=3)}
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
