"""Files below a local directory.

A file is written under a temporary name, synced and renamed, and its folder synced: every write is whole or absent to a
reader, and durable when it returns.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from typing import IO

from tasks.errors import in_brief
from tasks.storage.backend import Stat, Times, too_long
from tasks.storage.faults import Fault, Kind, Retry

PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EAGAIN, errno.ENOTEMPTY}
"""What network file systems say in a bad moment, and of folders that another process still fills."""
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links say."""
UNFINISHED = re.compile(r".+\.[0-9a-f]{8}\.tmp")
"""Names of files that are still being written."""
FULL = {errno.ENOSPC, errno.EDQUOT}


class LocalFiles:
    """`Files` and `InputFiles` in a local directory."""

    def __init__(self, root: str, retry: Retry) -> None:
        self.root = root.rstrip("/")
        self.top = os.path.abspath(os.path.expanduser(root))
        self.retry = retry

    def path(self, key: str) -> str:
        """As `InputFiles.path`."""
        return f"{self.root}/{key}" if key else self.root or "/"

    def _at(self, key: str) -> str:
        return os.path.join(self.top, key) if key else self.top

    def read(self, key: str, most: int | None = None) -> bytes:
        """As `Files.read`."""

        def whole() -> bytes:
            with open(self._at(key), "rb") as f:
                if most is not None and os.fstat(f.fileno()).st_size > most:
                    raise too_long(self.path(key), most)
                return f.read()

        return self.retry(self.path(key), whole, judge)

    def open(self, key: str) -> IO[bytes]:
        """As `InputFiles.open`."""
        self.stat(key)
        return self.retry(self.path(key), lambda: open(self._at(key), "rb"), judge)

    def write(self, key: str, data: bytes) -> Stat:
        """As `Files.write`."""
        return self.retry(self.path(key), lambda: _write(self._at(key), data, os.replace), judge)

    def create(self, key: str, data: bytes) -> Stat | None:
        """As `Files.create`."""
        with contextlib.suppress(FileExistsError):
            return self.retry(self.path(key), lambda: _write(self._at(key), data, _link), judge)
        return None

    def stat(self, key: str) -> Stat | None:
        """As `InputFiles.stat`."""

        def look() -> os.stat_result | None:
            try:
                return os.stat(self._at(key))
            except (FileNotFoundError, NotADirectoryError):
                return None

        found = self.retry(self.path(key), look, judge)
        if found is None:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path(key))
        return _stat(found) if stat.S_ISREG(found.st_mode) else None

    def stats(self, prefix: str) -> dict[str, Stat]:
        """As `Files.stats`."""
        with contextlib.suppress(IsADirectoryError):
            found = self.stat(prefix)
            return {prefix: found} if found else {}
        return self.retry(self.path(prefix), lambda: self._walk(prefix), judge)

    def _walk(self, prefix: str) -> dict[str, Stat]:
        found = {}
        for folder, _, names in os.walk(self._at(prefix), onerror=_unless_gone):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):  # gone since
                    if not name.endswith(".tmp"):
                        found[os.path.relpath(path, self.top)] = _stat(_followed(path))
        return found

    def times(self, prefix: str) -> Times:
        """As `Files.times`."""
        stats = self.stats(prefix)
        return Times(time.time(), {key: int(found.version.partition("-")[0]) / 1e9 for key, found in stats.items()})

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """As `InputFiles.children`."""

        def names() -> list[tuple[str, bool]]:
            with os.scandir(self._at(folder)) as entries:
                return sorted((entry.name, _is_folder(entry)) for entry in entries)

        with contextlib.suppress(FileNotFoundError):
            found = self.retry(self.path(folder), names, judge)
            return [name for name, is_folder in found if not is_folder], [
                name for name, is_folder in found if is_folder
            ]
        return [], []

    def delete(self, keys: list[str]) -> None:
        """As `Files.delete`."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self.retry(self.path(key), functools.partial(os.unlink, self._at(key)), judge)
        for folder in {os.path.dirname(key) for key in keys} - {""}:
            self._drop_empty(folder)

    def _drop_empty(self, folder: str) -> None:
        """Remove a folder that holds nothing, and those above it: as in a bucket, there are none without files."""
        with contextlib.suppress(OSError):  # most hold something
            while folder:
                os.rmdir(self._at(folder))
                folder = os.path.dirname(folder)

    def delete_folder(self, prefix: str) -> None:
        """As `Files.delete_folder`."""
        folder = self._at(prefix)
        while True:
            try:
                self.retry(self.path(prefix), lambda: shutil.rmtree(folder), judge)
                return self._drop_empty(os.path.dirname(prefix))
            except FileNotFoundError as error:
                if error.filename == folder:
                    return
                continue  # another process deletes it as well

    def sweep(self, prefix: str = "") -> None:
        """Remove unfinished files of killed processes, and folders that are then empty."""
        top = self._at(prefix) if prefix else self.top
        for folder, _, names in os.walk(top, topdown=False, onerror=_unless_gone):
            for name in names:
                if UNFINISHED.fullmatch(name):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(folder, name))
            if folder != self.top:
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(folder)


def judge(error: Exception) -> Fault | None:
    """The fault of a local file system behind an error."""
    if isinstance(error, FileNotFoundError | FileExistsError) or not isinstance(error, OSError | ValueError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    reason = getattr(error, "strerror", None) or in_brief(error)
    if number in FULL:
        return Fault(Kind.FULL, _full(error) if number == errno.ENOSPC else "the disk quota is used up")
    if number in PASSING:
        return Fault(Kind.PASSING, reason)
    if number == errno.ENOTDIR:
        return Fault(Kind.LASTING, "lies below a file, which is no folder; name the folder itself")
    return Fault(Kind.LASTING, f"permission denied ({reason})" if isinstance(error, PermissionError) else reason)


def _full(error: Exception) -> str:
    """What a disk has run out of: a file can be missing room for its name alone."""
    name = getattr(error, "filename", None)
    with contextlib.suppress(OSError):
        disk = os.statvfs(os.path.dirname(name if isinstance(name, str) else ""))
        if disk.f_files and not disk.f_favail:
            return "the disk has no room for another file (its inodes are used up)"
    return "the disk is full"


def _stat(found: os.stat_result) -> Stat:
    # the inode as well: some clocks stand still between two writes
    return Stat(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself
            raise
        return False


def _followed(path: str) -> os.stat_result:
    """Where a path leads, its links followed. A link that leads nowhere stays as it is, so that reading it raises an
    error that names it."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        return os.lstat(path)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _write(path: str, data: bytes, publish: Callable[[str, str], None]) -> Stat:
    """Write a file under another name and give it its own by `publish`."""
    folder = os.path.dirname(path)
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    for last in (False, False, False, True):
        _make_folder(folder)
        try:
            with open(temporary, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
                written = os.fstat(f.fileno())
            publish(temporary, path)
            _sync_folder(folder)  # the name as well as the content
            return _stat(written)
        except FileNotFoundError:
            if last:  # before that, another process that tidies up took the folder away
                raise
        finally:
            with contextlib.suppress(OSError):  # renamed, or as broken as what brought us here
                os.unlink(temporary)
    raise AssertionError


def _link(temporary: str, path: str) -> None:
    """Give a file its name unless that is taken."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # ours now, and empty for a moment
        try:
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)  # or the next try would take it for another's
            raise


def _make_folder(folder: str) -> None:
    """Make a folder and those above it, durably. Others may make them at the same time."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
