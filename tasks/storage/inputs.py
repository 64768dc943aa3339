"""Which version of its file an open input shows."""

from __future__ import annotations

import os
from typing import IO

from tasks.storage.s3_reader import S3Reader


def version(f: IO[bytes]) -> str:
    """Changes with the content that an open file shows, a local one's also while it is open; "" where the store cannot
    tell. Not a checksum: equal contents may differ in it."""
    reader = getattr(f, "raw", f)
    if isinstance(reader, S3Reader):
        return reader.version
    found = os.fstat(f.fileno())
    # when it was last written to can be set at will; when it was last changed in any way, or its number, cannot
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"
