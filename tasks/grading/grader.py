"""Grades solutions: what needs no algebra here, the rest in processes that are killed when their time is up."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from threading import Lock
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from tasks.errors import EngineError
from tasks.grading import worker
from tasks.grading.extraction import extract
from tasks.grading.judging import BAD, at_a_look
from tasks.grading.verdicts import Grade

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

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        """One grade for each (solution, reference, choices), in order. Equal answers to a problem are judged once.

        Raises CannotGrade where no worker can start.
        """
        asked: dict[Any, Any] = {}
        keys: list[tuple[str | None, Any]] = []
        for solution, reference, choices in solutions:
            answer = extract(solution, choices)
            key = None if reference is None else (reference, answer, tuple(choices) if choices else None)
            if reference is not None and key not in asked:
                verdict = at_a_look(reference, answer, choices)
                asked[key] = verdict or self._submit(reference, answer, choices)
            keys.append((answer, key))
        verdicts = {key: self._result(one) for key, one in asked.items()}
        verdicts[None] = BAD
        return [Grade(answer, None if verdicts[key] == BAD else verdicts[key]) for answer, key in keys]

    def _submit(self, reference: str, answer: str | None, choices: list[str] | None) -> Any:
        with self.lock:
            if self.pool is None:
                workers = max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2))  # engines need the other processors
                spawn = multiprocessing.get_context("spawn")
                self.pool = ProcessPool(max_workers=workers, initializer=worker.prepare, context=spawn)
                self.starting = self.pool.schedule(worker.ready)
                self.pending.add(self.starting)
            future = self.pool.schedule(
                worker.judged, args=(WORKING_SECONDS, reference, answer, choices), timeout=SECONDS
            )
            self.pending.add(future)
            return future

    def _result(self, asked: Any) -> str:
        """What a worker found. What takes too much work or memory, or is nested too deeply, is unparsed; a worker that
        did not answer in time, or ended by itself, leaves a timeout."""
        if isinstance(asked, str):
            return asked
        self._started()
        try:
            return str(asked.result())
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
