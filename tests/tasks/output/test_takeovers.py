"""Claims that were taken over, and those that are damaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from output.claimed import claims_of, holders, outlive, put

from tasks.output import claims, liveness
from tasks.output.claims import sessions
from tasks.output.liveness import BEATS
from tasks.output.session import Session, open_session
from tasks.storage.store import Store


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
