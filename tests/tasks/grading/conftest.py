"""One grader for all, for its worker takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.grading import Grader


@pytest.fixture(scope="package")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader
