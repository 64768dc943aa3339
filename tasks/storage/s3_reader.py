"""An S3 object as a file to be read at random."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

BLOCK = 32 << 20
"""Bytes of one request where all of an object is asked for."""


class S3Reader(io.RawIOBase):
    """Reads by ranges: `fetch(start, stop)` gives the bytes from start to before stop, all of them and of one version
    of the object, or raises."""

    def __init__(self, name: str, size: int, version: str, fetch: Callable[[int, int], bytes]) -> None:
        self.name, self.size, self.version, self.fetch = name, size, version, fetch
        self.position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, and return it. Raises ValueError where it is negative."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self.position = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on; returns the number of bytes."""
        into = memoryview(buffer).cast("B")
        content = self._next(len(into))
        into[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """All bytes from the position on."""
        return b"".join(iter(lambda: self._next(BLOCK), b""))

    def _next(self, most: int) -> bytes:
        stop = min(self.position + most, self.size)
        if stop <= self.position:
            return b""
        content = self.fetch(self.position, stop)
        self.position = stop
        return content
