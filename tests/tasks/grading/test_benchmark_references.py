"""References of the benchmark files, where the machine has them: which can be read, and each is equal to itself."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tasks.grading import Grader
from tasks.problems.importing import import_problems
from tasks.storage.stores import Stores

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the benchmark files are not in {FOLDER}")

BAD = {"aime24": 0, "gaokao2023en": 0, "gpqa": 0, "gsm8k": 0, "math500": 0, "minerva_math": 1, "mmlu_stem": 1}
BAD |= {"olympiadbench": 2}
"""References that cannot be read. In mmlu_stem: a letter that is another option's content."""


@pytest.mark.tier2
@pytest.mark.parametrize("format", BAD)
def test_references_are_read_and_equal_to_themselves(format: str, grader: Grader, tmp_path: Path) -> None:
    path = str(tmp_path / "problems.parquet")
    import_problems(format, str(FOLDER / f"{format}.jsonl"), path, Stores())
    rows = pl.read_parquet(path).to_dicts()
    problems = [(row["answer"], row.get("choices")) for row in rows if row["answer"] is not None]
    own = grader.grade([(f"\\boxed{{{answer}}}", answer, choices) for answer, choices in problems])
    other = grader.grade([("\\boxed{\\text{none of all}}", answer, choices) for answer, choices in problems])
    bad = {i for i, grade in enumerate(other) if grade.verdict is None}
    assert len(bad) == BAD[format]
    assert [problems[i] for i, grade in enumerate(own) if grade.verdict != "correct" and i not in bad] == []
    assert [problems[i] for i, grade in enumerate(other) if grade.verdict != "wrong" and i not in bad] == []
