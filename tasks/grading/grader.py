"""Grades solutions: what needs no algebra here, the rest in processes that are killed when their time is up."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from threading import Lock
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from tasks.errors import EngineError
from tasks.grading import worker
from tasks.grading.formulas import NeedsAlgebra, NoAlgebra
from tasks.grading.graders import GRADERS, GraderRules
from tasks.grading.judging import BAD
from tasks.grading.verdicts import Grade, Question, Ungraded

WORKING_SECONDS = 2
"""Processor time that one answer may take. What needs more cannot be read, on whatever machine."""
SECONDS = 10.0
"""Time by the clock that one answer may take: no answer holds up the others for longer."""
STARTING_SECONDS = 120.0
"""Time by the clock in which the first worker must have started."""
MOST_WORKERS = 4

log = logging.getLogger(__name__)


class CannotGrade(EngineError):
    """No worker can start: the installation is broken, or the machine has no room for one."""


class Grader:
    """Grades in worker processes, which start at the first answer that needs algebra."""

    def __init__(self) -> None:
        self.pool: Any = None
        self.lock = Lock()
        self.pending: set[Any] = set()
        self.starting: Any = None
        self.faults: set[str] = set()

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers. Whoever waits for grades in another thread gets CancelledError, not missing verdicts."""
        with self.lock:
            if self.pool is not None:
                self.pool.close()
                for future in self.pending:
                    future.cancel()
                self.pool.stop()
                self.pool.join()

    def grade(self, solutions: Sequence[Ungraded]) -> list[Grade]:
        """One grade for each solution, in order, by the first grader that has a verdict. Equal answers to a problem are
        judged once.

        Raises CannotGrade if no worker can start.
        """
        questions = [Question._make(one[1:]) for one in solutions]
        grades: list[Grade | None] = [None] * len(solutions)
        for rules in self._graders():
            open_ = [i for i, grade in enumerate(grades) if grade is None or grade.verdict is None]
            taken = [i for i in open_ if rules.takes(questions[i])]
            answers = [rules.answer(questions[i], solutions[i][0]) for i in taken]
            asked = [
                None if questions[i].reference is None else (questions[i], answer)
                for i, answer in zip(taken, answers, strict=True)
            ]
            verdicts = self._ask(rules, "judge", asked)
            for i, answer, verdict in zip(taken, answers, verdicts, strict=True):
                known = verdict is not None and verdict != BAD
                if known or grades[i] is None:
                    grades[i] = Grade(answer, verdict if known else None)
        return [grade or Grade(None, None) for grade in grades]

    def equal(self, pairs: Sequence[tuple[Question, str, str]]) -> list[bool]:
        """For each problem and two answers to it, in order: True if they mean the same by the first grader that takes
        it. Answers without a verdict in time are not equal.

        Raises CannotGrade if no worker can start.
        """
        found = [False] * len(pairs)
        open_ = list(range(len(pairs)))
        for rules in self._graders():
            taken = [i for i in open_ if rules.takes(pairs[i][0])]
            open_ = [i for i in open_ if i not in set(taken)]
            for i, equal in zip(taken, self._ask(rules, "equal", [pairs[i] for i in taken]), strict=True):
                found[i] = equal is True
        return found

    def _graders(self) -> list[GraderRules]:
        return [kind(NoAlgebra()) for kind in GRADERS.values()]

    def _ask(self, rules: GraderRules, method: str, asked: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """The result of one method of a grader for each, in order: computed here if it needs no algebra, else in a
        worker. Equal ones are asked once; None of None."""
        found: dict[str | None, Any] = {None: None}
        keys = [None if about is None else repr(about) for about in asked]
        for key, about in zip(keys, asked, strict=True):
            if key not in found and about is not None:
                try:
                    found[key] = getattr(rules, method)(*about)
                except (NeedsAlgebra, RecursionError):
                    found[key] = self._submit(type(rules), method, about)
        said = {key: self._result(one) for key, one in found.items()}
        return [said[key] for key in keys]

    def _submit(self, grader: type[GraderRules], method: str, about: tuple[Any, ...]) -> Any:
        with self.lock:
            if self.pool is None:
                workers = max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))  # engines need the other processors
                spawn = multiprocessing.get_context("spawn")
                graders = tuple(GRADERS.values())
                self.pool = ProcessPool(workers, initializer=worker.prepare, initargs=graders, context=spawn)
                self.starting = self.pool.schedule(worker.ready)
                self.pending.add(self.starting)
            future = self.pool.schedule(worker.asked, args=(WORKING_SECONDS, grader, method, *about), timeout=SECONDS)
            self.pending.add(future)
            return future

    def _result(self, asked: Any) -> Any:
        """A worker's result. An answer that takes too much work or memory, or is nested too deeply, is unparsed; a
        worker that did not answer in time, or ended by itself, leaves a timeout."""
        if not isinstance(asked, Future):
            return asked
        self._started()
        try:
            return asked.result()
        except CancelledError:
            raise
        except (worker.Unprepared, BrokenProcessPool) as error:
            raise CannotGrade(f"no grading process can start: {error}") from error
        except (MemoryError, RecursionError):
            return "unparsed"
        except ProcessExpired as error:
            return "unparsed" if error.exitcode == -signal.SIGXCPU else "timeout"
        except TimeoutError:
            return "timeout"
        except Exception as error:  # whatever a parser makes of an odd answer costs that answer's verdict only
            if (kind := type(error).__name__) not in self.faults:
                self.faults.add(kind)
                log.warning("An answer has no verdict, for grading it failed: %s: %s", kind, error)
            return "timeout"
        finally:
            self.pending.discard(asked)

    def _started(self) -> None:
        """Wait for the first worker: what fails there fails for every answer."""
        try:
            self.starting.result(timeout=STARTING_SECONDS)
        except CancelledError:
            raise
        except TimeoutError as error:
            raise CannotGrade(f"no grading process has started within {STARTING_SECONDS:.0f} s") from error
        except Exception as error:
            raise CannotGrade(f"no grading process can start: {error}") from error
        finally:
            self.pending.discard(self.starting)
