"""Answers of scripted engines that are right about half of the time, where references are 0 and 1."""

from __future__ import annotations

import pytest


def parity(text: str, choices: list[str] | None = None) -> str | None:
    """The answer of a solution: is its last digit odd? None where it has none."""
    digits = [character for character in text if character in "6789"]
    return str(int(digits[-1]) % 2) if digits else None


def grade_by_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let grading in this process take that for answers."""
    monkeypatch.setattr("tasks.grading.graders.extract", parity)
