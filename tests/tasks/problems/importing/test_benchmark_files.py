"""The benchmark files themselves, where the machine has them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tasks.problems.importing import FORMATS, import_problems
from tasks.storage.stores import Stores

FOLDER = Path(__file__).resolve().parents[5] / "shared" / "data" / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the benchmark files are not in {FOLDER}")

ROWS = {
    "aime24": 30,
    "gaokao2023en": 385,
    "gpqa": 198,
    "gsm8k": 1319,
    "math500": 500,
    "minerva_math": 272,
    "mmlu_stem": 3018,
    "olympiadbench": 675,
}

ANSWERS = {
    "aime24": {0: "204", 7: "025", 29: "902"},
    "gaokao2023en": {0: "\\{x|-2\\leq x < 1\\}", 107: "145", 167: "\\frac{3}{10}", 192: "A", 384: "K"},
    "gpqa": {0: "B", 171: "A"},
    "gsm8k": {0: "18", 146: "2125", 611: "1450000"},
    "math500": {0: "\\left( 3, \\frac{\\pi}{2} \\right)", 499: "106^\\circ"},
    "minerva_math": {0: "1.6", 72: "x_{0} \\cos (\\omega t)+ \\dot{x}_{0} \\sin (\\omega t) / \\omega", 271: "10.1"},
    "mmlu_stem": {0: "C", 2070: "C"},
    "olympiadbench": {0: "2", 1: "\\frac{1}{2 n+2}", 76: "(-\\infty, 0) \\cup\\{1\\}", 316: "4.2"},
}


def test_every_benchmark_is_tested() -> None:
    assert set(ROWS) == set(ANSWERS) == set(FORMATS) - {"jsonl"}


@pytest.mark.parametrize("format", ROWS)
def test_benchmark(format: str, tmp_path: Path) -> None:
    dest = str(tmp_path / "out.parquet")
    result = import_problems(format, str(FOLDER / f"{format}.jsonl"), dest, Stores())
    table = pl.read_parquet(dest)
    assert result.rows == result.answered == table.height == ROWS[format]
    for column in ("problem_id", "problem", "answer", "source"):
        assert all(value and value.strip() for value in table[column])
    assert table["problem_id"].n_unique() == table.height
    assert {row: table["answer"][row] for row in ANSWERS[format]} == ANSWERS[format]


@pytest.mark.parametrize("format", ["gpqa", "mmlu_stem"])
def test_answers_are_letters_of_choices(format: str, tmp_path: Path) -> None:
    dest = str(tmp_path / "out.parquet")
    import_problems(format, str(FOLDER / f"{format}.jsonl"), dest, Stores())
    for choices, answer in pl.read_parquet(dest).select("choices", "answer").iter_rows():
        assert len(choices) == 4
        assert all(choice.strip() for choice in choices)
        assert answer in "ABCD"


def test_no_two_benchmarks_share_an_id(tmp_path: Path) -> None:
    ids: set[str] = set()
    for format in ROWS:
        dest = str(tmp_path / f"{format}.parquet")
        import_problems(format, str(FOLDER / f"{format}.jsonl"), dest, Stores())
        ids.update(pl.read_parquet(dest)["problem_id"])
    assert len(ids) == sum(ROWS.values())


def test_math_levels_are_numbers(tmp_path: Path) -> None:
    dest = str(tmp_path / "out.parquet")
    import_problems("math500", str(FOLDER / "math500.jsonl"), dest, Stores())
    levels = pl.read_parquet(dest)["level"]
    assert levels.dtype == pl.Int64
    assert set(levels) == {1, 2, 3, 4, 5}


def test_a_leaked_answer_is_cut_off_the_question(tmp_path: Path) -> None:
    dest = str(tmp_path / "out.parquet")
    import_problems("gaokao2023en", str(FOLDER / "gaokao2023en.jsonl"), dest, Stores())
    problems = pl.read_parquet(dest)["problem"]
    assert problems[167].endswith("at least one saddle point.")
    assert problems[192].endswith("(D) $435(100b)$")
