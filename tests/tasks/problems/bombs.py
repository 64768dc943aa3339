"""Problem sets of a few kilobytes that come to gigabytes, and a process that reads them one by one.

`python bombs.py FOLDER` makes all of them there and prints a line of JSON for each: what was told, or how many rows
could be used, and by how much the process grew at most.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from schemas.config import InputConfig  # noqa: E402
from tasks.errors import UserError  # noqa: E402
from tasks.problems.reader import shards  # noqa: E402
from tasks.problems.survey import survey  # noqa: E402
from tasks.storage.stores import Stores  # noqa: E402

LONG = np.random.default_rng(0).bytes(150_000).hex()
"""A text that does not pack well."""
ROWS = 200_000
MEMORY = 6 << 30
"""Bytes of address space: a bomb that goes off ends its process, not the machine."""
KEPT: dict[str, Any] = {"store_schema": False, "dictionary_pagesize_limit": 1 << 30}
Columns = dict[str, Any] | pa.Table
BOMBS: dict[str, tuple[Callable[[], Columns], dict[str, Any]]] = {}


def bomb(**options: Any) -> Callable[[Callable[[], Columns]], Callable[[], Columns]]:
    def enter(make: Callable[[], Columns]) -> Callable[[], Columns]:
        BOMBS[make.__name__] = make, {"compression": "zstd"} | options
        return make

    return enter


def repeated(text: str | bytes, rows: int = ROWS) -> pa.DictionaryArray:
    kind = pa.large_string() if isinstance(text, str) else pa.large_binary()
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text], kind))


def ids(rows: int = ROWS) -> list[str]:
    return [f"p{row}" for row in range(rows)]


def lists(values: pa.Array, each: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, each, dtype=np.int32)), values)


def nested(column: pa.Array, depth: int) -> pa.Array:
    for _ in range(depth):
        column = pa.StructArray.from_arrays([column], ["a"])
    return column


# --- a dictionary's entry in every row


@bomb(**KEPT)
def a_problem() -> Columns:
    return {"problem": repeated(LONG, 3_000_000)}


@bomb()
def a_problem_as_category() -> Columns:
    return {"problem": repeated(LONG, 3_000_000)}


@bomb(**KEPT, row_group_size=ROWS // 20)
def a_problem_in_row_groups() -> Columns:
    return {"problem": repeated(LONG)}


@bomb(**KEPT)
def a_short_problem() -> Columns:
    return {"problem": repeated("How many? " * 10, 3_000_000)}


@bomb(store_schema=False)
def a_problem_among_others() -> Columns:
    """More of them than a dictionary takes."""
    codes = np.concatenate([np.zeros(ROWS, np.int32), np.arange(1, 600, dtype=np.int32)])
    entries = pa.array([LONG, *(LONG[:9000] + str(n) for n in range(600))])
    return {"problem": pa.DictionaryArray.from_arrays(pa.array(codes), entries)}


@bomb(**KEPT)
def a_problem_with_ids() -> Columns:
    return {"problem": repeated(LONG), "problem_id": ids()}


@bomb(**KEPT)
def an_id() -> Columns:
    return {"problem": ids(), "problem_id": repeated(LONG)}


@bomb(**KEPT)
def an_answer() -> Columns:
    return {"problem": ids(20_000), "answer": repeated(LONG, 20_000)}


@bomb(**KEPT)
def another_column() -> Columns:
    return {"problem": repeated("q"), "source": repeated(LONG), "raw": repeated(LONG.encode())}


@bomb(**KEPT)
def options() -> Columns:
    return {"problem": repeated("q"), "choices": lists(repeated(LONG, 4 * ROWS), 4)}


@bomb(**KEPT)
def options_of_one_row() -> Columns:
    return {"problem": ["q", "r"], "choices": lists(repeated(LONG, 4_000_000), 2_000_000)}


@bomb(**KEPT)
def a_list_of_one_row() -> Columns:
    return {"problem": ["q", "r"], "tags": lists(repeated(LONG, 4_000_000), 2_000_000)}


@bomb(**KEPT)
def a_list_of_everything() -> Columns:
    return {"problem": ["q"], "tags": lists(repeated(LONG, 40_000_000), 40_000_000)}


@bomb(**KEPT)
def structs_in_lists() -> Columns:
    return {"problem": repeated("q"), "turns": lists(nested(repeated(LONG, 4 * ROWS), 2), 4)}


# --- cells and pages


@bomb()
def a_cell() -> Columns:
    return {"problem": ["a", "7 + 5 = 12. " * 9_000_000, "b"]}


@bomb()
def an_option() -> Columns:
    return {"problem": ["a", "b"], "choices": [["x" * 105_000_000], ["y"]]}


@bomb(use_dictionary=False)
def a_page() -> Columns:
    return {"problem": ["a", "b"], "source": ["x" * 200_000_000, "y"]}


@bomb(use_dictionary=False, compression="snappy")
def a_page_of_bytes() -> Columns:
    return {"problem": ["a", "b"], "image": [b"\0" * 200_000_000, b""]}


@bomb(use_dictionary=False, write_batch_size=1)
def many_large_cells() -> Columns:
    return {"problem": ["a"] * 36, "source": pa.array(["x" * 31_000_000] * 36, pa.large_string())}


@bomb(use_dictionary=False, column_encoding={"problem": "DELTA_BYTE_ARRAY"})
def beginnings_shared() -> Columns:
    return {"problem": [LONG + str(row) for row in range(1500)]}


@bomb()
def many_options() -> Columns:
    return {"problem": ids(40), "choices": [[""] * 100_000] * 40}


@bomb()
def values_of_fixed_size() -> Columns:
    return {"problem": ["a", "b"], "image": pa.array([b"\0" * 20_000_000] * 2, pa.binary(20_000_000))}


# --- rows, columns, footers


@bomb(row_group_size=40_000_000)
def rows_of_nothing() -> Columns:
    return {"problem": pa.nulls(40_000_000, pa.string())}


@bomb(row_group_size=4_000_000)
def nulls() -> Columns:
    return {"problem": pa.nulls(4_000_000, pa.string()), "level": pa.nulls(4_000_000, pa.int32())}


@bomb()
def a_list_of_nulls() -> Columns:
    return {"problem": ["a"], "tags": lists(pa.nulls(10_000_000, pa.string()), 10_000_000)}


@bomb(store_schema=False)
def columns_in_thousands() -> Columns:
    return {"problem": ["a", "b"]} | {f"c{n}": [1, 2] for n in range(3000)}


@bomb(store_schema=False, compression="none")
def columns_in_ten_thousands() -> Columns:
    return {"problem": ["a"]} | {f"c{n}": [1] for n in range(20_000)}


@bomb(store_schema=False)
def a_deep_column() -> Columns:
    return {"problem": ["a"], "d": nested(pa.array(["x"]), 90)}


@bomb(store_schema=False)
def a_bottomless_column() -> Columns:
    return {"problem": ["a"], "d": nested(pa.array(["x"]), 2000)}


@bomb()
def metadata_of_the_file() -> Columns:
    return pa.table({"problem": ["a"]}).replace_schema_metadata({"k": "x" * 50_000_000})


@bomb(store_schema=False)
def a_long_name() -> Columns:
    return {"problem": ["a"], "x" * 5_000_000: [1]}


# --- files that lie: a good one, changed


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def _lying(change: Callable[[bytes], bytes]) -> Callable[[str], None]:
    def write(path: str) -> None:
        pq.write_table(pa.table({"problem": ids(3000)}), path, compression="none", use_dictionary=False)
        whole = Path(path).read_bytes()
        size = int.from_bytes(whole[-8:-4], "little")
        footer = change(whole[-8 - size : -8])
        Path(path).write_bytes(whole[: -8 - size] + footer + struct.pack("<i", len(footer)) + b"PAR1")

    return write


THREE_THOUSAND = _varint(2 * 3000)
INFLATED = b"\x15\x00\x15" + _varint(2 * (2**31 - 1)) + b"\x15\x10"
"""What stands before a page, if it says that eight bytes unpack to two gigabytes."""


def _inflating(path: str) -> None:
    pq.write_table(pa.table({"problem": ["p" * 400]}), path, compression="snappy", use_dictionary=False)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(b"PAR1" + INFLATED + whole[4 + len(INFLATED) :])


LYING: dict[str, Callable[[str], None]] = {
    "a_page_that_says_two_gigabytes": _inflating,
    "rows_that_are_not_there": _lying(lambda f: f.replace(b"\x16" + THREE_THOUSAND, b"\x16" + _varint(2 * 10**12))),
    "rows_by_the_billion": _lying(lambda f: f.replace(b"\x16" + THREE_THOUSAND, b"\x16" + _varint(2 * 10**9))),
    "fewer_than_no_rows": _lying(lambda f: f.replace(b"\x16" + THREE_THOUSAND, b"\x16" + _varint(2 * 3000 - 1))),
    "statistics_of_another_file": _lying(lambda f: f.replace(b"p999", b"\xff\xfe\0\0")),
    "a_footer_of_lists": _lying(lambda f: b"\x19" + b"\xf9" * 1_000_000),
    "a_list_without_end": _lying(lambda f: b"\x29\xfc" + _varint(1 << 60) + f),
}


# --- reading


def write(name: str, folder: str) -> str:
    path = f"{folder}/{name}.parquet"
    if name in LYING:
        LYING[name](path)
    else:
        make, options = BOMBS[name]
        made = make()
        pq.write_table(made if isinstance(made, pa.Table) else pa.table(made), path, **options)
    return path


def grown() -> int:
    """Most bytes that this process has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


def looked(rows: list[dict[str, Any]]) -> list[bool]:
    """What a tokenizer would be given; the models take a thousand characters."""
    return [len(row["problem"]) + sum(map(len, row["choices"] or [])) > 1000 for row in rows]


def read(path: str) -> dict[str, Any]:
    """What a check would say of a file, and a run would stream of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    Path("/proc/self/clear_refs").write_text("5")
    before = grown()
    said: dict[str, Any] = {}
    try:
        found = survey(InputConfig(path=path), Stores(), looked)
        found.check_shards(1024)
        said["usable"] = found.usable
        wanted = {0, found.rows // 2048}
        said["streamed"] = sum(len(good) for _, good, _ in shards(found, Stores(), 1024, wanted.__contains__))
    except UserError as error:
        said["told"] = str(error)
    return said | {"grown": grown() - before, "size": os.path.getsize(path)}


def apart(act: Callable[[], Any]) -> Any:
    """What an act returns in a process of its own; None where that dies."""
    out, into = os.pipe()
    if (child := os.fork()) == 0:
        os.close(out)
        with os.fdopen(into, "w") as f:
            json.dump(act(), f)
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as f:
        answer = f.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else None


def main(folder: str, *names: str) -> None:
    for name in names or (*BOMBS, *LYING):
        path = apart(lambda name=name: write(name, folder))
        print(json.dumps({"name": name, "went": apart(lambda path=path: read(path))}), flush=True)
        os.unlink(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
