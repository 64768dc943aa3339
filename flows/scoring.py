"""The rewards that runs lack, asked of their PRMs while an export goes on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any

import polars as pl

from flows.interruption import say
from flows.progress import Progress
from schemas.config import Config
from tasks.engines import open_engines, prepare
from tasks.errors import StoreError, UserError
from tasks.export.kept_rewards import filled, keep, load
from tasks.export.runs import Run, Shard
from tasks.export.scoring import PLACE, score
from tasks.plan import engines_of
from tasks.prm_alone import PrmPlan, plan_prm, prm_identity
from tasks.tally import Wave


class Scoring:
    """Gives the steps of shards their rewards. Engines start with the first step that is asked about, and stay for the
    runs after it that have the same PRM."""

    def __init__(self) -> None:
        # turns only while something is asked; Ctrl-C cancels that, and is an ordinary one between shards
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.engines: dict[str, Any] = {}
        self.serve: tuple[Any, ...] | None = None
        """What the engines are for."""
        self.plan: tuple[Run, PrmPlan] | None = None
        """The run that is asked about, and how."""
        self.found: dict[str, dict[str, Any]] = {}
        """Run to what became of its steps that had no reward: `asked`, `known`, `none`, and `not_kept` where its output
        could not be written; or `silent`, why its PRM was not asked, and `silent_steps`."""

    def __enter__(self) -> Scoring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.runner:
            self.runner.run(self.stack.aclose())

    def __call__(self, shard: Shard, wanted: pl.DataFrame, problems: pl.DataFrame) -> Shard:
        """A shard whose `wanted` steps have rewards, as far as they can be had. Raises UserError where the PRM does not
        start, EngineError where it cannot be brought back."""
        run = shard.run
        if not len(wanted):
            return shard
        if run.silent is not None:
            found = self.found.setdefault(run.address, {"silent": run.silent, "silent_steps": 0})
            found["silent_steps"] += len(wanted)
            return shard
        prm = prm_identity(run.config)
        rewards = load(shard, prm)
        missing = wanted.join(rewards, on=PLACE, how="anti", maintain_order="left")
        if len(missing):
            rewards = pl.concat([rewards, self._asked(shard, missing, problems)])
            self._keep(shard, prm, rewards)
        self._count(run, wanted, missing, rewards)
        return replace(shard, steps=filled(shard.steps, rewards))

    def _asked(self, shard: Shard, missing: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
        run = shard.run
        with Progress() as progress:
            try:
                plan = self._plan(run, progress)
                self.runner.run(self._open(run.config, plan, progress))
            except UserError as error:
                raise UserError(f"{error} (--unscored drop exports without asking the PRM)") from error
            place = sorted(run.records).index(shard.number) + 1
            progress.begin(len(missing), 0, f"steps scored of shard {place} of {len(run.records)}")
            models = plan.models(self.engines)

            def told(steps: int) -> None:
                progress.wave(Wave(0, [], models.usage["prm"].prefilled, 0, 0))
                models.usage.clear()
                progress.ended(steps, 0)

            return self.runner.run(score(shard.steps, missing, problems, plan, models, told))

    def _plan(self, run: Run, progress: Progress) -> PrmPlan:
        if self.plan is None or self.plan[0] is not run:
            progress.say(f"{run.address}: some steps have no reward; its PRM is asked for them")
            prepare({run.config.model("prm").engine.kind})
            self.plan = run, plan_prm(run.config)
        return self.plan[1]

    async def _open(self, config: Config, plan: PrmPlan, progress: Progress) -> None:
        """Have the PRM's engines stand."""
        serve = (config.model("prm"), plan.roles["prm"].engine.role, config.run.batch_invariant)
        if self.serve == serve:
            return
        self.serve = None
        await self.stack.aclose()
        opening = open_engines(
            engines_of(plan.roles),
            {role: of.vocabulary for role, of in plan.roles.items()},
            progress.say,
            progress.say,
            config.run.engine_restarts,
            config.run.engine_patience,
        )
        self.engines = await self.stack.enter_async_context(opening)
        self.serve = serve

    def _keep(self, shard: Shard, prm: dict[str, Any], rewards: pl.DataFrame) -> None:
        """What was asked is asked once, if the run's output can be written."""
        found = self.found.setdefault(shard.run.address, {})
        if "not_kept" in found:
            return
        try:
            keep(shard, prm, rewards)
        except (UserError, StoreError) as error:
            say(f"{error}; the export goes on, and the next one asks for these rewards again")
            found["not_kept"] = True

    def _count(self, run: Run, wanted: pl.DataFrame, missing: pl.DataFrame, rewards: pl.DataFrame) -> None:
        found = self.found.setdefault(run.address, {})
        without = wanted.join(rewards, on=PLACE).filter(pl.col("reward").is_null())
        counts = {"asked": len(missing), "known": len(wanted) - len(missing), "none": len(without)}
        for name, count in counts.items():
            found[name] = found.get(name, 0) + count
