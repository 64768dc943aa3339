"""Columns of a problem set that solutions carry as metadata."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from read_rows import attempted, read, strictly

Write = Callable[..., str]

CARRIED = {
    "bool": (pa.array([True]), True),
    "int8": (pa.array([-1], pa.int8()), -1),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
    "float16": (pa.array([np.float16(1.5)]), 1.5),
    "float32": (pa.array([0.5], pa.float32()), 0.5),
    "nan": (pa.array([float("nan")]), "nan"),
    "infinity": (pa.array([float("-inf")]), "-inf"),
    "string": (pa.array(["é\n"]), "é\n"),
    "large_string": (pa.array(["x"], pa.large_string()), "x"),
    "binary": (pa.array([b"\xff\x00"]), "/wA="),
    "fixed_binary": (pa.array([b"\xff\xfe"], pa.binary(2)), "//4="),
    "date32": (pa.array([datetime.date(2024, 1, 2)]), "2024-01-02"),
    "time": (pa.array([datetime.time(1, 2, 3)]), "01:02:03"),
    "timestamp_us": (pa.array([datetime.datetime(2024, 1, 2, 3)]), "2024-01-02T03:00:00"),
    "timestamp_utc": (pa.array([0], pa.timestamp("s", "UTC")), "1970-01-01T00:00:00+00:00"),
    "timestamp_whole_ns": (pa.array([1000], pa.timestamp("ns")), "1970-01-01T00:00:00.000001"),
    "duration": (pa.array([90], pa.duration("s")), "0:01:30"),
    "decimal": (pa.array([decimal.Decimal("1.50")]), "1.50"),
    "decimal256": (pa.array([decimal.Decimal("1.50")], pa.decimal256(50, 2)), "1.50"),
    "list": (pa.array([[1, None]]), [1, None]),
    "fixed_list": (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [1, 2]),
    "struct": (pa.array([{"a": 1, "b": {"c": [b"\x00"]}}]), {"a": 1, "b": {"c": ["AA=="]}}),
    "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), [["k", 1]]),
    "dictionary": (pa.array(["x"]).dictionary_encode(), "x"),
    "null": (pa.nulls(1), None),
    "null_timestamp": (pa.array([None], pa.timestamp("ns")), None),
}

ODD = {  # values that Python's own types cannot hold, as other tools write them: their text is not fixed here
    "timestamp_ns": pa.array([1], pa.timestamp("ns")),
    "time_ns": pa.array([1], pa.time64("ns")),
    "duration_ns": pa.array([1], pa.duration("ns")),
    "timestamp_far": pa.array([2**62], pa.timestamp("us")),
    "date_far": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    "duration_far": pa.array([2**62], pa.duration("s")),
    "timezone_unknown": pa.array([0], pa.timestamp("us", "Nowhere/Atall")),
    "uuid": pa.array([uuid.UUID(int=1).bytes], pa.uuid()),
    "struct_with_a_name_twice": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
}


@pytest.mark.parametrize("kind", CARRIED)
def test_every_other_column_is_carried_as_json(problem_set: Write, kind: str) -> None:
    column, expected = CARRIED[kind]
    _, usable, _ = read(problem_set(pa.table({"problem": ["p"], "other": column})))
    assert strictly(usable[0].metadata) == {"other": expected}


@pytest.mark.parametrize("kind", ODD)
def test_a_value_that_python_cannot_hold_does_not_end_a_run(problem_set: Write, kind: str) -> None:
    path = problem_set(pa.table({"problem": ["p"], "other": ODD[kind]}))
    told, result = attempted(path)
    if result is None:
        assert path in told  # refused, before anything is loaded
    else:
        assert strictly(result[1][0].metadata)["other"] is not None


def test_columns_named_like_the_tables_columns_are_metadata(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["p"], "metadata": ["m"], "run_id": ["r"], "shard": [7]}))
    assert strictly(usable[0].metadata) == {"metadata": "m", "run_id": "r", "shard": 7}


def test_the_same_question_with_other_options_is_another_problem(problem_set: Write) -> None:
    columns = {"problem": ["Which is true?"] * 3, "choices": [["a", "b"], ["c", "d"], ["a", "b"]]}
    _, usable, rejected = read(problem_set(columns))
    assert [p.choices for p in usable] == [["a", "b"], ["c", "d"]]
    assert [r.row for r in rejected] == [2]


def test_an_option_that_is_null_keeps_its_letter(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["p"], "choices": [["x", None, "z"]], "answer": ["C"]}))
    assert usable[0].choices is not None
    assert len(usable[0].choices) == 3
