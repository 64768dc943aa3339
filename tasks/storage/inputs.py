"""Opens input files that a user names. They must have an end and allow random access."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import IO

from schemas.config import StorageConfig
from schemas.credentials import MEND, holds_credentials
from tasks.errors import UserError
from tasks.storage.s3_reader import S3Reader
from tasks.storage.store import PATIENCE, Say, open_input


def open_file(path: str, storage: StorageConfig, patience: float = PATIENCE, say: Say | None = None) -> IO[bytes]:
    """`store.open_input`, but UserError for a pipe or a device, which might never end."""
    if holds_credentials(path):
        raise UserError(f"a file's name holds credentials; {MEND}")
    if "://" not in path:
        with contextlib.suppress(OSError, ValueError):  # told when it is opened
            mode = os.stat(os.path.expanduser(path)).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(f"{path}: is a pipe, a device or a socket, not a file")
    return open_input(path, storage, patience, say)


def version(f: IO[bytes]) -> str:
    """Changes with the content that an open file shows, a local one's also while it is open; "" where the store cannot
    tell. Not a checksum: equal contents may differ in it."""
    reader = getattr(f, "raw", f)
    if isinstance(reader, S3Reader):
        return reader.version
    found = os.fstat(f.fileno())
    # when it was last written to can be set at will; when it was last changed in any way, or its number, cannot
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"
