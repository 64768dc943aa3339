"""The generic format: fields pass through, types are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import UserError
from tasks.problems.importing import conversion, import_problems, jsonl
from tasks.problems.importing.fields import BadRecord
from tasks.storage.stores import Stores

Lines = Callable[..., str]


def imported(src: str, tmp_path: Path) -> pa.Table:
    dest = str(tmp_path / "out.parquet")
    import_problems("jsonl", src, dest, Stores())
    return pq.read_table(dest)


def test_other_fields_pass_through_with_their_types(lines: Lines, tmp_path: Path) -> None:
    first = {"problem": " p ", "score": 1, "tags": [], "meta": {"a": 1, "none": {}}, "easy": True, "level": "hard"}
    second = {"problem": "q", "score": 2.5, "tags": ["x"], "meta": {"b": "y"}, "late": 7, "nothing": None}
    table = imported(lines(first, second), tmp_path)
    assert table.to_pylist() == [
        {
            "problem_id": "source-00000",
            "problem": " p ",
            "source": "source",
            "level": "hard",
            "score": 1.0,
            "tags": [],
            "meta": {"a": 1, "b": None},
            "easy": True,
            "late": None,
            "nothing": None,
        },
        {
            "problem_id": "source-00001",
            "problem": "q",
            "source": "source",
            "level": None,
            "score": 2.5,
            "tags": ["x"],
            "meta": {"a": None, "b": "y"},
            "easy": None,
            "late": 7,
            "nothing": None,
        },
    ]
    assert table.schema.field("late").type == pa.int64()
    assert table.schema.field("nothing").type == pa.string()
    assert table.schema.names[:4] == ["problem_id", "problem", "source", "level"]


def test_question_stands_in_for_problem() -> None:
    assert jsonl.row({"question": "q"}) == {"problem_id": None, "problem": "q"}
    assert jsonl.row({"question": "q", "problem": "p"}) == {"problem_id": None, "problem": "p", "question": "q"}


@pytest.mark.parametrize(("answer", "text"), [(5, "5"), (0.5, "0.5"), ("1/2", "1/2"), (None, None), ("", "")])
def test_answers_that_are_numbers_become_strings(answer: object, text: str | None) -> None:
    assert jsonl.row({"problem": "p", "answer": answer})["answer"] == text


@pytest.mark.parametrize("answer", [True, [1], {"a": 1}])
def test_answers_of_another_kind_are_refused(answer: object) -> None:
    with pytest.raises(BadRecord, match="field 'answer' must be a string or a number"):
        jsonl.row({"problem": "p", "answer": answer})


def test_ids() -> None:
    row = jsonl.row
    assert row({"problem": "p", "id": 7}) == {"problem_id": "7", "problem": "p"}
    assert row({"problem": "p", "id": "x", "unique_id": "u"}) == {"problem_id": "u", "problem": "p", "id": "x"}
    assert row({"problem": "p", "id": 1, "problem_id": "i"}) == {"problem_id": "i", "problem": "p", "id": 1}
    assert row({"problem": "p", "problem_id": None, "id": 1}) == {"problem_id": "1", "problem": "p"}
    assert row({"problem": "p", "id": {"a": 1}}) == {"problem_id": None, "problem": "p", "id": {"a": 1}}


@pytest.mark.parametrize(
    ("name", "value"), [("problem_id", 1.5), ("problem_id", ["a"]), ("choices", "abc"), ("choices", [1]), ("source", 5)]
)
def test_columns_of_problem_sets_must_have_their_type(name: str, value: object) -> None:
    with pytest.raises(BadRecord, match=f"field '{name}' must be"):
        jsonl.row({"problem": "p", name: value})


def test_answers_that_are_all_null_are_still_strings(lines: Lines, tmp_path: Path) -> None:
    table = imported(lines({"problem": "p", "answer": None, "choices": None}), tmp_path)
    assert table.schema.field("answer").type == pa.string()
    assert table.schema.field("choices").type == pa.list_(pa.string())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"level": 5}, {"level": "hard"}, "field 'level' holds a string where it held a number before"),
        ({"m": {"a": [1]}}, {"m": {"a": [True]}}, "field 'm.a' holds true or false where it held a number before"),
        ({"m": {}}, {"m": []}, "field 'm' holds a list where it held an object before"),
        ({}, {"n": 2**63}, "field 'n' holds a whole number beyond 64 bits"),
    ],
)
def test_a_field_of_two_kinds_is_told_with_its_line(
    lines: Lines, tmp_path: Path, one: dict, other: dict, message: str
) -> None:
    src = lines({"problem": "p", **one}, {"problem": "q"}, {"problem": "r", **other})
    with pytest.raises(UserError) as told:
        imported(src, tmp_path)
    assert str(told.value).startswith(f"{src}, line 3: {message}")


def test_a_number_that_its_column_cannot_hold_exactly_is_told(lines: Lines, tmp_path: Path) -> None:
    src = lines({"problem": "p", "n": 0.5}, {"problem": "q", "n": 2**60 + 1})
    with pytest.raises(UserError, match=r"source\.jsonl: .*1152921504606846977"):
        imported(src, tmp_path)


def test_types_hold_across_batches(lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "BATCH", 2)
    records = [{"problem": f"p{i}", "score": i} for i in range(3)]
    records += [{"problem": "p3", "score": 3, "late": "x"}, {"problem": "p4", "score": 0.5, "late": "x"}]
    table = imported(lines(*records), tmp_path)
    assert table["score"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 0.5]
    assert table["late"].to_pylist() == [None, None, None, "x", "x"]
    assert table["problem"].to_pylist() == [f"p{i}" for i in range(5)]
