"""A file of a problem set as the survey found it. It is read again later, and must be the same then: a row of another
content would be solved under a verdict, and committed under a fingerprint, that are not its own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from tasks.errors import UserError
from tasks.problems.parquet.pages import Group
from tasks.problems.parquet.problem_file import ProblemFile, Stretch, batches, open_parquet, stretches
from tasks.storage.inputs import version
from tasks.storage.store import faults_named
from tasks.storage.stores import Stores

MEND = "a run's input must stay as it is: put it back and run the same command again, or give another output.path"


@dataclass(frozen=True)
class InputFile:
    """A file of the input as the survey saw it."""

    path: str
    rows: int
    """Rows taken: its first ones."""
    sha256: str
    version: str = field(compare=False)
    """`input_file.version` when it was surveyed."""
    layout: Sequence[Group] | None = field(default=None, compare=False, repr=False)
    """How its row groups are read (None: to be found)."""
    folders: dict[str, str | int | None] = field(default_factory=dict)
    """Columns that the names of its folders are."""
    known: set[str] = field(default_factory=set, compare=False, repr=False)
    """Other versions that were found to have the same content."""

    def batches(
        self,
        f: IO[bytes],
        parquet: ProblemFile,
        columns: Sequence[str] | None = None,
        part: Stretch | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows, or a part of them, off the file opened; raises UserError where that is not the surveyed one, or is
        written to meanwhile."""
        seen = version(f) if version(f) in self.known else self.version

        def check() -> None:
            nonlocal seen
            if (now := version(f)) != seen:
                self._compare(f)
                seen = now

        try:
            for batch in batches(parquet, self.path, self.rows if part is None else part, columns):
                check()
                yield batch
        except UserError:
            check()  # what is read of a file while it is written makes no sense
            raise

    def read_again(self, stores: Stores, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows once more; raises UserError where the file is gone or another."""
        for _, batch in self.read_parts(stores, lambda start, stop: True, columns):
            yield batch

    def read_parts(
        self, stores: Stores, wanted: Callable[[int, int], bool], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The row groups with a wanted row (see `stretches`), in batches, each with the number of its first row."""
        with open_listed(self.path, stores) as f:
            if not self.version or version(f) not in (self.version, *self.known):
                self._compare(f)
            parquet = open_parquet(f, self.path, self.layout)
            for part in stretches(parquet, self.rows, wanted):
                row = part.start
                for batch in self.batches(f, parquet, columns, part):
                    yield row, batch
                    row += len(batch)

    def _compare(self, f: IO[bytes]) -> None:
        before = version(f)
        if digest(f, self.path) != self.sha256:
            raise UserError(f"{self.path}: changed since it was first read; {MEND}")
        if before and before == version(f):
            self.known.add(before)


@contextmanager
def open_listed(path: str, stores: Stores) -> Iterator[IO[bytes]]:
    """Open a file that was found in a listing; raises UserError where there is none."""
    try:
        f = stores.open_input(path)
    except (FileNotFoundError, IsADirectoryError):
        if "://" not in path and os.path.islink(path):
            raise UserError(f"{path}: is a link to a file that is not there; mend the link or remove it") from None
        raise UserError(f"{path}: is gone since it was first seen; {MEND}") from None
    with f:
        yield f


def digest(f: IO[bytes], path: str, feed: Callable[[int, bytes], None] = lambda at, block: None) -> str:
    """SHA-256 of a whole file, in hex; leaves it at its start. `feed` is given its bytes, each time from a place on."""
    found = hashlib.sha256()
    with faults_named(path):
        at = f.seek(0)
        while block := f.read(1 << 22):
            found.update(block)
            feed(at, block)
            at += len(block)
        f.seek(0)
    return found.hexdigest()
