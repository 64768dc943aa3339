"""Runs as real processes that are killed again and again, and what must be true of them at the end.

A campaign kills a run with SIGKILL at seeded moments, each followed by the same command again, until it has been killed
as often as asked; then it lets the run end and compares it with one that nobody disturbed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from invariants import check, read_tables
from polars.testing import assert_frame_equal
from warm import Nursery

ATTEMPT = ("problem_id", "sample", "step", "attempt")


@dataclass
class Figures:
    """What a campaign did."""

    kills: int = 0
    runs: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each start to the first file of a shard that it wrote."""

    def __str__(self) -> str:
        longest = f"{max(self.recoveries):.1f} s" if self.recoveries else "none"
        return f"{self.kills} kills, {self.runs} starts, longest recovery {longest}"


@functools.cache
def _nursery() -> Nursery:
    return Nursery()


class Process:
    """`stepwave generate` in a process group of its own, its output in a file."""

    def __init__(self, words: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        self.popen = _nursery().start(words, log, os.environ | (environment or {}))

    def kill(self) -> None:
        """End the whole group, as a machine that goes away does."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def ends(self, code: int = 0) -> str:
        """Wait for the end; returns all that was said."""
        found = self.popen.wait(timeout=300)
        said = self.log.read_text()
        assert found == code, said[-3000:]
        assert "Traceback" not in said, said[-3000:]
        return said


@contextmanager
def started(words: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """A process that is gone after the block."""
    process = Process(words, log, environment)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()


def until(process: Process, reached: Callable[[], bool]) -> bool:
    """Wait until something has happened; False where the process ended before that."""
    while not reached():
        if process.popen.poll() is not None:
            return False
        time.sleep(0.005)
    return True


class Written:
    """Files of an output as they come to be; counts every one that was ever seen."""

    def __init__(self, out: Path) -> None:
        self.out, self.seen = out, set[tuple[str, int]]()

    def count(self) -> int:
        """How often files of shards were seen to be written so far."""
        for path in self.out.rglob("0*/*") if self.out.exists() else ():
            self._see(path)
        for name in ("shards", "solutions", "steps"):
            for path in (self.out / name).glob("*"):
                self._see(path)
        return len(self.seen)

    def _see(self, path: Path) -> None:
        try:
            self.seen.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:
            return


class Campaign:
    """Kills `words`, a run that writes to the local directory `out`, after a seeded number of files that it wrote, or
    after a seeded time from its start. Each start must use all that the last one left."""

    def __init__(self, words: list[str], out: Path, seed: int) -> None:
        self.words, self.out, self.draw = words, out, random.Random(seed)
        self.log = out.with_suffix(".log")
        self.figures = Figures()
        self.committed: dict[Path, str] = {}
        """Files of committed shards, and a hash of each."""
        self.checkpointed: dict[tuple[str, int, int, int], int] = {}
        """Attempts that were in a checkpoint, and their waves."""

    def run(self, kills: int) -> Figures:
        """Kill so often, then let it end."""
        while self.figures.kills < kills and self._killed():
            self._look()
        with started(self.words, self.log) as process:
            self.figures.runs += 1
            process.ends()
        self._look()
        steps = read_tables(self.out)[1].select(*ATTEMPT, "wave").rows()
        waves = {row[:4]: row[4] for row in steps}
        for attempt, wave in self.checkpointed.items():
            assert waves[attempt] == wave, f"{attempt} was in a checkpoint, and was made again"
        return self.figures

    def _killed(self) -> bool:
        """One start that is killed; False where it ended before."""
        written = Written(self.out)
        before, began = written.count(), time.monotonic()
        files = self.draw.choice([1, 2, 3, self.draw.randrange(40)])
        seconds = self.draw.uniform(0, 3) if self.draw.random() < 0.2 else None
        with started(self.words, self.log) as process:
            self.figures.runs += 1
            if seconds is not None:
                reached = until(process, lambda: time.monotonic() - began > seconds)
            else:
                if reached := until(process, lambda: written.count() > before):
                    self.figures.recoveries += [time.monotonic() - began]
                reached = reached and until(process, lambda: written.count() >= before + files)
            if reached:
                process.kill()
                self.figures.kills += 1
            else:
                process.ends()
        return reached

    def _look(self) -> None:
        """Nothing that was committed has changed; remember what is there now."""
        for path, digest in self.committed.items():
            assert hashed(path) == digest, f"{path} was committed, and changed"
        numbers = {path.stem for path in (self.out / "shards").glob("*.json")}
        tables = [path for name in ("shards", "solutions", "steps") for path in (self.out / name).glob("*")]
        self.committed = {path: hashed(path) for path in tables if path.stem in numbers}
        for path in self.out.glob("checkpoints/*/*.parquet"):
            if path.parent.name not in numbers:
                rows = pl.read_parquet(path).select(*ATTEMPT, "wave").rows()
                self.checkpointed |= {row[:4]: row[4] for row in rows}


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_as_undisturbed(out: Path, whole: Path, problems: str | None = None) -> None:
    """The invariants hold, and the tables equal the other run's in every column but `wave`."""
    check(out, problems)
    for a, b in zip(read_tables(out), read_tables(whole), strict=True):
        assert_frame_equal(a.select(pl.exclude("wave")), b.select(pl.exclude("wave")))
