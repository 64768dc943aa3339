"""Problem sets as other tools write them: types, lists, parts, folders, names and answers that are theirs."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import Config, InputConfig
from tasks.configuration.identity import differences
from tasks.errors import UserError
from tasks.problems.files import folder_values, list_files
from tasks.problems.reader import Problem, shards
from tasks.problems.survey import survey
from tasks.storage.stores import Stores

LOCAL = Stores()
Write = Callable[..., str]
ROWS = 130


def read(path: str, *, size: int = 50, **input: Any) -> list[Problem]:
    """What a run would solve; what cannot be read is told by the survey, before any engine starts."""
    found = survey(InputConfig(path=path, **input), LOCAL, lambda rows: [False] * len(rows))
    usable = [problem for _, good, _ in shards(found, LOCAL, size, lambda number: True) for problem in good]
    assert len(usable) == found.usable
    return usable


def told(path: str, **input: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **input)
    return str(caught.value)


def metadata(problem: Problem) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(problem.metadata or "{}", parse_constant=refuse)


# --- types, alone and in lists, structs and maps

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


# --- answers


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64()])
def test_whole_numbers_are_answers(problem_set: Write, kind: pa.DataType) -> None:
    path = problem_set({"problem": ["a", "b"], "answer": pa.array([42, None], kind)})
    assert [p.reference for p in read(path)] == ["42", None]


@pytest.mark.parametrize("answer", [1.5, True, ["4"], b"4", {"value": "4"}, datetime.date(2024, 1, 1)])
def test_other_answers_are_told(problem_set: Write, answer: Any) -> None:
    assert "column 'answer' is " in told(problem_set({"problem": ["a"], "answer": [answer]}))


PLACES = ["0", "2", "4", " 1 ", "(2)", "2.", "1.0", "Option 1", "choice: 3", "answer 2"]
PLACES += ["#2", "+2", "2nd", "the 2nd option", "the 1st", "choice_2", "index 2", "No. 3", "option2", "{2}", "item-1"]
NO_PLACES = [
    "B",
    "5",
    "42",
    "-2",
    "0.5",
    "x",
    "two",
    "1/2",
    "$2$",
    "2 apples",
    "A, B",
    "",
    "no",
    "the",
    "option B",
    "x2",
    "2nd law",
    "3.14",
]


@pytest.mark.parametrize("answer", PLACES)
def test_an_answer_that_may_be_a_place_is_asked_about(problem_set: Write, answer: str) -> None:
    choices = [["1", "2", "3", "4"]] * 2
    path = problem_set({"problem": ["a", "b"], "choices": choices, "answer": ["B", answer]}, row_group_size=1)
    message = told(path)
    assert f"{path}: row 1 has the answer {answer!r} beside choices" in message
    assert "input.answers: index" in message
    for answers in ("index", "number", "text"):
        read(path, answers=answers)


@pytest.mark.parametrize("answer", NO_PLACES)
def test_other_answers_beside_choices_are_not(problem_set: Write, answer: str) -> None:
    path = problem_set({"problem": ["a"], "choices": [["1", "2", "3", "4"]], "answer": [answer]})
    assert read(path)[0].reference == answer
    alone = problem_set({"problem": ["a", "b"], "choices": [[], None], "answer": ["2", "2"]}, "alone.parquet")
    assert [p.reference for p in read(alone)] == ["2", "2"]


def test_places_become_letters(problem_set: Write) -> None:
    options = [str(n) for n in range(28)]
    choices = [["x", "y", "z"]] * 3 + [options] * 2
    for kind in (pa.string(), pa.int64()):
        places = pa.array([0, 1, None, 25, 27]).cast(kind)
        path = problem_set({"problem": list("abcde"), "choices": choices, "answer": places})
        assert [p.reference for p in read(path, answers="index")] == ["A", "B", None, "Z", "27"]
        moved = pa.array([1, 2, None, 26, 28]).cast(kind)
        path = problem_set({"problem": list("abcde"), "choices": choices, "answer": moved})
        assert [p.reference for p in read(path, answers="number")] == ["A", "B", None, "Z", "27"]


def test_what_should_be_a_place_and_is_none_costs_its_row(problem_set: Write) -> None:
    answers = ["3", "B", "0", "-1", "1/2", "-2", None, ""]
    path = problem_set({"problem": list("abcdefgh"), "choices": [["x", "y", "z"]] * 8, "answer": answers})
    found = survey(InputConfig(path=path, answers="index"), LOCAL, lambda rows: [False] * len(rows))
    assert found.verdicts.astype(bool).tolist() == [True, True, False, False, True, True, False, False]
    assert list(found.rejected()) == ["answer is not the place of one of its choices, which input.answers says it is"]
    assert [p.reference for p in read(path, answers="index")] == ["A", None, None, None]  # -1 is no label


def test_how_answers_are_read_is_part_of_a_run(configured: Callable[..., Config]) -> None:
    """That they are text is what they were before it could be said."""
    usual = configured()
    assert not differences(usual, configured("input.answers=text"))
    assert differences(usual, configured("input.answers=index"))


# --- parts


@pytest.mark.parametrize(
    "column", [pa.array([], pa.float64()), pa.nulls(0), pa.array([], pa.list_(pa.int8()))], ids=str
)
def test_a_part_without_rows_has_any_types(problem_set: Write, tmp_path: Path, column: pa.Array) -> None:
    problem_set({"problem": ["p", "q"], "answer": ["1", "2"], "steps": [["s"], ["t"]]}, "set/a.parquet")
    problem_set(pa.table({"problem": column, "answer": column, "steps": column}), "set/b.parquet")
    problem_set(pa.table({}), "set/c.parquet")
    assert [p.text for p in read(str(tmp_path / "set"), prefix="steps")] == ["p", "q"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.null(), pa.bool_(), pa.list_(pa.int8()), pa.binary()], ids=str)
@pytest.mark.parametrize("name", ["answer", "problem_id", "choices"])
def test_a_column_of_nulls_has_any_type(problem_set: Write, tmp_path: Path, name: str, kind: pa.DataType) -> None:
    value = ["x"] if name == "choices" else "x"
    problem_set({"problem": ["p"], name: [value]}, "set/a.parquet")
    problem_set(pa.table({"problem": ["q", "r"], name: pa.nulls(2, kind)}), "set/b.parquet", row_group_size=1)
    assert [p.text for p in read(str(tmp_path / "set"))] == ["p", "q", "r"]
    problem_set(pa.table({"problem": ["q", "r"], name: pa.array([None, 1.5])}), "set/b.parquet", row_group_size=1)
    assert f"b.parquet: column '{name}' is double" in told(str(tmp_path / "set"))


def test_parts_with_other_columns_and_types(problem_set: Write, tmp_path: Path) -> None:
    parts: list[Any] = [
        {"problem": ["a"], "answer": ["1"], "level": pa.array([1], pa.int8()), "tag": ["x"]},
        {"answer": pa.array([2]), "problem": pa.array(["b"]).dictionary_encode(), "level": pa.array([2])},
        {"problem": pa.array(["c"], pa.large_string()), "level": ["three"], "tag": pa.array(["x"]).dictionary_encode()},
    ]
    for number, part in enumerate(parts):
        problem_set(part, f"set/{number}.parquet")
    found = read(str(tmp_path / "set"))
    assert [(p.text, p.reference) for p in found] == [("a", "1"), ("b", "2"), ("c", None)]
    assert [metadata(p) for p in found] == [{"level": 1, "tag": "x"}, {"level": 2}, {"level": "three", "tag": "x"}]


def test_names_that_are_no_data_are_passed_over(problem_set: Write, tmp_path: Path) -> None:
    for name in ("a.parquet", "b.PARQUET", "c.Parquet", "d.pq", "e.snappy.parquet", "sub/f.parquet", "_l=1/g.parquet"):
        problem_set({"problem": [name]}, f"set/{name}")
    for name in (".a.parquet.crc", "._a.parquet", "_temporary/0/x.parquet", ".hidden/x.parquet", "_a.parquet"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"not for reading")
    for name in ("_SUCCESS", "_metadata", "_common_metadata", "notes.txt"):
        (tmp_path / "set" / name).write_bytes(b"")
    above = ["a.parquet", "b.PARQUET", "c.Parquet", "d.pq", "e.snappy.parquet"]
    every = ["_l=1/g.parquet", *above, "sub/f.parquet"]
    assert sorted(p.text for p in read(str(tmp_path / "set"))) == every
    assert sorted(p.text for p in read(f"{tmp_path}/set/**/*")) == every
    assert sorted(p.text for p in read(f"{tmp_path}/set/*")) == every[:-1]
    assert "notes.txt" in told(f"{tmp_path}/set/*.txt")


def test_what_a_folder_has_instead_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(b"")
    assert told(str(tmp_path)).endswith("is a directory without .parquet files; there is train.jsonl.gz")


KINDS = {
    "a gzip file": b"\x1f\x8b\x08",
    "a Zstandard file": b"\x28\xb5\x2f\xfd",
    "JSON": b'\xef\xbb\xbf\n {"problem": "p"}\n',
    "a zip archive": b"PK\x03\x04",
    "an Arrow file": b"ARROW1\0\0",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "p.parquet").write_bytes(KINDS[kind] + b"0" * 100)
    assert f"p.parquet: not a whole Parquet file but {kind}" in told(str(tmp_path / "p.parquet"))


# --- folders


def hive(problem_set: Write, *folders: str, **columns: Any) -> None:
    for number, folder in enumerate(folders):
        problem_set({"problem": [f"p{number}"]} | columns, f"set/{folder}/{number}.parquet")


def test_folders_that_are_columns(problem_set: Write, tmp_path: Path) -> None:
    hive(
        problem_set, "source=MATH%2FAlgebra/level=1", "source=a b/level=2", "source=__HIVE_DEFAULT_PARTITION__/level=3"
    )
    expected = [{"source": "MATH/Algebra", "level": 1}, {"source": None, "level": 3}, {"source": "a b", "level": 2}]
    for path in ("set", "set/*/*/*.parquet", "set/**/*.parquet", "set/*/level=*", "set/source=*"):
        found = read(str(tmp_path / path))
        assert sorted(map(str, map(metadata, found))) == sorted(map(str, expected)), path
    one = read(f"{tmp_path}/set/source=a b/level=2/1.parquet")
    assert [metadata(p) for p in one] == [{"source": "a b", "level": 2}]


def test_tables_partitioned_by_other_tools(tmp_path: Path) -> None:
    frame = pl.DataFrame({"problem": list("abcd"), "level": [1, 1, 2, 2], "source": ["x/y", "z", "z", "ü=1"]})
    pq.write_to_dataset(frame.to_arrow(), tmp_path / "arrow", partition_cols=["level", "source"])
    frame.write_parquet(tmp_path / "polars", partition_by=["level", "source"], mkdir=True)
    frame.to_pandas().to_parquet(tmp_path / "pandas", partition_cols=["level", "source"])
    expected = [(p, {"level": level, "source": source}) for p, level, source in frame.iter_rows()]
    for tool in ("arrow", "polars", "pandas"):
        found = [(p.text, metadata(p)) for p in read(str(tmp_path / tool))]
        assert sorted(found, key=str) == expected, tool


def test_values_are_numbers_where_all_are() -> None:
    def values(*folders: str) -> list[Any]:
        return [found["a"] for found in folder_values([f"x/a={folder}/p.parquet" for folder in folders])]

    assert values("1", "-2", "0", "__HIVE_DEFAULT_PARTITION__") == [1, -2, 0, None]
    assert values("1", "x") == ["1", "x"]
    assert values("01", "1") == ["01", "1"]
    assert values("1.5", "", "9" * 30) == ["1.5", "", "9" * 30]
    assert folder_values(["=1/x=/a==b/p=1.parquet", "p.parquet"]) == [{"x": "", "a": "=b"}, {}]


def test_a_column_of_the_file_goes_before_its_folders(problem_set: Write, tmp_path: Path) -> None:
    hive(problem_set, "level=1", level=["one"])
    assert [metadata(p) for p in read(str(tmp_path / "set"))] == [{"level": "one"}]


@pytest.mark.parametrize("name", ["problem_id", "answer", "choices"])
def test_a_folder_is_no_column_that_files_have(problem_set: Write, tmp_path: Path, name: str) -> None:
    hive(problem_set, f"{name}=7")
    assert f"the folder {name}=... stands for a column that must be in the file" in told(str(tmp_path / "set"))


def test_other_values_are_another_input(problem_set: Write, tmp_path: Path) -> None:
    def fingerprint(path: str) -> str:
        input = InputConfig(path=str(tmp_path / path))
        return survey(input, LOCAL, lambda rows: [False] * len(rows)).fingerprint

    hive(problem_set, "level=1")
    shutil.copytree(tmp_path / "set" / "level=1", tmp_path / "other" / "level=2")
    shutil.copytree(tmp_path / "set" / "level=1", tmp_path / "moved" / "level=1")
    shutil.copytree(tmp_path / "set" / "level=1", tmp_path / "plain")
    assert fingerprint("set") == fingerprint("moved")
    assert len({fingerprint(path) for path in ("set", "other", "plain")}) == 3


def test_folders_in_a_bucket(problem_set: Write, tmp_path: Path, s3: str) -> None:
    """Some tools mark them by an empty object of the folder's name, with a slash behind it or without."""
    import boto3

    client = boto3.client("s3")
    hive(problem_set, "level=1", "level=2")
    for path in (tmp_path / "set").rglob("*.parquet"):
        for top in ("set", "out.parquet"):
            client.upload_file(str(path), s3[5:], f"{top}/{path.relative_to(tmp_path / 'set')}")
    for marker in ("set", "set/", "set/level=1", "set/level=2/", "out.parquet", "out.parquet/", "out.parquet/_SUCCESS"):
        client.put_object(Bucket=s3[5:], Key=marker, Body=b"")
    for path in (
        "set",
        "set/",
        "set/*/*",
        "set/**/*.parquet",
        "set/level=*",
        "out.parquet",
        "*.parquet",
        "out.parquet/",
    ):
        found = [(p.text, metadata(p)) for p in read(f"{s3}/{path}")]
        assert found == [("p0", {"level": 1}), ("p1", {"level": 2})], path
    client.put_object(Bucket=s3[5:], Key="set/empty.parquet", Body=b"")
    assert "set/empty.parquet: not a whole Parquet file (it is empty)" in told(f"{s3}/set")
    assert "set/empty.parquet: not a whole Parquet file (it is empty)" in told(f"{s3}/set/empty.parquet")


def test_lists_are_alike_wherever_files_lie(problem_set: Write, tmp_path: Path, s3: str) -> None:
    import boto3

    client = boto3.client("s3")
    names = [
        "a.parquet",
        "b.PARQUET",
        "x=1/c.parquet",
        "d.parquet/part-0.parquet",
        "_t/e.parquet",
        ".f.parquet",
        "g.csv",
    ]
    for name in names:
        path = problem_set({"problem": [name]}, f"set/{name}")
        client.upload_file(path, s3[5:], f"set/{name}")
    for path in ("set", "set/*", "set/*.parquet", "set/**/*.parquet", "set/*/*", "set/x=?", "set/.*", "set/_t/*"):
        local, remote = (
            [name.removeprefix(top) for name in list_files(f"{top}/{path}", LOCAL)] for top in (str(tmp_path), s3)
        )
        assert local == remote, path


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
