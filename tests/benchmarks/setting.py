"""What benchmarks share: problem sets of any size, and a run's decoding without Prefect around it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from schemas.config import Config  # noqa: E402
from tasks import claims  # noqa: E402
from tasks.completion import complete, finish, take_up  # noqa: E402
from tasks.config_file import parse_config  # noqa: E402
from tasks.engines import open_engines  # noqa: E402
from tasks.grading import Grader  # noqa: E402
from tasks.pipeline import Pipeline  # noqa: E402
from tasks.plan import Plan, make_plan  # noqa: E402
from tasks.run_directory import RunDirectory  # noqa: E402
from tasks.store import Store  # noqa: E402

DEMO = ROOT / "deploy" / "demo"
SEED = 4242
"""Of the problems; none of those that the models were trained on."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stepwave-benchmark-") as folder:
        yield Path(folder)


def problems(folder: Path, count: int) -> str:
    """A demo problem set of `count` rows; the same ones each time."""
    path = folder / f"problems-{count}.parquet"
    if not path.exists():
        recipe = DEMO / "recipe" / "make_problems.py"
        subprocess.run([sys.executable, recipe, path, str(count), str(SEED)], check=True, cwd=recipe.parent)
    return str(path)


def demo(source: str, output: Path, *changes: str) -> Config:
    """The demo's configuration on another problem set and output."""
    paths = [f"input.path={source}", f"output.path={output}"]
    paths += [f"models.{role}.model={DEMO / 'models' / role}" for role in ("draft", "target", "prm")]
    return parse_config((DEMO / "config.yaml").read_text(), [*paths, *changes], "config.yaml")


@dataclass
class Decoded:
    """A run whose engines were open already."""

    plan: Plan
    starting: float
    """Seconds that the engines took to start."""
    seconds: float
    """From the first problem read to the manifest written."""
    manifest: dict[str, Any]


@contextlib.asynccontextmanager
async def engines(plan: Plan) -> AsyncIterator[dict[str, Any]]:
    vocabularies = {role: of_role.vocabulary for role, of_role in plan.roles.items()}
    specs = [of_role.engine for of_role in plan.roles.values()]
    run = plan.config.run
    async with open_engines(
        specs, plan.sampling, vocabularies, _quiet, _quiet, run.engine_restarts, run.engine_patience
    ) as opened:
        yield opened


async def decode(config: Config) -> Decoded:
    """Everything that a run does but Prefect's part of it, on a new output."""
    plan = make_plan(config)
    output = RunDirectory(Store(config.output.path, config.storage))
    identity, _, manifest = take_up(plan, output, False)
    assert manifest is None, "the output holds a run already"
    began = time.perf_counter()
    async with claims.opened(output.store) as session, engines(plan) as opened:
        starting = time.perf_counter() - began
        began = time.perf_counter()
        with Grader() as grader:
            pipeline = Pipeline(plan, output, identity, session, opened, grader)

            async def cohort(shard: Any, number: int) -> None:
                async for _ in pipeline.decode(shard, number):
                    pass

            async def make(shards: list[int]) -> None:
                await pipeline.run(shards, cohort, lambda shard: _done(pipeline.commit(shard)))

            async def wait(others: Any) -> None:
                raise AssertionError("nobody else works on this output")

            records = await complete(plan, output, identity, session, make, wait)
        manifest = finish(plan, output, identity, session, records, {})
        seconds = time.perf_counter() - began
    return Decoded(plan, starting, seconds, manifest)


async def _done(committing: Any) -> None:
    await committing


def _quiet(_: str) -> None:
    pass
