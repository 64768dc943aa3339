"""Signals to commands that are no flows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from flows.terminal.interruption import SIGNALS, Halt

pytestmark = pytest.mark.tier2


@pytest.fixture
def halt() -> Iterator[Halt]:
    """One that has the signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    halt = Halt("stepwave export")
    halt.watch()
    yield halt
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_signal_ends_it_at_once(
    halt: Halt, number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    with pytest.raises(SystemExit, match="130"):
        os.kill(os.getpid(), number)
    assert capfd.readouterr().err == "interrupted; to do it anew: stepwave export\n"


def test_what_waits_on_an_event_loop_is_cancelled(halt: Halt) -> None:
    tidied = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            tidied.append(True)

    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        halt.run(runner, work())
    assert tidied
