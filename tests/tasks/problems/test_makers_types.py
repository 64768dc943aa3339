"""Columns as other tools write them, alone and in lists, structs and maps."""

from __future__ import annotations

import datetime
import decimal
import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from read_problems import LOCAL, metadata, read, told

from schemas.config import InputConfig
from tasks.problems.reader import shards
from tasks.problems.survey import survey

Write = Callable[..., str]

ROWS = 130

TYPES: dict[str, tuple[pa.Array, list[Any] | None]] = {
    "categories": (
        pa.array([f"c{i % 7}" for i in range(ROWS)]).dictionary_encode(),
        [f"c{i % 7}" for i in range(ROWS)],
    ),
    "categories_large": (
        pa.array([f"c{i}" for i in range(ROWS)], pa.dictionary(pa.uint32(), pa.large_string())),
        [f"c{i}" for i in range(ROWS)],
    ),
    "categories_null": (pa.array([None, "x"] * 65).dictionary_encode(), [None, "x"] * 65),
    "numbers_as_categories": (pa.array([i % 5 for i in range(ROWS)]).dictionary_encode(), [i % 5 for i in range(ROWS)]),
    "binary_categories": (pa.array([b"\0"] * ROWS).dictionary_encode(), ["AA=="] * ROWS),
    "large_string": (pa.array(map(str, range(ROWS)), pa.large_string()), list(map(str, range(ROWS)))),
    "string_view": (pa.array(map(str, range(ROWS)), pa.string_view()), list(map(str, range(ROWS)))),
    "binary_view": (pa.array([b"\0"] * ROWS, pa.binary_view()), ["AA=="] * ROWS),
    "fixed_binary": (pa.array([b"\0"] * ROWS, pa.binary(1)), ["AA=="] * ROWS),
    "decimal": (pa.array([decimal.Decimal("1.50")] * ROWS), ["1.50"] * ROWS),
    "small_decimal": (pa.array([decimal.Decimal("1.50")] * ROWS, pa.decimal32(5, 2)), ["1.50"] * ROWS),
    "date": (pa.array([datetime.date(2024, 1, 2)] * ROWS), ["2024-01-02"] * ROWS),
    "date_far": (pa.array([2**31 - 1] * ROWS, pa.int32()).cast(pa.date32()), None),
    "time_ns": (pa.array([1] * ROWS, pa.time64("ns")), None),
    "timestamp_zone": (pa.array([0] * ROWS, pa.timestamp("us", "Europe/Berlin")), ["1970-01-01T01:00:00+01:00"] * ROWS),
    "timestamp_ns": (pa.array([1] * ROWS, pa.timestamp("ns")), None),
    "timestamp_far": (pa.array([2**62] * ROWS, pa.timestamp("us")), None),
    "timestamp_nowhere": (pa.array([0] * ROWS, pa.timestamp("us", "Nowhere/Atall")), None),
    "duration": (pa.array([90] * ROWS, pa.duration("s")), ["0:01:30"] * ROWS),
    "duration_far": (pa.array([2**62] * ROWS, pa.duration("s")), None),
    "null": (pa.nulls(ROWS), [None] * ROWS),
    "nan": (pa.array([float("nan")] * ROWS), ["nan"] * ROWS),
    "float16": (pa.array([np.float16(1.5)] * ROWS), [1.5] * ROWS),
    "uint64": (pa.array([2**64 - 1] * ROWS, pa.uint64()), [2**64 - 1] * ROWS),
    "uuid": (pa.array([uuid.UUID(int=7).bytes] * ROWS, pa.uuid()), [str(uuid.UUID(int=7))] * ROWS),
    "json": (pa.array(['{"a": 1}'] * ROWS, pa.json_()), ['{"a": 1}'] * ROWS),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1] * ROWS, pa.int8())), [True] * ROWS),
    "empty_lists": (pa.array([[]] * ROWS, pa.list_(pa.null())), [[]] * ROWS),
}

ENDS = range(ROWS + 1)

IN: dict[str, tuple[Callable[[pa.Array], pa.Array], Callable[[Any], Any]]] = {
    "alone": (lambda column: column, lambda value: value),
    "list": (lambda c: pa.ListArray.from_arrays(pa.array(ENDS, pa.int32()), c), lambda v: [v]),
    "large_list": (lambda c: pa.LargeListArray.from_arrays(pa.array(ENDS, pa.int64()), c), lambda v: [v]),
    "fixed_list": (lambda c: pa.FixedSizeListArray.from_arrays(c, 1), lambda v: [v]),
    "list_view": (
        lambda c: pa.ListViewArray.from_arrays(pa.array(range(ROWS), pa.int32()), pa.array([1] * ROWS, pa.int32()), c),
        lambda v: [v],
    ),
    "struct": (lambda c: pa.StructArray.from_arrays([c], ["a"]), lambda v: {"a": v}),
    "map": (
        lambda c: pa.MapArray.from_arrays(pa.array(ENDS, pa.int32()), pa.array(["k"] * ROWS), c),
        lambda v: [["k", v]],
    ),
    "list_of_structs": (
        lambda c: pa.ListArray.from_arrays(pa.array(ENDS, pa.int32()), pa.StructArray.from_arrays([c], ["a"])),
        lambda v: [{"a": v}],
    ),
}

STORED: list[dict[str, Any]] = [{"row_group_size": 37}, {"row_group_size": 50, "use_dictionary": False}]


# --- types, alone and in lists, structs and maps


@pytest.mark.parametrize("place", IN)
@pytest.mark.parametrize("kind", TYPES)
def test_any_column_in_any_place_is_carried_over_row_groups(problem_set: Write, kind: str, place: str) -> None:
    (column, expected), (put, around) = TYPES[kind], IN[place]
    for options in STORED:
        table = pa.table({"problem": [f"p{i}" for i in range(ROWS)], "other": put(column)})
        try:
            path = problem_set(table, **options)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            pytest.skip("pyarrow does not write it")
        found = [metadata(problem)["other"] for problem in read(path)]
        assert len(found) == ROWS
        if expected is not None:
            assert found == [around(value) for value in expected]


def test_tables_of_polars(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "problem": pl.Series(["p", "q"], dtype=pl.String),
            "choices": pl.Series([["a", "b"], ["c", "d"]], dtype=pl.Array(pl.String, 2)),
            "answer": pl.Series(["A", "B"], dtype=pl.Categorical),
            "kind": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])),
            "tags": pl.Series([["t"], ["u", "t"]], dtype=pl.List(pl.Categorical)),
            "when": pl.Series([datetime.time(1, 2), None]),
        }
    )
    frame.write_parquet(tmp_path / "p.parquet", row_group_size=1)
    found = read(str(tmp_path / "p.parquet"))
    assert [(p.text, p.choices, p.reference) for p in found] == [("p", ["a", "b"], "A"), ("q", ["c", "d"], "B")]
    assert [metadata(p)["tags"] for p in found] == [["t"], ["u", "t"]]
    assert [metadata(p)["kind"] for p in found] == ["x", "y"]
    frame.with_columns(big=pl.Series([1, 2**100], dtype=pl.Int128)).write_parquet(tmp_path / "p.parquet")
    assert "p.parquet: a column has a type that pyarrow does not read" in told(str(tmp_path / "p.parquet"))


def test_features_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "problem": datasets.Value("large_string"),
            "choices": datasets.List(datasets.Value("string"), length=2),
            "answer": datasets.ClassLabel(names=["A", "B"]),
            "image": datasets.Image(),
            "turns": datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")}),
        }
    )
    rows = {
        "problem": ["p", "q"],
        "choices": [["x", "y"], ["z", "w"]],
        "answer": [1, 0],
        "image": [{"bytes": b"\0", "path": None}, None],
        "turns": [[{"role": "user", "content": "hi"}], []],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "p.parquet"))
    path = str(tmp_path / "p.parquet")
    assert "input.answers" in told(path)
    found = read(path, answers="index")
    assert [(p.reference, p.choices) for p in found] == [("B", ["x", "y"]), ("A", ["z", "w"])]
    assert metadata(found[0])["image"] == {"bytes": "AA==", "path": None}
    assert metadata(found[0])["turns"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string(), 2),
        pa.list_(pa.large_string()),
        pa.large_list(pa.string_view()),
        pa.list_view(pa.string()),
        pa.list_(pa.dictionary(pa.int8(), pa.string())),
        pa.list_(pa.dictionary(pa.int8(), pa.string()), 2),
    ],
    ids=str,
)
def test_choices_and_steps_in_lists_of_every_layout(problem_set: Write, kind: pa.DataType) -> None:
    lists = pa.array([["1", "2"], None, ["x", None]], kind)
    for name, input in (("choices", {}), ("begun", {"prefix": "begun"})):
        table = pa.table({"problem": ["a", "b", "c"], name: lists})
        found = read(problem_set(table, row_group_size=1), **input)
        if name == "choices":
            assert [p.choices for p in found] == [["1", "2"], None, ["x", ""]]
        else:
            assert [p.prefix for p in found] == [["1", "2"], []]  # a step that is null costs its row


# --- folders


def test_every_row_is_read_once_in_every_cut(problem_set: Write) -> None:
    """Dictionaries that are kept, beside columns that are not, over row groups and shards of any size."""
    long = pa.array(["x" * 300_000, "y" * 300_000], pa.string())
    codes = pa.array([n % 2 for n in range(600)], pa.int32())
    table = pa.table({"problem": [f"p{n}" for n in range(600)], "long": pa.DictionaryArray.from_arrays(codes, long)})
    for group, size in itertools.product((1000, 250), (600, 77)):
        path = problem_set(table, row_group_size=group, store_schema=False, dictionary_pagesize_limit=10**7)
        found = survey(InputConfig(path=path), LOCAL, lambda rows: [False] * len(rows))
        assert any(part.kept for part in found.files[0].layout or [])
        problems = [p for _, good, _ in shards(found, LOCAL, size, lambda number: True) for p in good]
        assert [p.text for p in problems] == [f"p{n}" for n in range(600)]
        assert all(metadata(p)["long"][0] == "xy"[n % 2] for n, p in enumerate(problems))


def test_a_table_as_spark_writes_it(tmp_path: Path) -> None:
    """Folders for a column with a null, old timestamps, decimals of fixed bytes, field ids, marks beside the parts."""
    folder = tmp_path / "table"
    fields = [
        pa.field("problem", pa.string()),
        pa.field("when", pa.timestamp("ns")),
        pa.field("price", pa.decimal128(38, 18)),
        pa.field("pairs", pa.map_(pa.string(), pa.int32())),
    ]
    schema = pa.schema([field.with_metadata({"PARQUET:field_id": str(n)}) for n, field in enumerate(fields, start=1)])
    for number, level in enumerate(("1", "2", "__HIVE_DEFAULT_PARTITION__")):
        part = folder / f"level={level}" / f"part-{number:05d}-{uuid.uuid4()}.c000.snappy.parquet"
        part.parent.mkdir(parents=True)
        row = {
            "problem": f"What is {number} + 1?",
            "when": datetime.datetime(2024, 1, 1),
            "price": decimal.Decimal("12.5"),
            "pairs": [("k", number)],
        }
        table = pa.Table.from_pylist([row], schema)
        pq.write_table(table, part, use_deprecated_int96_timestamps=True, compression="snappy", version="1.0")
        (part.parent / f".{part.name}.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").write_bytes(b"crc")
    for name in ("_metadata", "_common_metadata"):
        pq.write_metadata(schema, folder / name)
    (folder / "_temporary" / "0").mkdir(parents=True)
    (folder / "_temporary" / "0" / "part-00000.parquet").touch()
    found = [metadata(problem) for problem in read(str(folder))]
    assert [of["level"] for of in found] == [1, 2, None]
    assert [of["pairs"] for of in found] == [[["k", number]] for number in range(3)]
    assert {(of["when"], of["price"]) for of in found} == {("2024-01-01T00:00:00", "12.500000000000000000")}
