"""From file to file: what is written, and what the user is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.errors import UserError
from tasks.problems.importing import Imported, import_problems
from tasks.problems.importing.latex import last_boxed
from tasks.problems.importing.records import RecordFile
from tasks.storage.stores import Stores

Lines = Callable[..., str]
GOOD = {"question": "How many?", "answer": "five\n#### 5"}


def told(format: str, src: str, dest: str) -> str:
    with pytest.raises(UserError) as error:
        import_problems(format, src, dest, Stores())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def dest(tmp_path: Path) -> str:
    return str(tmp_path / "new" / "out.parquet")


def test_writes_rows_and_says_how_many(lines: Lines, dest: str) -> None:
    src = lines(GOOD, "", "   ", {**GOOD, "idx": 12}, GOOD)
    columns = ["problem_id", "problem", "answer", "source"]
    assert import_problems("gsm8k", src, dest, Stores()) == Imported(dest, 3, 3, columns)
    table = pq.read_table(dest)
    assert table["problem_id"].to_pylist() == ["gsm8k-00000", "gsm8k-00012", "gsm8k-00002"]
    assert set(table["source"].to_pylist()) == {"gsm8k"}
    assert os.listdir(Path(dest).parent) == ["out.parquet"]


def test_counts_the_rows_that_have_an_answer(lines: Lines, dest: str) -> None:
    src = lines({"problem": "p", "answer": 1}, {"problem": "q"}, {"problem": "r", "answer": None})
    result = import_problems("jsonl", src, dest, Stores())
    assert (result.rows, result.answered) == (3, 1)


def test_replaces_what_was_there(lines: Lines, dest: str) -> None:
    import_problems("gsm8k", lines(GOOD, GOOD), dest, Stores())
    import_problems("gsm8k", lines(GOOD), dest, Stores())
    assert pq.read_table(dest).num_rows == 1


def test_a_fault_leaves_what_was_there(lines: Lines, dest: str) -> None:
    import_problems("gsm8k", lines(GOOD, GOOD), dest, Stores())
    told("gsm8k", lines(GOOD, "{"), dest)
    assert pq.read_table(dest).num_rows == 2


def test_reads_windows_files(lines: Lines, dest: str) -> None:
    src = lines(b'\xef\xbb\xbf{"problem": "p"}\r', b'{"problem": "\xe2\x80\xa8q"}\r')
    import_problems("jsonl", src, dest, Stores())
    assert pq.read_table(dest)["problem"].to_pylist() == ["p", "\u2028q"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": ', "not JSON (Expecting value at column 13"),
        ('{"question": NaN}', "not JSON (NaN is not a JSON number)"),
        ('{"question": 1e999}', "not JSON (1e999 is larger than numbers can be)"),
        ('{"question": -1.5e400}', "not JSON (-1.5e400 is larger than numbers can be)"),
        ('["a"]', 'not a JSON object but ["a"]; each line must be one JSON object'),
        (b'{"question": "\xe9"}', "not UTF-8 (byte 0xe9 at column 15)"),
        ('{"question": "\\ud800"}', "a \\u escape is half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ({"answer": "#### 5", "prompt": "?"}, "field 'question' is missing; the record has answer, prompt"),
        ({"question": "?"}, "field 'answer' is missing; the record has question"),
        ({"question": None, "answer": "#### 5"}, "field 'question' must be a string, not null"),
        ({}, "field 'answer' is missing; the record has no fields"),
    ],
)
def test_a_bad_line_is_named(lines: Lines, dest: str, line: object, message: str) -> None:
    src = lines(GOOD, "", line)
    assert told("gsm8k", src, dest).startswith(f"{src}, line 3: {message}")
    assert not os.path.exists(dest)


def test_an_id_used_twice_names_both_lines(lines: Lines, dest: str) -> None:
    src = lines({"problem": "p", "id": 1}, {"problem": "q"}, {"problem": "r", "id": "1"})
    assert told("jsonl", src, dest).startswith(f"{src}, line 3: problem_id '1' was used on line 1;")


@pytest.mark.parametrize("content", [(), ("", "  ")])
def test_a_file_without_problems(lines: Lines, dest: str, content: tuple[str, ...]) -> None:
    src = lines(*content)
    assert told("jsonl", src, dest) == f"{src}: holds no problems; it must have one JSON object a line"


def test_a_source_that_cannot_be_read(tmp_path: Path, dest: str) -> None:
    assert told("gsm8k", str(tmp_path / "none.jsonl"), dest) == f"{tmp_path}/none.jsonl: no such file"
    assert told("gsm8k", str(tmp_path), dest) == f"{tmp_path}: Is a directory"
    assert "only local paths and s3:// are supported" in told("gsm8k", "http://host/file.jsonl", dest)


def test_a_source_that_can_be_read_only_once(tmp_path: Path, dest: str) -> None:
    read, write = os.pipe()
    os.write(write, b'{"problem": "p"}\n')
    os.close(write)
    assert told("jsonl", f"/dev/fd/{read}", dest).startswith(f"/dev/fd/{read}: ")
    os.close(read)


def test_a_source_that_changes_meanwhile(lines: Lines, dest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    src, reads = lines(GOOD), [[(1, GOOD), (2, GOOD)], [(1, GOOD)]]
    monkeypatch.setattr(RecordFile, "__iter__", lambda file: iter(reads.pop(0)))
    assert told("gsm8k", src, dest) == f"{src}: changed while it was read; import it again"
    assert not os.path.exists(dest)


def test_an_unknown_format_suggests_the_near_one(dest: str) -> None:
    assert told("GSM-8k", "x", dest).startswith("unknown format 'GSM-8k', did you mean gsm8k? Known: aime24, gaokao")
    assert told("squad", "x", dest).startswith("unknown format 'squad'. Known: aime24, ")


def test_a_destination_that_cannot_be_written(lines: Lines, tmp_path: Path) -> None:
    src = lines(GOOD)
    assert "must end in .parquet" in told("gsm8k", src, str(tmp_path / "out.jsonl"))
    assert "must end in .parquet" in told("gsm8k", src, f"{tmp_path}/")
    assert "names a bucket but no file" in told("gsm8k", src, "s3://out.parquet")
    (tmp_path / "folder.parquet").mkdir()
    assert told("gsm8k", src, f"{tmp_path}/folder.parquet") == f"{tmp_path}/folder.parquet: Is a directory"
    assert told("gsm8k", src, f"{src}/out.parquet").startswith(f"{src}/out.parquet: ")
    assert "File name too long" in told("gsm8k", src, f"{tmp_path}/{'x' * 300}.parquet")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\\boxed{1}", "1"),
        ("\\boxed {a{b}c} and more}", "a{b}c"),
        ("\\boxed{1} then \\boxed{2", "1"),
        ("\\boxed{\\left\\{x\\right.}", "\\left\\{x\\right."),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{}", ""),
        ("\\boxed 5", None),
        ("nothing", None),
        ("\\boxed{\\", None),
    ],
)
def test_last_boxed_balances_its_braces(text: str, content: str | None) -> None:
    assert last_boxed(text) == content
