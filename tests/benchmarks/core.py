"""How many attempts a second the core makes with engines that answer at once.

    taskset -c 0 python tests/benchmarks/core.py [--problems N] [--profile] [--set run.in_flight=256 ...]

A whole run of method rsd but for Prefect and vLLM: the demo's tokenizers, problems of its recipe from a Parquet file,
claims, waves, checkpoints, grading, tables and commits on local disk, engines behind their supervisors. The engines'
answers are canned: steps of the recipe's solutions (27 tokens in the mean), one of six an end, drawn by the request's
seed; rewards of which nine in ten are above the threshold. What that costs is told as the engines' share.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "deploy" / "demo" / "recipe")]

import pyarrow.parquet as pq  # noqa: E402
import yaml  # noqa: E402
from make_problems import problem_rows  # noqa: E402
from problems import make_problem  # noqa: E402

from tasks.configuration.parsing import parse_config  # noqa: E402
from tasks.decoding.requests import Scored, StepRequest, Written  # noqa: E402
from tasks.engines.spec import Died  # noqa: E402
from tasks.engines.supervision import Supervisor  # noqa: E402
from tasks.generation.completion import open_run  # noqa: E402
from tasks.generation.pipeline import Pipeline, collected_rarely  # noqa: E402
from tasks.grading import Grader  # noqa: E402
from tasks.models.tokenizer import ModelVocabulary  # noqa: E402
from tasks.output.directory import RunDirectory  # noqa: E402
from tasks.output.session import open_session  # noqa: E402
from tasks.planning.plan import Plan, make_plan  # noqa: E402
from tasks.storage.store import Store  # noqa: E402


class Canned:
    """An engine that has every answer ready."""

    seconds = 0.0
    """CPU time of all of them."""

    def __init__(self, vocabulary: ModelVocabulary) -> None:
        self.death: Died | None = None
        self.answered = 0
        rng = random.Random(31)
        problems = [make_problem(rng) for _ in range(100)]
        whole = [f"{step}\n\n" for problem in problems for step in problem["steps"][:-1]]
        ends = [problem["steps"][-1] for problem in problems]
        eos = vocabulary.tokenizer.eos_token_id
        self.steps = [Written(array("i", ids), "step") for ids in vocabulary.encode_steps(whole)]
        self.ends = [Written(array("i", [*ids, eos]), "eos") for ids in vocabulary.encode_steps(ends)]
        self.rewards = [Scored(rng.uniform(0.7, 1) if rng.random() < 0.9 else rng.uniform(0, 0.7)) for _ in range(997)]

    async def ask(self, requests: Sequence[Any], answered: Any = None) -> list[Any]:
        began = time.thread_time()
        steps, ends, rewards = self.steps, self.ends, self.rewards
        answers: list[Any]
        if isinstance(requests[0], StepRequest):
            answers = [
                ends[ask.seed % len(ends)] if ask.seed % 6 == 0 else steps[ask.seed % len(steps)] for ask in requests
            ]
        else:
            answers = [rewards[(31 * r.prompt[-4] + 7 * r.prompt[-9] + len(r.prompt)) % 997] for r in requests]
        Canned.seconds += time.thread_time() - began
        return answers

    def progress(self) -> int:
        return self.answered

    def kill(self, reason: str) -> None:
        raise AssertionError(reason)

    async def close(self) -> None:
        pass


async def run(plan: Plan, output: RunDirectory) -> None:
    """What flows/generate.py does, without Prefect."""
    identity = open_run(plan, output, False).identity
    starting = asyncio.Lock()
    engines = {}
    for role, of_role in plan.roles.items():

        async def start(vocabulary: ModelVocabulary = of_role.vocabulary) -> Canned:
            return Canned(vocabulary)

        engines[role] = Supervisor(role, start, starting, print, restarts=0, patience=600)
        await engines[role].open()
    async with open_session(output.store) as session:
        with Grader() as grader, collected_rarely():
            pipeline = Pipeline(plan, output, identity, session, engines, grader)

            began, used = time.perf_counter(), _cpu()
            await pipeline.run(list(range(plan.shards)))
            wall, cpu = time.perf_counter() - began, _cpu() - used
    report(output, wall, cpu)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def report(output: RunDirectory, wall: float, cpu: float) -> None:
    records = output.records().good.values()
    attempts = sum(record["counts"]["attempts"] for record in records)
    tokens = sum(usage["generated"] for record in records for usage in record["computed"].values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"problems    {sum(record['counts']['solutions'] for record in records):,}")
    print(f"attempts    {attempts:,}, {tokens / attempts:.1f} tokens each")
    print(f"wall        {wall:.2f} s: {attempts / wall:,.0f} attempts/s")
    print(f"CPU         {cpu:.2f} s: {attempts / cpu:,.0f} attempts/s, {1e6 * cpu / attempts:.1f} us each")
    print(f"engines     {Canned.seconds:.2f} s of it: {1e6 * Canned.seconds / attempts:.1f} us each")
    print(f"peak        {peak:,.0f} MB")


async def _at_once(call: Callable[..., Any], *of: Any, **named: Any) -> Any:
    return call(*of, **named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--profile", action="store_true", help="where the time goes; makes all of it slower")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        import pyarrow as pa

        pq.write_table(pa.Table.from_pylist(problem_rows(given.problems, 7, "p")), f"{folder}/problems.parquet")
        engine = {"kind": "scripted", "max_model_len": 4096}
        models = {
            role: {"model": str(ROOT / "deploy/demo/models" / role), "engine": engine}
            for role in ("draft", "target", "prm")
        }
        values = {
            "input": {"path": f"{folder}/problems.parquet"},
            "output": {"path": f"{folder}/out"},
            "models": models,
        }
        config = parse_config(yaml.safe_dump(values), given.changes, "benchmark")
        began = time.perf_counter()
        plan = make_plan(config)
        print(f"planned in  {time.perf_counter() - began:.1f} s")
        if given.profile:
            asyncio.to_thread = _at_once  # type: ignore[assignment]  # what threads do shows as well
            profile = cProfile.Profile()
            profile.runcall(asyncio.run, run(plan, RunDirectory(Store(config.output.path))))
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        else:
            asyncio.run(run(plan, RunDirectory(Store(config.output.path))))


if __name__ == "__main__":
    main()
