"""Kinds of files that Stepwave does not read, recognised by their first bytes."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of file, and what can be done with one that is not Parquet."""

    name: str
    mend: str
    """What to do with it where a Parquet file is wanted."""
    codec: str | None = None
    """Its compression."""


IMPORT = "`stepwave import FORMAT FILE DEST.parquet` makes a problem set of it"
UNPACK = "unpack it, and give what is in it"
CONVERT = "write it as Parquet or JSON lines"
STARTS = {
    b"\x1f\x8b": Kind("a gzip file", IMPORT, "gzip"),
    b"\x28\xb5\x2f\xfd": Kind("a Zstandard file", IMPORT, "zstd"),
    b"BZh": Kind("a bzip2 file", IMPORT, "bz2"),
    b"\xfd7zXZ\0": Kind("an xz file", IMPORT, "xz"),
    b"\x04\x22\x4d\x18": Kind("an LZ4 file", IMPORT, "lz4"),
    b"PK\x03\x04": Kind("a zip archive", UNPACK),
    b"7z\xbc\xaf\x27\x1c": Kind("a 7z archive", UNPACK),
    b"ARROW1": Kind("an Arrow file", CONVERT),
    b"Obj\x01": Kind("an Avro file", CONVERT),
    b"ORC": Kind("an ORC file", CONVERT),
    b"SQLite format 3": Kind("an SQLite database", CONVERT),
    b"\x80\x04\x95": Kind("a Python pickle", CONVERT),
    b"version https://": Kind("a Git LFS pointer without its file", "fetch it with `git lfs pull`"),
}


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file by its first 16 bytes; None if it may be Parquet."""
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return Kind("JSON", IMPORT)
    return None
