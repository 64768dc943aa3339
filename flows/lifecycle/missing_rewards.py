"""Asks PRMs for the rewards that runs lack, during an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import polars as pl

from flows.terminal.interruption import Halt
from flows.terminal.text import say
from schemas.config import PromptConfig
from schemas.export import Kind
from tasks.decoding.rewards import Trial
from tasks.errors import StoreError, UserError
from tasks.export.kept_rewards import PLACE, filled, keep, lacking, load
from tasks.export.runs import SourceRun, SourceShard

if TYPE_CHECKING:  # a hundred MiB that an export does without where nothing is asked
    from flows.terminal.progress import Progress
    from tasks.planning.plan import Seen
    from tasks.planning.prm_only import PrmPlan


class MissingRewards:
    """Adds missing rewards to the steps of shards: see Fill in tasks/export/dataset.py. Engines start with the first
    step that is asked about, and stay for further runs with the same PRM."""

    def __init__(self, kind: Kind, asks: bool, halt: Halt) -> None:
        """`asks`: ask PRMs; otherwise only rewards of earlier exports are used. `halt`: what interrupts the command."""
        self.kind, self.asks, self.halt = kind, asks, halt
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.engines: dict[str, Any] = {}
        self.serve: tuple[Any, ...] | None = None
        """What the engines are for."""
        self.plans: dict[int, PrmPlan] = {}
        """Number of a run to how it is asked about."""
        self.seen: dict[PromptConfig, Seen] = {}
        self.trials: dict[int, Trial] = {}
        """Number of a run to whether its PRM gives rewards."""
        self.announced: set[int] = set()
        """Runs whose PRM is asked, as has been said."""
        self.found: dict[str, dict[str, Any]] = {}
        """Run to what became of its steps that had no reward: `asked`, `known`, `none`, and `not_kept` where its output
        could not be written; or `silent`, why its PRM was not asked, and `silent_steps`."""

    def __enter__(self) -> MissingRewards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt.cancel = lambda: None  # engines are being closed as it is
        try:
            with self.runner:
                self.runner.run(self.stack.aclose())
        finally:
            self.halt.cancel = None
        if self.halt.stopped and error is None:
            raise KeyboardInterrupt

    def plan_runs(self, runs: list[SourceRun]) -> list[SourceRun]:
        """Plan all PRMs that may be asked, so that mistakes are found before the first is asked. Returns the runs;
        those that the same engines serve come one after another. Raises UserError if a PRM cannot be planned."""
        if not self.asks:
            return runs
        for run in runs:
            if run.silent is None and lacking(run):
                self._plan(run)
        served = {run.number: _served(run, self.plans[run.number]) for run in runs if run.number in self.plans}
        order = list(served.values())
        return sorted(runs, key=lambda run: order.index(served[run.number]) if run.number in served else len(order))

    def __call__(self, shard: SourceShard, wanting: Callable[[], pl.DataFrame], problems: pl.DataFrame) -> SourceShard:
        """The shard, with the wanted rewards as far as the PRM gives them. Raises UserError where the PRM does not
        start, EngineError where it cannot be brought back."""
        run = shard.run
        rewards = load(run, shard.number) if run.silent is None else None
        if not self.asks and (rewards is None or rewards.is_empty()):
            return shard
        wanted = wanting()
        if not len(wanted):
            return shard
        if rewards is None:
            found = self.found.setdefault(run.address, {"silent": run.silent, "silent_steps": 0})
            found["silent_steps"] += len(wanted)
            return shard
        missing = wanted.join(rewards, on=PLACE, how="anti", maintain_order="left")
        own = [shard.steps["reward"]] if run.asked_before is None else []
        self.trials.setdefault(run.number, Trial()).note(pl.concat([*own, rewards["reward"]]).drop_nulls())
        if self.asks and len(missing):
            rewards = pl.concat([rewards, self._asked(shard, missing, problems)])
            self._keep(shard, rewards)
        self._count(run, wanted, missing, rewards)
        return replace(shard, steps=filled(shard.steps, rewards))

    def _asked(self, shard: SourceShard, missing: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
        from flows.terminal.progress import Progress
        from tasks.engines import prepare
        from tasks.export.scoring import score
        from tasks.telemetry.progress import Round

        run = shard.run
        with Progress() as progress:
            if run.number not in self.announced:
                progress.say(f"{run.address}: some steps have no reward; its PRM is asked for them")
                prepare({run.config.model("prm").engine.kind})
                self.announced.add(run.number)
            plan = self._plan(run)
            try:
                self.halt.run(self.runner, self._open(run, plan, progress))
            except UserError as error:
                raise self._advised(run, error) from error
            place = sorted(run.records).index(shard.number) + 1
            progress.begin(len(missing), 0, f"steps scored of shard {place} of {len(run.records)}")
            models = plan.models(self.engines, self.trials[run.number])

            def scored(steps: int) -> None:
                progress.round(Round(models.usage["prm"].prefilled))
                models.usage.clear()
                progress.ended(steps, 0)

            try:
                return self.halt.run(self.runner, score(shard.steps, missing, problems, plan, models, scored))
            except UserError as error:
                raise self._advised(run, error) from error

    def _plan(self, run: SourceRun) -> PrmPlan:
        from tasks.planning.plan import Seen, model_parts
        from tasks.planning.prm_only import plan_prm

        if run.number not in self.plans:
            try:
                seen = self.seen.setdefault(run.config.prompt, Seen())
                plan = plan_prm(run.config, seen)
                of = plan.roles["prm"]
                run.check_prm(model_parts(of.checkpoint, of.vocabulary))
                self.plans[run.number] = plan
            except UserError as error:
                raise self._advised(run, error) from error
        return self.plans[run.number]

    def _advised(self, run: SourceRun, error: UserError) -> UserError:
        """What the user can do without this PRM."""
        if self.kind == "step-dpo":
            advice = "--unscored keep exports without asking the PRM"
        elif "prm" in run.config.decoding.roles:
            advice = "--unscored drop exports without asking the PRM"
        else:
            advice = "--labels answer takes the final answers' verdicts"
        return UserError(f"{run.address}: {error} ({advice})")

    async def _open(self, run: SourceRun, plan: PrmPlan, progress: Progress) -> None:
        """Start the PRM's engines, unless they are there already."""
        from tasks.generation.engine_pool import engines_for

        serve = _served(run, plan)
        if self.serve == serve:
            return
        self.serve = None
        await self.stack.aclose()
        opening = engines_for(plan.roles, run.config.run, progress.say, progress.say)
        self.engines = await self.stack.enter_async_context(opening)
        self.serve = serve

    def _keep(self, shard: SourceShard, rewards: pl.DataFrame) -> None:
        """Keep the rewards in the run's output, if that can be written, so that they are not asked for again."""
        found = self.found.setdefault(shard.run.address, {})
        if "not_kept" in found:
            return
        try:
            keep(shard, rewards)
            self.halt.kept = True
        except UserError as error:
            say(f"{error}; the export goes on, and the next one asks for these rewards again")
            found["not_kept"] = True
        except StoreError as error:  # which may be over by the next shard
            say(f"{error}; the export goes on, and the next one asks for this shard's rewards again")

    def _count(self, run: SourceRun, wanted: pl.DataFrame, missing: pl.DataFrame, rewards: pl.DataFrame) -> None:
        without = wanted.join(rewards, on=PLACE).filter(pl.col("reward").is_null())
        known = len(wanted) - len(missing)
        if not (self.asks or known):
            return
        found = self.found.setdefault(run.address, {})
        for name, count in {"asked": len(missing) * self.asks, "known": known, "none": len(without)}.items():
            found[name] = found.get(name, 0) + count


def _served(run: SourceRun, plan: PrmPlan) -> tuple[Any, ...]:
    """What the engines of a run's PRM are for."""
    return run.config.model("prm"), plan.roles["prm"].engine.role, run.config.run.batch_invariant
