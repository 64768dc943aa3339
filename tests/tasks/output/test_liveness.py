"""Who lives is told by signs that change while our own get through, and by nothing that any clock says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.output import liveness
from tasks.output.liveness import BEATS, LivenessTracker, started, there
from tasks.output.session import Session
from tasks.storage import store_clock
from tasks.storage.backend import Times
from tasks.storage.store import Store


@given(st.lists(st.sampled_from(["beat", "sign", "look"]), max_size=200))
def test_nobody_is_silent_who_was_heard_within_so_many_of_our_beats(happens: list[str]) -> None:
    """And everybody is who was not, by the second look at the latest."""
    tracker, sign, beats_since_heard, seen = LivenessTracker(), 0, None, -1
    for what in happens:
        if what == "beat":
            tracker.beat()
            beats_since_heard = None if beats_since_heard is None else beats_since_heard + 1
        elif what == "sign":
            sign += 1
        else:
            if sign != seen:
                seen, beats_since_heard = sign, 0
            assert beats_since_heard is not None
            assert tracker.silent("a", sign, tracker.beats) == (beats_since_heard >= BEATS)


def test_a_look_that_takes_long_tells_only_of_the_time_before_it() -> None:
    tracker = LivenessTracker()
    assert not tracker.silent("a", 1, 0)
    since = tracker.beats
    for _ in range(BEATS):
        tracker.beat()  # while the store is slow to answer: the sign that it shows may be as old as that
    assert not tracker.silent("a", 1, since)
    assert tracker.silent("a", 1, tracker.beats)


def test_what_is_forgotten_is_heard_anew() -> None:
    tracker = LivenessTracker()
    for _ in range(2):
        assert not tracker.silent("a", None, tracker.beats)
        for _ in range(BEATS):
            tracker.beat()
        assert tracker.silent("a", None, tracker.beats)
        tracker.forget("a")


# --- on one machine


@pytest.fixture
def another() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


def test_a_process_is_known_by_its_id_and_start(another: subprocess.Popen[bytes]) -> None:
    since = started(another.pid)
    assert since
    assert there(liveness.host(), another.pid, since) is True
    assert there(liveness.host(), another.pid, since + 1) is False
    assert there("elsewhere", another.pid, since) is None
    assert there(liveness.host(), another.pid, 0.0) is None
    psutil.Process(another.pid).suspend()
    assert there(liveness.host(), another.pid, since) is True, "stopped: its signs decide"
    psutil.Process(another.pid).resume()
    another.kill()
    os.waitid(os.P_PID, another.pid, os.WEXITED | os.WNOWAIT)
    assert there(liveness.host(), another.pid, since) is False, "nobody has asked for its end yet"
    another.wait()
    assert there(liveness.host(), another.pid, since) is False


@pytest.mark.parametrize("pid", [2**22 + 7, 2**31, 2**63, 10**30])
def test_a_process_that_never_was_is_gone(pid: int) -> None:
    assert there(liveness.host(), pid, 5.0) is False


@pytest.mark.parametrize("name", ["x) R 1 2 3", ") Z", "a b", "(("])
def test_a_name_does_not_hide_a_process(name: str, tmp_path: Path) -> None:
    """It stands before all that is read of a process."""
    odd = tmp_path / name[:15]
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "100"])
    try:
        assert there(liveness.host(), process.pid, started(process.pid) or 0.0) is True
        assert started(process.pid) == pytest.approx(started(os.getpid()), abs=1e6)
    finally:
        process.kill()
        process.wait()


# --- clocks


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0.0, ""),
        (-20.0, ""),
        (20.0, ""),
        (90.0, "90 s ahead of that of"),
        (-90.0, "90 s behind that of"),
        (3600.0, "60 min ahead of that of"),
        (-3 * 86400.0, "3 d behind that of"),
        (40 * 365 * 86400.0, "14600 d ahead of that of"),
    ],
)
def test_a_clock_that_is_far_from_the_stores_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, told: str
) -> None:
    """What processes say of their times is by the store's clock all the same: they can be compared."""
    monkeypatch.setattr(store_clock, "TOLD", set())
    said: list[str] = []
    store = Store(str(tmp_path), say=said.append)
    times = type(store.files).times

    def shifted(self: object, prefix: str) -> Times:
        found = times(self, prefix)  # type: ignore[arg-type]
        return Times(None, {key: at - ahead for key, at in found.written.items()})

    monkeypatch.setattr(type(store.files), "times", shifted)
    for _ in range(2):
        session = Session(store)
        session.open()
        assert session.clock.ahead == pytest.approx(ahead, abs=5)
        [key] = store.keys("checkpoints/sessions")
        assert session.clock.now() == pytest.approx(os.stat(tmp_path / key).st_mtime - ahead, abs=5)
        assert session.began <= session.clock.now()
        session.close(run_is_complete=True)
    assert len(said) == bool(told)
    assert told in "".join(said)


def test_a_store_that_shows_no_times_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    monkeypatch.setattr(type(store.files), "times", lambda self, prefix: Times(None, {}))
    session = Session(store)
    session.open()
    assert session.clock.ahead == 0
    session.close(run_is_complete=True)


def test_times_are_the_stores_own(s3: str, tmp_path: Path) -> None:
    for root in (str(tmp_path / "out"), f"{s3}/x"):
        store = Store(root)
        assert store.times("a").written == {}
        store.write("a/b", b"1")
        store.write("c", b"1")
        now, written = store.times("a")
        assert written.keys() == {"a/b"}
        assert now is not None
        assert now - written["a/b"] == pytest.approx(0, abs=30)
