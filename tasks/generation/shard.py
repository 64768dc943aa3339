"""A shard in flight: its problems, their trajectories, and their checkpoints until it is committed."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tasks.decoding import DECODERS
from tasks.decoding.replay import replay
from tasks.decoding.trajectory import Context, Trajectory
from tasks.decoding.usage import Usage
from tasks.errors import on_one_line
from tasks.generation.answers import choose
from tasks.generation.tables import counts, rejected_table, solutions_table, steps_table
from tasks.grading import Grade, Grades, Ungraded
from tasks.output.directory import Identity, RunDirectory
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem, Rejected

NAMED = 10
"""Problems with a bad reference that the log names, of each shard."""


@dataclass(frozen=True)
class News:
    """What a checkpoint is made of."""

    number: int
    spans: dict[Trajectory, tuple[int, int]]
    """Trajectory to its new attempts: the first, and the one after the last."""
    usage: dict[str, Usage]
    """Role to all that it computed for the shard, for those that computed something since the last checkpoint."""


class Shard:
    """One shard of a run, from its input rows to its record."""

    def __init__(
        self,
        number: int,
        problems: list[Problem],
        rejected: list[Rejected],
        plan: Plan,
        output: RunDirectory,
        identity: Identity,
    ) -> None:
        self.number, self.rejected, self.plan, self.output, self.identity = number, rejected, plan, output, identity
        self.problems = {p.problem_id: p for p in problems}
        prompts = plan.prompts(problems)
        decoding = plan.config.decoding
        begin = DECODERS[decoding.method].begin
        self.trajectories = [
            begin(p.problem_id, sample, {r: Context.of(prompts[r][i], len(p.prefix)) for r in prompts}, decoding)
            for i, p in enumerate(problems)
            for sample in range(decoding.samples)
        ]
        self.usage: dict[str, Usage] = defaultdict(Usage)
        """Role to what it computed for this shard, in this process and before."""
        for t in self.trajectories:
            t.count_to(self.usage)
        attempts, usages = output.load_steps(number)
        ours = [row for row in attempts if row["run_id"] == identity.run_id]
        replay(self.trajectories, ours, decoding.proposals)
        self.kept = {t: len(t.attempts) for t in self.trajectories}
        """How many attempts of a trajectory are in checkpoints."""
        for usage in usages:
            for role, counted in usage.items():
                self.usage[role].merge(Usage(**counted))
        self.kept_usage = {role: replace(used) for role, used in self.usage.items()}
        """What of it is in checkpoints."""
        self.unwritten: News | None = None
        """What is being written, or could not be."""
        self.checkpoints = 0
        """That this process began to write."""
        self.begun = asyncio.Event()
        """Are all its trajectories in flight, or further?"""
        self.kept_at = 0.0
        """When it was last checkpointed, on the monotonic clock; infinite while it is."""
        self.taken = False
        """Has another process taken it over?"""

    def news(self) -> News | None:
        """What no checkpoint has yet; None if there is nothing. What a store may not have taken comes first, as it was:
        if that is there all the same, it is written over, and nothing is counted twice."""
        if self.unwritten is not None:
            return self.unwritten
        spans = {t: (self.kept[t], len(t.attempts)) for t in self.trajectories if len(t.attempts) > self.kept[t]}
        usage = {role: replace(used) for role, used in self.usage.items() if used != self.kept_usage.get(role, Usage())}
        if not spans and not usage:
            return None
        self.checkpoints += 1
        return News(self.checkpoints, spans, usage)

    def checkpoint(self, name: str, news: News) -> None:
        """Write a checkpoint of what is new, so that a killed run goes on from there; trajectories may go on
        meanwhile."""
        table = steps_table(self.identity.run_id, self.number, news.spans, news.spans)
        new = {role: used.minus(self.kept_usage.get(role, Usage())) for role, used in news.usage.items()}
        self.unwritten = news
        self.output.save_steps(self.number, f"{name}-{news.number:05d}", table, usage_json(new))
        self.unwritten = None
        self.kept |= {t: stop for t, (_, stop) in news.spans.items()}
        self.kept_usage |= news.usage

    def commit(self, grader: Grades, ours: Callable[[], bool]) -> dict[str, Any]:
        """Grade the solutions and write tables and record; returns the record. Raises ShardTaken unless `ours`."""
        run_id = self.identity.run_id
        ungraded: list[Ungraded] = []
        for t in self.trajectories:
            problem = self.problems[t.problem_id]
            text = "".join([*self.plan.begun(problem), *(a.text for a in t.steps)])
            ungraded.append((text, problem.reference, problem.choices))
        grades = grader.grade(ungraded)
        self._report_bad_references(grades)
        # a failed solution is not solved, whatever its first steps say
        grades = [
            Grade(g.answer, g.verdict and "unparsed") if t.status == "failed" else g
            for t, g in zip(self.trajectories, grades, strict=True)
        ]
        chosen = choose(self.trajectories, [g.answer for g in grades], self.problems, grader, self.plan.config.decoding)
        solutions = solutions_table(
            run_id, self.number, self.problems, self.trajectories, grades, self.plan.params, chosen
        )
        for t in self.trajectories:
            t.tidy()
        steps = steps_table(run_id, self.number, self.trajectories)
        tables = {"solutions": solutions, "steps": steps}
        if self.rejected:
            tables["rejected"] = rejected_table(run_id, self.number, self.rejected)
        totals = counts(solutions, steps, len(self.rejected))
        if self.plan.config.input.prefix is None:
            totals["one_step"] = sum(t.status != "failed" and len(t.steps) == 1 for t in self.trajectories)
        usage = {role: self.usage[role] for role in self.plan.params}
        return self.output.commit(self.number, self.identity, tables, totals, usage_json(usage), ours)

    def _report_bad_references(self, grades: list[Grade]) -> None:
        """References that cannot be read are named, not guessed."""
        graded = zip(self.trajectories, grades, strict=True)
        unread = {t.problem_id for t, grade in graded if grade.verdict is None}
        bad = [p.problem_id for p in self.problems.values() if p.reference is not None and p.problem_id in unread]
        if bad:
            named = ", ".join(bad[:NAMED]) + (", ..." if len(bad) > NAMED else "")
            line = f"shard {self.number}: no verdict on {len(bad)} problems, whose reference cannot be read: {named}"
            logging.getLogger("stepwave").warning("%s", on_one_line(line))


def usage_json(usage: dict[str, Usage]) -> dict[str, dict[str, int]]:
    """Role to its usage, as records have it."""
    return {
        role: {"requests": u.requests, "generated": u.generated, "prefilled": u.prefilled, "cached": u.cached}
        for role, u in usage.items()
    }
