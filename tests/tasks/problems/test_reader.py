"""Problem sets are streamed: nothing is lost or changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_rows import LOCAL, attempted, mistake, none_too_long, read

from schemas.config import InputConfig
from tasks.problems.files import list_files
from tasks.problems.parquet import problem_file
from tasks.problems.reader import shards
from tasks.problems.survey import survey

Write = Callable[..., str]


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


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three files of uneven row groups, one in twenty rows bad."""
    folder = tmp_path_factory.mktemp("large")
    texts = [None if i % 20 == 7 else f"problem {i % 900}" for i in range(1000)]
    for n, (start, end, group) in enumerate([(0, 400, 17), (400, 401, 1), (401, 1000, 100_000)]):
        table = pa.table({"problem": texts[start:end], "level": list(range(start, end))})
        pq.write_table(table, folder / f"{n}.parquet", row_group_size=group)
    return str(folder)


# --- streaming


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
