"""Files below one root, local or s3://.

Faults of a store are ridden out (tasks/storage/faults.py); one that stays away raises StoreError, a mistake of the user
UserError, both in one line that names the path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from schemas.credentials import MEND, holds_credentials
from schemas.places import StorageConfig
from tasks.errors import UserError
from tasks.storage.backend import Files, Stat, Times
from tasks.storage.faults import PATIENCE, Retry, Say
from tasks.storage.local_files import LocalFiles, judge

if TYPE_CHECKING:
    from tasks.storage.s3_files import S3Files

__all__ = ["PATIENCE", "Say", "Stat", "Store", "faults_named", "files_below", "refuse_credentials"]

READ_AT_ONCE = 16
LONGEST = {".json": 64 << 20, ".yaml": 4 << 20}
"""Bytes of files by the end of their names: a manifest of 100,000 input files has half of that."""


class Store:
    """Files below one root. `root` is a local path or an s3:// address; keys are relative, '/'-separated.

    `patience`: seconds for which a store that fails is tried again; `say` is given a line when that begins, now and
    then while it lasts, and when it ends. `files` takes the place of what `root` names.
    """

    def __init__(
        self,
        root: str,
        storage: StorageConfig | None = None,
        patience: float = PATIENCE,
        say: Say | None = None,
        files: Files | None = None,
    ) -> None:
        self.root = root.rstrip("/") or "/"
        self.local = "://" not in root
        self.retry = Retry(patience, say)
        self.files = files or files_below(root, storage or StorageConfig(), self.retry)

    def path(self, key: str = "") -> str:
        """The address a user would type for `key`."""
        return f"{self.root.rstrip('/')}/{key}" if key else self.root

    def read(self, key: str, most: int | None = None) -> bytes:
        """Content of a file; raises FileNotFoundError where there is none, and UserError for one of more than `most`
        bytes, those of LONGEST by default."""
        return self.files.read(key, LONGEST.get(os.path.splitext(key)[1]) if most is None else most)

    def read_or_none(self, key: str) -> bytes | None:
        """Content of a file; None where there is none."""
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def read_many(self, keys: list[str]) -> dict[str, bytes]:
        """Contents of files, read several at a time, in the order of `keys`; those that are missing are left out."""
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            contents = pool.map(self.read_or_none, keys)
            return {key: content for key, content in zip(keys, contents, strict=True) if content is not None}

    def write(self, key: str, data: bytes) -> Stat:
        """Create or replace a file, durably; a reader sees the old or the new one, whole. Returns what was written."""
        with self._placed(key):
            return self.files.write(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Create a file unless it exists; of several that try at once, one gets True.

        That holds where each tries with a content of its own. The answer to a try can be lost after it had its effect,
        so that the next finds its own file: what is there is compared, and an equal content counts as created.
        """
        return self.place(key, data) is not None

    def place(self, key: str, data: bytes) -> Stat | None:
        """The same, telling what was created."""
        with self._placed(key):
            if (created := self.files.create(key, data)) is not None or self.read_or_none(key) != data:
                return created
            before = self.stats(key).get(key)
            unchanged = self.read_or_none(key) == data and self.stats(key).get(key) == before
            return before if before and unchanged else Stat(len(data), "")

    @contextmanager
    def _placed(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise UserError(f"{self.path(key)}: no such file or bucket") from None

    def stats(self, prefix: str) -> dict[str, Stat]:
        """Key to size and version, of the files below a folder, sorted; {} where there is none.

        Unfinished local writes do not count.
        """
        return dict(sorted(self.files.stats(prefix).items()))

    def keys(self, prefix: str) -> list[str]:
        """Keys of the files below a folder, sorted; [] where there is none."""
        return list(self.stats(prefix))

    def times(self, prefix: str) -> Times:
        """When the files below a folder were last written, and what time it is, by the store's own clock."""
        return self.files.times(prefix)

    def delete(self, keys: list[str]) -> None:
        """Remove files; those that are gone already do not matter."""
        self.files.delete(keys)

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder with all its files."""
        self.files.delete_folder(prefix)

    def sweep(self, prefix: str = "") -> None:
        """Remove what writes of processes that were killed left behind, below a folder or everywhere. A write that is
        still under way there begins anew, so that few should be."""
        self.files.sweep(prefix)


def files_below(root: str, storage: StorageConfig, retry: Retry) -> LocalFiles | S3Files:
    """Those below a root; raises UserError for an address that nobody serves, or that holds credentials."""
    refuse_credentials(root)
    protocol, separator, rest = root.partition("://")
    if not separator:
        return LocalFiles(root, retry)
    if protocol != "s3":
        raise UserError(f"{root}: only local paths and s3:// are supported, not {protocol}://")
    if not rest.partition("/")[0]:
        raise UserError(f"{root}: names no bucket")
    from tasks.storage.s3_files import S3Files  # half a second, and only where it is used

    return S3Files(root, storage, retry)


def refuse_credentials(address: str) -> None:
    """Raises UserError if an address holds credentials. Addresses are written to logs and records, which others
    read."""
    if holds_credentials(address):
        raise UserError(f"an address of files holds credentials; {MEND}")


@contextmanager
def faults_named(path: str) -> Iterator[None]:
    """Turn what a plain file's reading raises into a UserError that names the path; FileNotFoundError stays."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        fault = judge(error)
        raise UserError(f"{path}: {fault.reason if fault else error}") from error
