"""One run of Stepwave's pipeline on fresh engines, without Prefect, timed apart from the engines' start.

What is timed is all that happens once the engines stand: reading the problems, decoding, checkpoints, grading, and
writing tables and records.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from tasks.engines import open_engines
from tasks.generation.completion import open_run
from tasks.generation.pipeline import Pipeline, collected_rarely
from tasks.grading import Grader
from tasks.output import session as output_session
from tasks.output.directory import RunDirectory
from tasks.output.totals import add_up
from tasks.planning.plan import Plan
from tasks.storage.store import Store


@dataclass
class Run:
    """What one run did."""

    start_seconds: float
    """From asking for the engines until they stand."""
    seconds: float
    """From then until the last shard's record is written."""
    solved: float
    """Share of the solutions that are right."""
    computed: dict[str, dict[str, int]]
    """Role to requests, generated, prefilled, cached."""


async def run(plan: Plan, out: str) -> Run:
    """Write the whole run of a plan to the directory `out`, which must be new. Its engines begin with empty caches."""
    output = RunDirectory(Store(out))
    opened = open_run(plan, output, retry_failed=False)
    assert opened.manifest is None, f"{out} holds a run"
    settings = plan.config.run
    specs = [role.engine for role in plan.roles.values()]
    vocabularies = {role: of_role.vocabulary for role, of_role in plan.roles.items()}
    began = time.perf_counter()
    async with (
        open_engines(specs, vocabularies, quiet, warn, settings.engine_restarts, settings.engine_patience) as engines,
        output_session.open_session(output.store) as session,
    ):
        stood = time.perf_counter()
        with Grader() as grader, collected_rarely():
            pipeline = Pipeline(plan, output, opened.identity, session, engines, grader)
            await pipeline.run(list(range(plan.shards)))
        ended = time.perf_counter()
    counts, computed = add_up(output.records().good)
    return Run(stood - began, ended - stood, counts["correct"] / counts["solutions"], computed)


def quiet(_: str) -> None: ...


def warn(text: str) -> None:
    print(text, file=sys.stderr)
