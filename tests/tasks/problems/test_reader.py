"""Problem sets: which rows are usable, what is said of the others, and that streaming loses and changes none."""

from __future__ import annotations

import datetime
import decimal
import json
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import InputConfig
from tasks.errors import UserError
from tasks.problems.files import list_files
from tasks.problems.parquet import problem_file
from tasks.problems.reader import Problem, Rejected, shards
from tasks.problems.survey import Survey, survey
from tasks.problems.usability import stable_id
from tasks.storage.stores import Stores

LOCAL = Stores()
Write = Callable[..., str]


def none_too_long(rows: list[dict[str, Any]]) -> list[bool]:
    return [False] * len(rows)


def read(
    path: str, *, size: int = 1000, too_long: Any = none_too_long, limit: int | None = None
) -> tuple[Survey, list[Problem], list[Rejected]]:
    """Everything in a problem set."""
    found = survey(InputConfig(path=path, limit=limit), LOCAL, too_long)
    usable, rejected = [], []
    for _, here, bad in shards(found, LOCAL, size, lambda number: True):
        usable += here
        rejected += bad
    return found, usable, rejected


def mistake(path: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


def attempted(path: str) -> tuple[str, tuple[Survey, list[Problem], list[Rejected]] | None]:
    """What is told of a mistake, or what was read."""
    try:
        return "", read(path)
    except UserError as error:
        return str(error), None


# --- columns


def test_the_columns_of_a_problem(problem_set: Write) -> None:
    path = problem_set(
        {
            "problem_id": ["a"],
            "problem": ["2+2?"],
            "answer": ["4"],
            "choices": [["3", "4"]],
            "source": ["x"],
            "level": [3],
        }
    )
    _, usable, rejected = read(path)
    assert not rejected
    assert (usable[0].problem_id, usable[0].text, usable[0].reference) == ("a", "2+2?", "4")
    assert usable[0].choices == ["3", "4"]
    assert json.loads(usable[0].metadata or "") == {"choices": ["3", "4"], "source": "x", "level": 3}


def test_a_problem_alone_is_enough(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["2+2?"]}))
    assert usable == [Problem(stable_id("2+2?"), "2+2?", None, None, None)]


def test_other_string_types_are_strings_too(problem_set: Write) -> None:
    table = pa.table(
        {
            "problem": pa.array(["p", "q"]).dictionary_encode(),
            "problem_id": pa.array(["1", "2"], pa.large_string()),
            "answer": pa.array(["x", None], pa.string_view()),
            "choices": pa.array([["c"], None], pa.large_list(pa.large_string())),
        }
    )
    _, usable, _ = read(problem_set(table))
    assert [(p.problem_id, p.text, p.reference, p.choices) for p in usable] == [
        ("1", "p", "x", ["c"]),
        ("2", "q", None, None),
    ]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"question": ["a"]}, "column 'problem' is missing; the file has question"),
        ({"problem": [1]}, "column 'problem' is int64"),
        ({"problem": [["a"]]}, "column 'problem' is list"),
        ({"problem": [b"a"]}, "column 'problem' is binary"),
        ({"problem": ["a"], "problem_id": [1]}, "column 'problem_id' is int64"),
        ({"problem": ["a"], "answer": [1.5]}, "column 'answer' is double"),
        ({"problem": ["a"], "choices": ["x"]}, "column 'choices' is string"),
        ({"problem": ["a"], "choices": [[1]]}, "column 'choices' is list"),
    ],
)
def test_a_wrong_column_is_told_with_its_file(problem_set: Write, columns: dict[str, Any], told: str) -> None:
    path = problem_set(columns)
    message = mistake(path)
    assert path in message
    assert told in message


def test_a_column_name_that_occurs_twice(problem_set: Write) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["problem", "problem"])
    assert "twice" in mistake(problem_set(table))


# --- rows


def test_rows_without_a_problem_are_rejected_and_cost_no_others(problem_set: Write) -> None:
    path = problem_set(
        {"problem": ["first", None, "", " \n\t ", "\u00a0", "last"], "problem_id": ["a", "b", None, "d", "e", "f"]}
    )
    found, usable, rejected = read(path)
    assert [p.problem_id for p in usable] == ["a", "f"]
    assert [(r.row, r.problem_id, r.reason) for r in rejected] == [
        (1, "b", "problem is null"),
        (2, None, "problem is empty"),
        (3, "d", "problem is empty"),
        (4, "e", "problem is empty"),
    ]
    assert {r.file for r in rejected} == {path}
    assert (found.rows, found.usable) == (6, 2)
    assert found.rejected() == {"problem is null": 1, "problem is empty": 3}


def test_missing_ids_are_hashes_that_depend_on_the_problem_alone(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["p", "q", "r"], "problem_id": [None, "", "given"]}))
    assert [p.problem_id for p in usable] == [stable_id("p"), stable_id("q"), "given"]
    _, elsewhere, _ = read(problem_set({"problem": ["q", "p"]}, "other.parquet"))
    assert [p.problem_id for p in elsewhere] == [stable_id("q"), stable_id("p")]


def test_the_first_of_several_rows_with_one_id_is_used(problem_set: Write) -> None:
    _, usable, rejected = read(problem_set({"problem": ["p", "q", "r", "s"], "problem_id": ["1", "2", "1", "1"]}))
    assert [p.text for p in usable] == ["p", "q"]
    assert [(r.row, r.problem_id, r.reason) for r in rejected] == [
        (2, "1", "problem_id (or the problem, where there is no id) is that of an earlier row"),
        (3, "1", "problem_id (or the problem, where there is no id) is that of an earlier row"),
    ]


def test_equal_problems_are_duplicates_only_where_they_have_no_ids(problem_set: Write) -> None:
    _, usable, rejected = read(problem_set({"problem": ["p", "p", "p", "p"], "problem_id": ["1", "2", None, None]}))
    assert [p.problem_id for p in usable] == ["1", "2", stable_id("p")]
    assert [r.row for r in rejected] == [3]


def test_an_unusable_row_does_not_cost_a_later_one_its_id(problem_set: Write) -> None:
    path = problem_set({"problem": [None, "", "LONG", "p", "q"], "problem_id": ["1"] * 5})
    _, usable, rejected = read(path, too_long=lambda rows: [row["problem"] == "LONG" for row in rows])
    assert [p.text for p in usable] == ["p"]
    assert [r.row for r in rejected] == [0, 1, 2, 4]


def test_too_long_prompts(problem_set: Write) -> None:
    asked: list[dict[str, Any]] = []

    def too_long(rows: list[dict[str, Any]]) -> list[bool]:
        asked.extend(rows)
        return [len(row["problem"]) > 100 for row in rows]

    path = problem_set({"problem": ["short", "x" * 5000, None, ""], "choices": [["a"], None, None, None]})
    _, usable, rejected = read(path, too_long=too_long)
    assert [p.text for p in usable] == ["short"]
    assert [r.row for r in rejected] == [1, 2, 3]
    assert rejected[0].reason == "the prompt is longer than the models take"
    assert rejected[0].problem == "x" * 200
    # rows that have no problem are not asked about; options are part of the prompt
    assert asked == [
        {"problem": "short", "choices": ["a"], "prefix": None},
        {"problem": "x" * 5000, "choices": None, "prefix": None},
    ]


def test_text_comes_through_untouched(problem_set: Write) -> None:
    texts = ["  led by spaces", "trailing\n\n", "\u202ertl\u0000nul", "a\r\nb", "🦀" * 50, "<|im_end|>", "\ufeffbom"]
    _, usable, _ = read(problem_set({"problem": texts}))
    assert [p.text for p in usable] == texts


def test_no_rows_at_all(problem_set: Write) -> None:
    found, usable, rejected = read(problem_set({"problem": pa.array([], pa.string())}))
    assert (found.rows, found.usable, usable, rejected) == (0, 0, [], [])
    assert found.rejected() == {}


def test_a_column_of_nothing_but_nulls(problem_set: Write) -> None:
    found, usable, _ = read(problem_set({"problem": pa.nulls(3), "choices": pa.nulls(3), "problem_id": pa.nulls(3)}))
    assert (found.rejected(), usable) == ({"problem is null": 3}, [])


def not_utf8() -> pa.Array:
    content = b"fine" + b"\xff\xfe" + b"good"
    offsets = pa.py_buffer(struct.pack("<4i", 0, 4, 6, 10))
    return pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(content)])


@pytest.mark.parametrize("column", ["problem", "problem_id", "answer"])
def test_text_that_is_not_utf8_costs_its_row_or_is_told(problem_set: Write, column: str) -> None:
    path = problem_set(pa.table({"problem": ["a", "b", "c"]} | {column: not_utf8()}))
    told, result = attempted(path)
    if result is None:
        assert path in told
    else:
        found, usable, rejected = result
        assert len(usable) == 2
        assert [r.row for r in rejected] == [1]
        assert found.usable == 2


def test_other_text_that_is_not_utf8_is_carried_as_far_as_it_is(problem_set: Write) -> None:
    _, usable, _ = read(problem_set(pa.table({"problem": ["a", "b", "c"], "source": not_utf8()})))
    assert [strictly(p.metadata)["source"] for p in usable] == ["fine", "\ufffd\ufffd", "good"]


def test_options_that_are_not_utf8_cost_their_row(problem_set: Write) -> None:
    options = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), not_utf8())
    found, usable, rejected = read(problem_set(pa.table({"problem": ["a", "b", "c"], "choices": options})))
    assert [p.choices for p in usable] == [["fine"], ["good"]]
    assert [r.row for r in rejected] == [1]
    assert found.rejected() == {"problem, problem_id, answer or choices is not UTF-8 text": 1}


# --- other columns

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


def strictly(text: str | None) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text or "", parse_constant=refuse)


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


# --- files


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert mistake(str(tmp_path / "no.parquet")) == f"input.path: {tmp_path}/no.parquet does not exist"


def test_directories_and_globs_are_read_in_order(problem_set: Write, tmp_path: Path) -> None:
    for name in ("d/b.parquet", "d/a.parquet", "d/sub/c.parquet", "d/_temporary/x.parquet", "d/.hidden.parquet"):
        problem_set({"problem": [name]}, name)
    (tmp_path / "d" / "notes.txt").write_text("not a problem set")
    _, usable, _ = read(str(tmp_path / "d"))
    assert [p.text for p in usable] == ["d/a.parquet", "d/b.parquet", "d/sub/c.parquet"]
    _, usable, _ = read(str(tmp_path / "d" / "*.parquet"))
    assert [p.text for p in usable if "hidden" not in p.text] == ["d/a.parquet", "d/b.parquet"]
    assert "no .parquet file matches" in mistake(str(tmp_path / "e*"))
    (tmp_path / "empty").mkdir()
    assert "directory without .parquet files" in mistake(str(tmp_path / "empty"))


def test_a_name_with_brackets_is_a_name(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": ["p"]}, "part[1].parquet"))
    assert [p.text for p in usable] == ["p"]


def test_ids_count_over_all_files_and_rows_are_numbered_through(problem_set: Write, tmp_path: Path) -> None:
    problem_set({"problem": ["a", "b"], "problem_id": ["1", "2"]}, "d/0.parquet")
    problem_set({"problem_id": ["2", None], "extra": [1, 2], "problem": ["c", "d"]}, "d/1.parquet")
    found, usable, rejected = read(str(tmp_path / "d"))
    assert [p.text for p in usable] == ["a", "b", "d"]
    assert [(r.row, r.file) for r in rejected] == [(2, str(tmp_path / "d/1.parquet"))]
    assert [(f.rows, len(f.sha256)) for f in found.files] == [(2, 64), (2, 64)]


def test_limit_takes_the_first_rows_and_reads_no_further(problem_set: Write, tmp_path: Path) -> None:
    for n in range(3):
        problem_set({"problem": [f"{n}.{i}" for i in range(4)]}, f"d/{n}.parquet")
    (tmp_path / "d" / "2.parquet").write_bytes(b"nobody looks at this one")
    for limit in (1, 4, 6):
        found, usable, _ = read(str(tmp_path / "d"), limit=limit, size=4)
        assert [p.text for p in usable] == [f"{n}.{i}" for n in range(3) for i in range(4)][:limit]
        assert found.rows == limit
    assert "2.parquet" in mistake(str(tmp_path / "d"), limit=9)


def test_a_limited_input_is_another_input(problem_set: Write) -> None:
    path = problem_set({"problem": ["a", "b"]})
    assert read(path, limit=1)[0].fingerprint != read(path)[0].fingerprint
    assert read(path, limit=7)[0].fingerprint == read(path)[0].fingerprint


def test_files_that_are_not_whole_are_told_by_name(problem_set: Write, tmp_path: Path) -> None:
    path = problem_set({"problem": [f"problem {i} " * 9 for i in range(500)]}, use_dictionary=False, compression="none")
    whole = Path(path).read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"problem\n2+2?\n",
        "cut": whole[:-30],
        "headless": whole[len(whole) // 2 :],
        "scribbled": whole[:4] + b"\xff" * 40 + whole[44:],
    }.items():
        broken = tmp_path / f"{name}.parquet"
        broken.write_bytes(content)
        assert str(broken) in mistake(str(broken)), name


def test_no_flipped_byte_is_a_crash(problem_set: Write, tmp_path: Path) -> None:
    path = problem_set({"problem": ["p", "q"], "problem_id": ["1", "2"]}, compression="snappy")
    whole = Path(path).read_bytes()
    broken = tmp_path / "flipped.parquet"
    for at in range(0, len(whole), 3):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        told, result = attempted(str(broken))
        assert result is not None or str(broken) in told


# --- streaming


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three files of uneven row groups, one in twenty rows bad."""
    folder = tmp_path_factory.mktemp("large")
    texts = [None if i % 20 == 7 else f"problem {i % 900}" for i in range(1000)]
    for n, (start, end, group) in enumerate([(0, 400, 17), (400, 401, 1), (401, 1000, 100_000)]):
        table = pa.table({"problem": texts[start:end], "level": list(range(start, end))})
        pq.write_table(table, folder / f"{n}.parquet", row_group_size=group)
    return str(folder)


@pytest.mark.parametrize("batch", [1, 7, 128, 4096])
def test_the_same_rows_come_whatever_the_batch(large: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(large)
    monkeypatch.setattr(problem_file, "BATCH", batch)
    found, usable, rejected = read(large)
    assert found.files == expected[0].files
    assert (found.verdicts == expected[0].verdicts).all()
    assert (usable, rejected) == expected[1:]
    assert len(usable) + len(rejected) == 1000


@pytest.mark.parametrize("size", [1, 3, 100, 999, 1000, 5000])
def test_shards_hold_equal_runs_of_rows(large: str, size: int) -> None:
    found, usable, rejected = read(large)
    whole = list(shards(found, LOCAL, size, lambda number: True))
    assert [number for number, _, _ in whole] == list(range(-(-1000 // size)))
    assert all(len(good) + len(bad) == size for _, good, bad in whole[:-1])
    assert [p for _, good, _ in whole for p in good] == usable
    assert [r for _, _, bad in whole for r in bad] == rejected
    assert all(r.row // size == number for number, _, bad in whole for r in bad)


def test_only_the_shards_that_are_wanted_come(large: str) -> None:
    found, *_ = read(large)
    every = {number: (good, bad) for number, good, bad in shards(found, LOCAL, 64, lambda number: True)}
    some = {number: (good, bad) for number, good, bad in shards(found, LOCAL, 64, lambda n: n in (0, 9, 15))}
    assert some == {number: every[number] for number in (0, 9, 15)}


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    group=st.integers(1, 30),
    size=st.integers(1, 30),
    numbers=st.sets(st.integers(0, 30)),
    limit=st.integers(1, 100) | st.none(),
)
@settings(max_examples=60, deadline=None)
def test_listed_shards_are_as_they_are_among_all_and_no_other_row_group_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    group: int,
    size: int,
    numbers: set[int],
    limit: int | None,
) -> None:
    folder, first = tmp_path_factory.mktemp("files"), 0
    for n, rows in enumerate(sizes):
        texts = [None if row % 7 == 3 else f"problem {row}" for row in range(first, first + rows)]
        table = pa.table({"problem": pa.array(texts, pa.string())})
        pq.write_table(table, folder / f"{n}.parquet", row_group_size=group)
        first += rows
    found = survey(InputConfig(path=str(folder), limit=limit), LOCAL, none_too_long)
    every = list(shards(found, LOCAL, size, lambda number: True))
    asked: list[int] = []
    listed = list(shards(found, LOCAL, size, lambda number: not asked.append(number), listed=numbers))
    assert listed == [one for one in every if one[0] in numbers]
    assert set(asked) <= numbers

    start = 0
    for file in found.files:
        wanted = {row for row in range(start, start + file.rows) if row // size in numbers}
        parts = file.read_parts(LOCAL, lambda a, b, at=start, of=wanted: bool(of & set(range(at + a, at + b))))
        rows = [start + at + row for at, batch in parts for row in range(len(batch))]
        expected = [row for row in range(start, start + file.rows) if wanted & _group(row - start, group, start)]
        assert rows == expected
        start += file.rows


def _group(row: int, group: int, start: int) -> set[int]:
    """The rows, counted from the input's first, of the row group that holds a file's row."""
    first = start + row // group * group
    return set(range(first, first + group))


def test_the_fingerprint_follows_the_content_not_the_place(problem_set: Write) -> None:
    one = read(problem_set({"problem": ["a", "b"]}, "x/1.parquet"))[0].fingerprint
    assert read(problem_set({"problem": ["a", "b"]}, "y/2.parquet"))[0].fingerprint == one
    assert read(problem_set({"problem": ["a", "c"]}, "x/1.parquet"))[0].fingerprint != one


def test_problem_sets_on_s3(problem_set: Write, s3: str, tmp_path: Path) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    for n in range(2):
        path = problem_set({"problem": [f"{n}.{i}" for i in range(3)]}, f"{n}.parquet")
        fs.put(path, f"{s3[5:]}/set/{n}.parquet")
    expected = ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    for path in (f"{s3}/set", f"{s3}/set/", f"{s3}/set/*.parquet"):
        assert [p.text for p in read(path, size=4)[1]] == expected
    assert [p.text for p in read(f"{s3}/set/1.parquet")[1]] == expected[3:]
    assert list_files(f"{s3}/set", LOCAL) == [f"{s3}/set/0.parquet", f"{s3}/set/1.parquet"]
    for missing in (f"{s3}/no.parquet", f"{s3}-none/set/0.parquet"):
        assert missing in mistake(missing)
