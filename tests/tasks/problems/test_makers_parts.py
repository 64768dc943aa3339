"""Problem sets in parts and folders, as other tools write them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from read_problems import LOCAL, metadata, read, told

from schemas.config import InputConfig
from tasks.problems.files import folder_values, list_files
from tasks.problems.survey import survey

Write = Callable[..., str]


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


def hive(problem_set: Write, *folders: str, **columns: Any) -> None:
    for number, folder in enumerate(folders):
        problem_set({"problem": [f"p{number}"]} | columns, f"set/{folder}/{number}.parquet")


# --- folders


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
