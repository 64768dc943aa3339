"""The verdict on an answer: of expressions, and of multiple choice."""

from __future__ import annotations

import re
from itertools import product

from tasks.grading.choices import readings
from tasks.grading.comparing import same
from tasks.grading.extraction import reference_answer
from tasks.grading.formulas import Algebra
from tasks.grading.numbers import number
from tasks.grading.reading import readable
from tasks.grading.tidying import LONGEST, squeezed, tidy

MOST_WAYS = 4
LOG = re.compile(r"(?<![\\A-Za-z])log ?\(")
LN = re.compile(r"\\ln(?![a-zA-Z])")
"""log(2) as programs have it may be \\ln 2, where that is what is asked for."""
BAD = "bad reference"
"""In place of a verdict, where the reference cannot be read."""


def judged(reference: str, answer: str | None, algebra: Algebra) -> str:
    """Of an expression: correct | wrong | unparsed | BAD. Raises NeedsAlgebra if `algebra` does."""
    reference, answer = reference_answer(reference, None), _short(answer)
    if len(reference) > LONGEST:
        return BAD
    wanted, given = tidy(reference), tidy(answer or "")
    value = number(wanted)
    if value is not None and (other := number(given)) is not None:
        return "correct" if value == other else "wrong"
    # of a reference that is bad no answer may be judged, also none that repeats it: accuracy leaves out the problem
    if value is None and not readable(wanted, algebra):
        return BAD
    if given in ("", "…"):
        return "unparsed"
    if squeezed(wanted) == squeezed(given):
        return "correct"
    if same(wanted, given, algebra):
        return "correct"
    if LN.search(wanted) and LOG.search(answer or "") and same(wanted, tidy(LOG.sub("ln(", answer or "")), algebra):
        return "correct"
    ways = list(product(_ways(wanted), _ways(given)))
    if len(ways) > 1 and all(same(one, other, algebra) for one, other in ways):
        return "correct"
    return "wrong" if readable(given, algebra) else "unparsed"


def _ways(given: str) -> list[str]:
    """Each way in which an answer is said, as 1/2 or 50%; the answer itself if it is said once."""
    ways = re.split(",? or ", given)
    return ways if len(ways) <= MOST_WAYS else [given]


def chosen(reference: str, answer: str | None, choices: list[str], algebra: Algebra) -> str:
    """Of multiple choice, as `judged`."""
    reference, answer = reference_answer(reference, choices), _short(answer)
    if len(reference) > LONGEST:
        return BAD
    wanted = readings(reference, choices, algebra)
    if len(wanted) != 1:
        return BAD
    if not tidy(answer or ""):
        return "unparsed"
    given = readings(answer or "", choices, algebra)
    if given == wanted:
        return "correct"
    return "unparsed" if wanted <= given else "wrong"


def _short(answer: str | None) -> str | None:
    """An answer that is too long is none of this kind, so that nothing of it is to be read."""
    return "" if answer is not None and len(answer) > LONGEST else answer
