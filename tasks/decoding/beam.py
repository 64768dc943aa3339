"""Beam search guided by the PRM: the best few of all beams' candidates continue.

In each round every beam that has not ended gets `candidates` continuations. These and the ended beams are ranked by the
reward of their last step; among equals ended ones come first, then the order of attempts decides. The `beams` best are
kept. Of candidates with the same tokens from the first step on only the first is ranked, so that beams hold different
texts. A step beyond the PRM's window has no reward, and is ranked last. The search ends when all kept beams have ended.
The answer is the best beam that finished with an end of text, or the best beam if none did.

No attempt is accepted before that. Then the winner's attempts are accepted, one for each of its steps, and all others
are rejected. Attempts of other beams beyond the winner's last step are stored as further attempts at that step.
`parent` says which attempt each one continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.config import DecodingConfig
from tasks.decoding.candidates import propose, rank_key
from tasks.decoding.models import Models
from tasks.decoding.trajectory import Attempt, Context, Failure, Limits, Step, Trajectory
from tasks.decoding.usage import Usage


async def step(trajectory: Trajectory, models: Models, settings: DecodingConfig) -> Step | Failure:
    """The writer continues every beam, and the PRM scores. `Search.take` chooses which beams go on."""
    paths = [beam for beam in trajectory.paths for _ in range(settings.candidates)]
    attempts = await propose(settings.writer, paths, models)
    if not isinstance(attempts, Failure):
        for attempt, beam in zip(attempts, paths, strict=True):
            attempt.parent = _last(beam)
    return attempts


def begin(problem_id: str, sample: int, contexts: dict[str, Context], settings: DecodingConfig) -> Trajectory:
    """The trajectory of a problem's sample that searches with several beams."""
    return Search(problem_id, sample, contexts, most=settings.beams)


@dataclass(slots=True, eq=False)
class Search(Trajectory):
    """One sample of one problem, written several ways at a time. `attempts` are those of all beams, step by step;
    `steps` and what goes with them stay empty until it has ended."""

    most: int = 1
    """Beams that are kept."""
    beams: list[Trajectory] = field(default_factory=list)
    """The beams, best first, each with steps, contexts and status of its own. They share their attempts with
    `attempts`."""
    levels: int = 0
    """Steps at which attempts were made."""

    def __post_init__(self) -> None:
        if not self.beams:
            self.beams = [_path(self, [])]

    @property
    def depth(self) -> int:
        """Number of steps of the beams."""
        return self.levels

    @property
    def paths(self) -> Sequence[Trajectory]:
        """The beams that have not ended."""
        return [beam for beam in self.beams if beam.status is None]

    def count_to(self, usage: dict[str, Usage]) -> None:
        """As `Trajectory.count_to`, for every beam."""
        for path in (self, *self.beams):
            path.usage = usage

    def is_complete(self, step: Step, proposals: int) -> bool:
        """True if every continued beam has all its candidates, as in a file of a whole round."""
        known = {_last(beam) for beam in self.beams if len(beam.steps) == self.levels}
        parents = [a.parent for a in step]
        return bool(parents) and set(parents) <= known and all(parents.count(p) == proposals for p in set(parents))

    def take(self, step: Step) -> None:
        """Keep the best of these candidates and of the ended beams as the new beams."""
        continued = {_last(beam): beam for beam in self.beams if len(beam.steps) == self.levels}
        parents = {a.parent for a in step}
        assert parents <= continued.keys(), (parents, list(continued))
        self._enter(step)
        self.levels += 1
        for attempt in step:
            attempt.accepted = False
        ended = [beam for beam in self.beams if len(beam.steps) < self.levels - 1 or _last(beam) not in parents]
        ranked: list[tuple[Trajectory, list[Attempt]]] = [(beam, beam.steps) for beam in ended]
        ranked += [(continued[a.parent], [*continued[a.parent].steps, a]) for a in step]
        ranked.sort(key=lambda entry: -_rank_key(entry[1]))  # equals stay in order
        kept: dict[bytes, Trajectory] = {}
        for beam, steps in ranked:
            tokens = b"".join([a.token_ids.tobytes() for a in steps])
            if len(kept) < self.most and tokens not in kept:
                kept[tokens] = beam if steps is beam.steps else _path(beam, steps)
        self.beams = list(kept.values())

    def update_status(self, limits: Limits) -> None:
        """Set the status of beams that have ended; if all have, also that of the search."""
        if self.status is not None:
            return
        for beam in self.beams:
            beam.update_status(limits)
        if not self.paths:
            self.status = self._win().status

    def fail(self, error: str) -> None:
        """What the best beam has so far is what there is."""
        self._win()
        self.status, self.error = "failed", error

    def tidy(self) -> None:
        """Store attempts beyond the solution's last step at that step, so that every step has an accepted attempt.
        `parent` is then the number of an attempt at the same step."""
        last = len(self.steps) - 1
        beyond = [a for a in self.attempts if a.step > last]
        count = sum(a.step == last for a in self.attempts)
        numbers = {(a.step, a.attempt): count + i for i, a in enumerate(beyond)}
        for a in beyond:
            a.parent = numbers.get((a.step - 1, a.parent or 0), a.parent)
            a.step, a.attempt = last, numbers[a.step, a.attempt]

    def _win(self) -> Trajectory:
        """Accept the best beam's attempts."""
        winner = max(self.beams, key=lambda beam: (beam.status == "finished", _rank_key(beam.steps)))
        for attempt in winner.steps:
            attempt.accepted = True
        self.steps, self.tokens, self.scored = winner.steps, winner.tokens, winner.scored
        self.contexts = winner.contexts
        return winner


def _path(parent: Trajectory, steps: list[Attempt]) -> Trajectory:
    """A beam: what `parent` has, and one step more (or none)."""
    path = Trajectory(parent.problem_id, parent.sample, {r: context.copy() for r, context in parent.contexts.items()})
    path.steps, path.scored, path.usage = steps, parent.scored, parent.usage
    path.tokens = sum(len(a.token_ids) for a in steps)
    if steps and steps[-1].reward is not None:
        path.scored = len(steps)
    return path


def _last(beam: Trajectory) -> int | None:
    """Number of its last attempt; None before its first step."""
    return beam.steps[-1].attempt if beam.steps else None


def _rank_key(steps: list[Attempt]) -> float:
    return rank_key(steps[-1]) if steps else -1.0
