"""Benchmark files that are packed, or Parquet, are read as they are; others are named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import UserError
from tasks.problems.importing import import_problems, records
from tasks.storage.stores import Stores

RECORDS: list[dict[str, Any]] = [
    {"question": f"Which, {n}?", "choices": ["x", "y", "z"], "answer": n % 3, "subject": "s"} for n in range(40)
]
LINES = "".join(f"{json.dumps(record)}\n" for record in RECORDS).encode()


def by_arrow(codec: str) -> Callable[[bytes], bytes]:
    def pack(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as packed:
            packed.write(content)
        return sink.getvalue().to_pybytes()

    return pack


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "Zstandard": by_arrow("zstd"),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "LZ4": by_arrow("lz4"),
}


def imported(src: Path, format: str = "mmlu_stem") -> list[dict[str, Any]]:
    dest = str(src.parent / "problems.parquet")
    import_problems(format, str(src), dest, Stores())
    return pq.read_table(dest).to_pylist()


def told(src: Path) -> str:
    with pytest.raises(UserError) as caught:
        imported(src)
    return str(caught.value)


@pytest.fixture
def plain(tmp_path: Path) -> list[dict[str, Any]]:
    src = tmp_path / "plain.jsonl"
    src.write_bytes(LINES)
    found = imported(src)
    assert [row["answer"] for row in found[:4]] == ["A", "B", "C", "A"]
    return found


@pytest.mark.parametrize("kind", PACKED)
def test_packed_lines(tmp_path: Path, plain: list[dict[str, Any]], kind: str) -> None:
    src = tmp_path / "named.anyhow"
    src.write_bytes(PACKED[kind](LINES))
    assert imported(src) == plain
    src.write_bytes(PACKED[kind](LINES)[:-12])
    assert f"{src}: " in told(src)
    assert "does not unpack" in told(src)
    src.write_bytes(PACKED[kind](b'{"question": 7}\n'))
    assert f"{src}, line 1: field " in told(src)


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("lines.jsonl")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _parquet(content: bytes) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"line": content.splitlines()}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["gzip", "Zstandard", "bzip2", "xz"])
@pytest.mark.parametrize(
    ("inside", "name"),
    [
        (_tar, "a tar archive"),
        (_parquet, "a Parquet file"),
        (gzip.compress, "a gzip file"),
        (lzma.compress, "an xz file"),
    ],
)
def test_what_else_was_packed_is_told(tmp_path: Path, kind: str, inside: Callable[[bytes], bytes], name: str) -> None:
    src = tmp_path / "packed"
    src.write_bytes(PACKED[kind](inside(LINES)))
    assert f" with {name} in it, not with JSON lines; unpack it" in told(src)


@pytest.mark.parametrize("kind", ["gzip", "Zstandard", "bzip2", "xz"])
def test_files_packed_piece_by_piece(tmp_path: Path, plain: list[dict[str, Any]], kind: str) -> None:
    src = tmp_path / "pieces"
    src.write_bytes(PACKED[kind](LINES[:1000]) + PACKED[kind](LINES[1000:]))
    assert imported(src) == plain


@pytest.mark.parametrize("options", [{}, {"row_group_size": 7, "compression": "zstd"}, {"use_dictionary": False}])
def test_parquet(tmp_path: Path, plain: list[dict[str, Any]], options: dict[str, Any]) -> None:
    src = tmp_path / "split.parquet"
    pq.write_table(pa.Table.from_pylist(RECORDS), src, **options)
    assert imported(src) == plain
    pq.write_table(pa.Table.from_pylist([*RECORDS, RECORDS[0] | {"answer": 7}]), src, **options)
    assert f"{src}, row 40: field 'answer' must be the index of a choice" in told(src)
    pq.write_table(pa.Table.from_pylist(RECORDS).slice(0, 0), src)
    assert told(src) == f"{src}: holds no problems; it has no rows"
    src.write_bytes(src.read_bytes()[:-5])
    assert f"{src}: not a whole Parquet file" in told(src)


def test_parquet_of_any_columns(tmp_path: Path) -> None:
    src = tmp_path / "ours.parquet"
    tags = pa.array([["a"], ["b"]], pa.list_(pa.dictionary(pa.int8(), pa.string())))
    pq.write_table(
        pa.table({"id": [1, 2], "problem": ["p", "q"], "answer": [4, 5], "tags": tags}), src, row_group_size=1
    )
    found = imported(src, "jsonl")
    assert [(row["problem_id"], row["answer"], row["tags"]) for row in found] == [("1", "4", ["a"]), ("2", "5", ["b"])]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()], ids=str)
def test_a_number_that_is_none_is_missing(tmp_path: Path, kind: pa.DataType) -> None:
    src = tmp_path / "ours.parquet"
    numbers = pa.array([float("nan"), 2.0, None]).cast(kind)
    pq.write_table(pa.table({"problem": ["p", "q", "r"], "answer": numbers, "score": numbers}), src)
    found = imported(src, "jsonl")
    assert [(row["answer"], row["score"]) for row in found] == [(None, None), ("2.0", 2.0), (None, None)]


OTHERS = {
    "a zip archive": b"PK\x03\x04",
    "an Arrow file": b"ARROW1\0\0",
    "an SQLite database": b"SQLite format 3\0",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named(tmp_path: Path, kind: str) -> None:
    src = tmp_path / "src.jsonl"
    src.write_bytes(OTHERS[kind] + b"\0" * 100)
    assert told(src).startswith(f"{src}: is {kind}")


@pytest.mark.parametrize("kind", PACKED)
def test_a_line_without_end_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(records, "LONGEST", 1 << 20)
    src = tmp_path / "src"
    src.write_bytes(PACKED[kind](LINES.splitlines(keepends=True)[0] + b"0" * 9_000_000))
    assert told(src).startswith(f"{src}, line 2: is longer than 1 MiB")
