"""Answers: extracted from solutions and compared with references by math-verify, in processes with a time limit.

math-verify guards itself with signals, which work in a process's main thread only, and sympy can run for ever: so each
solution is graded in a worker process that is killed when its time is up.
"""

from __future__ import annotations

import multiprocessing
import re
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool

RULES = 2
"""Version of our own rules around math-verify: grows whenever a verdict may change."""
GRADER = f"math-verify {version('math-verify')}, stepwave {RULES}"
"""Who graded: stands in every row of solutions."""
SECONDS = 10.0
"""Time that one solution may take."""
LETTER = re.compile(r"\(?\s*([A-Z])\s*[).:]?")
STATED = re.compile(r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\(?([A-Z])\b")
NUMBER = re.compile(r"[-+]?\d{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grade:
    answer: str | None
    """The solution's answer as text."""
    verdict: str | None
    """correct | wrong | unparsed | timeout; None without a reference, and where the reference itself cannot be read."""

    @property
    def correct(self) -> bool | None:
        """None without a verdict, and where none came in time."""
        return None if self.verdict in (None, "timeout") else self.verdict == "correct"


class Grades(Protocol):
    """What grades solutions."""

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        """One grade for each (solution, reference, choices), in order."""

    def equal(self, pairs: list[tuple[str, str]]) -> list[bool | None]:
        """For each pair of extracted answers, in order: do they mean the same? None where no verdict came in time."""


class Grader:
    """Grades in a worker process, which starts at the first answer that needs more than a look."""

    def __init__(self) -> None:
        self.pool: Any = None
        self.pending: list[Any] = []

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker. Whoever waits for grades in another thread gets CancelledError, not missing verdicts."""
        if self.pool is not None:
            self.pool.close()
            for future in self.pending:
                future.cancel()
            self.pool.stop()
            self.pool.join()

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        """One grade for each (solution, reference, choices), in order."""
        grades: list[Any] = []
        for solution, reference, choices in solutions:
            answer = extract(solution, choices)
            if reference is None or not reference.strip():
                grades.append(Grade(answer, None))
            elif (verdict := at_a_look(answer, reference, choices)) is not None:
                grades.append(Grade(answer, _word(verdict)))
            else:
                grades.append((answer, self._submit(verify, reference, solution)))
        collected = [g if isinstance(g, Grade) else _collect(*g) for g in grades]
        self.pending.clear()
        return collected

    def equal(self, pairs: list[tuple[str, str]]) -> list[bool | None]:
        """For each pair of extracted answers, in order: do they mean the same? None where no verdict came in time.

        (a, b) is answered as (b, a) is. Equality of this kind need not carry over: a = b and b = c may leave a != c.
        """
        found: list[Any] = []
        for pair in pairs:
            verdict = at_a_look(pair[0].strip(), pair[1], None)
            found.append(self._submit(alike, *pair) if verdict is None else verdict)
        collected = [one if isinstance(one, bool) else _alike(one) for one in found]
        self.pending.clear()
        return collected

    def _submit(self, compare: Any, reference: str, solution: str) -> Any:
        if self.pool is None:
            self.pool = ProcessPool(max_workers=1, context=multiprocessing.get_context("spawn"))
        future = self.pool.schedule(compare, args=(reference, solution), timeout=SECONDS)
        self.pending.append(future)
        return future


def _collect(answer: str | None, future: Any) -> Grade:
    try:
        correct, found = future.result()
    except CancelledError:
        raise
    except (Late, ProcessExpired):
        return Grade(answer, "timeout")
    except Exception:  # whatever a parser makes of an odd answer costs that answer's verdict only
        return Grade(answer, "unparsed")
    return Grade(found if answer is None else answer, _word(correct))


def _alike(future: Any) -> bool | None:
    try:
        return bool(future.result())
    except CancelledError:
        raise
    except Exception:
        return None


def _word(correct: bool) -> str:
    return "correct" if correct else "wrong"


def alike(one: str, other: str) -> bool:
    """Do two answers mean the same, in either order? Runs in a worker process."""
    one, other = f"\\boxed{{{one}}}", f"\\boxed{{{other}}}"
    return verify(one, other)[0] or verify(other, one)[0]


def verify(reference: str, solution: str) -> tuple[bool, str | None]:
    """Do reference and solution mean the same, and what is the solution's answer? Runs in a worker process."""
    from math_verify import parse
    from math_verify import verify as equal

    gold, found = parse(f"${reference}$") or parse(reference), parse(solution)
    text = next((part for part in reversed(found) if isinstance(part, str)), None)
    return bool(equal(gold, found)), text


def extract(solution: str, choices: list[str] | None) -> str | None:
    """The answer of a solution: its last box; for a multiple choice without a box, the letter it states."""
    if (box := last_box(solution)) is not None:
        return box
    if choices and (stated := STATED.findall(solution)):
        return stated[-1]
    return None


def last_box(text: str) -> str | None:
    """Content of the last complete \\boxed{...} or \\fbox{...}."""
    for start in sorted((m.end() for m in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)), reverse=True):
        depth = 1
        for at in range(start, len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                return text[start:at].strip()
    return None


def at_a_look(answer: str | None, reference: str, choices: list[str] | None) -> bool | None:
    """A verdict that needs no algebra: equal text, two whole numbers, letters; None where there is more to see."""
    wanted = reference.strip()
    if choices:
        return answer is not None and _letter(answer, choices) == _letter(wanted, choices)
    if answer == wanted:
        return True
    if answer is not None and NUMBER.fullmatch(answer) and NUMBER.fullmatch(wanted):
        return int(answer) == int(wanted)
    return None


def _letter(answer: str, choices: list[str]) -> str:
    """The letter of an option, given as letter or as content; the answer itself where it is neither."""
    bare = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", answer).strip(" $.")
    for i, choice in enumerate(choices):
        if bare == choice.strip(" $."):
            return chr(ord("A") + i)
    if (match := LETTER.match(bare)) and (match.end() == len(bare) or not bare[match.end()].isalnum()):
        return match[1]
    return bare
