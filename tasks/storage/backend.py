"""What a store stands on: the files below one root, of a local directory, of S3, or of a test's memory."""

from __future__ import annotations

from typing import IO, NamedTuple, Protocol

from tasks.errors import UserError


class Stat(NamedTuple):
    """A file as a listing shows it."""

    size: int
    """Bytes."""
    version: str
    """Changes with every write; "" where the store cannot tell. Not a checksum: equal contents may differ in it."""


class Times(NamedTuple):
    """Seconds since the epoch by a store's own clock, which may be neither ours nor right."""

    now: float | None
    """None where the store does not say; of a local directory, what this machine says."""
    written: dict[str, float]
    """Key to the time at which the file was last written."""


def too_long(path: str, most: int) -> UserError:
    """What to say of a file that is longer than any of its kind can be."""
    return UserError(
        f"{path}: has more than {most:,} bytes, as no such file has; put it back as it was, or give another place"
    )


class Files(Protocol):
    """Files by key: relative to the root, '/'-separated. Each call rides out the store's faults.

    All raise UserError for what the user can mend, and StoreError for faults that outlast the store's patience.
    """

    def read(self, key: str, most: int | None = None) -> bytes:
        """Content of a file; raises FileNotFoundError where there is none, and UserError, before it is read, where it
        has more than `most` bytes."""

    def write(self, key: str, data: bytes) -> Stat:
        """Create or replace a file, whole or not at all, durably. Raises FileNotFoundError where its place is
        missing."""

    def create(self, key: str, data: bytes) -> Stat | None:
        """Create a file. If there is one already, return None, even if an earlier try of this call made it."""

    def stats(self, prefix: str) -> dict[str, Stat]:
        """The file of that name, or the files below the folder, by key; {} where there is none."""

    def times(self, prefix: str) -> Times:
        """When the files were last written that `stats` shows."""

    def delete(self, keys: list[str]) -> None:
        """Remove files; those that are gone already do not matter."""

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder with all that it holds."""

    def sweep(self, prefix: str = "") -> None:
        """Remove what writes that were cut off left behind below a folder, where that is to be seen. A write that is
        under way begins anew."""


class InputFiles(Protocol):
    """What is asked of the place that an input lies in."""

    def path(self, key: str) -> str:
        """The address a user would type."""

    def open(self, key: str) -> IO[bytes]:
        """Open a file for reading at random; FileNotFoundError, IsADirectoryError."""

    def stat(self, key: str) -> Stat | None:
        """A file; None where there is nothing of the name, IsADirectoryError where it is a folder."""

    def stats(self, prefix: str) -> dict[str, Stat]:
        """As of Files."""

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the files and of the folders right in a folder, sorted; none where it is missing."""
