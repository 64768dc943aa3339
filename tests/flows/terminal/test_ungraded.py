"""What could not be graded is said, and only then."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tasks.generation.shard import NAMED, Shard
from tasks.grading import Grade
from tasks.output.totals import not_graded


def test_nothing_is_said_where_everything_was_graded() -> None:
    assert not_graded({"correct": 3, "unparsed": 0, "timeouts": 0, "bad_references": 0}) == ""
    assert not_graded({"correct": 3}) == ""  # an output of an earlier version


def test_each_kind_is_said() -> None:
    told = not_graded({"unparsed": 1200, "timeouts": 1, "bad_references": 2})
    assert [part.split()[0] for part in told.split(", ")] == ["1,200", "1", "2"]


class Named:
    """A problem and its trajectory in one."""

    def __init__(self, problem_id: str, reference: str | None) -> None:
        self.problem_id, self.reference = problem_id, reference


def test_bad_references_are_named_once_each(caplog: pytest.LogCaptureFixture) -> None:
    bad = [Named(f"bad{i}", "\\frac{") for i in range(NAMED + 1)]
    problems = [Named("none", None), Named("good", "2"), *bad]
    shard: Any = Shard.__new__(Shard)
    shard.number, shard.problems = 3, {p.problem_id: p for p in problems}
    shard.trajectories = [p for p in problems for _ in range(2)]  # two samples
    with caplog.at_level(logging.WARNING, "stepwave"):
        shard._report_bad_references(
            [Grade("2", "correct" if p.reference == "2" else None) for p in shard.trajectories]
        )
    [line] = caplog.messages
    assert line.startswith(f"shard 3: no verdict on {NAMED + 1} problems")
    assert line.count("bad") == NAMED
    assert "none" not in line
    assert "good" not in line
