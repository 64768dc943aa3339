"""RSD (and one model alone) for one problem at a time, written as plainly as it can be.

Nothing is kept between steps but the list of attempts: what a role reads is put together anew for every question.
It shares with the product the fake models, the seeds and the coin, and no other code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from schemas.config import DecodingConfig
from tasks.decoding.models import Written
from tasks.decoding.seeds import coin, derive
from tasks.decoding.trajectory import Failure

from .fakes import EOS, TAG
from .worlds import Row, World, float32


@dataclass
class Answer:
    status: str
    error: str | None = None
    attempts: list[Row] = field(default_factory=list)

    @property
    def accepted(self) -> list[Row]:
        return [a for a in self.attempts if a["accepted"]]

    @property
    def text(self) -> str:
        return "".join(a["text"] for a in self.accepted)


class Refused(Exception):
    """An engine would not answer."""


def solve(world: World, problem_id: str, sample: int) -> Answer:
    settings = world.settings
    answer = Answer("open")
    while True:
        steps = answer.accepted
        if steps and steps[-1]["finish"] == "eos":
            answer.status = "finished"
        elif (steps and steps[-1]["finish"] == "length") or room(world, problem_id, steps) <= 0:
            answer.status = "max_tokens"
        elif len(steps) == settings.max_steps:
            answer.status = "max_steps"
        else:
            try:
                answer.attempts += next_step(world, problem_id, sample, steps)
            except Refused as refusal:
                answer.status, answer.error = "failed", str(refusal)
        if answer.status != "open":
            return answer


def next_step(world: World, problem_id: str, sample: int, steps: list[Row]) -> list[Row]:
    settings = world.settings
    if settings.method != "rsd":
        return [write(world, settings.method, problem_id, sample, steps) | {"accepted": True}]
    draft = write(world, "draft", problem_id, sample, steps)
    solution = read(world, "prm", problem_id, [*steps, draft])
    if len(solution) > world.windows["prm"]:
        return [draft | {"accepted": True}]
    score = world.scorer().answer(solution)
    if isinstance(score, Failure):
        raise Refused(f"prm: {score.error}")
    chance = probability(score.reward, settings)
    draft |= {
        "reward": float32(score.reward),
        "threshold": float32(getattr(settings.accept, "threshold", None)),
        "probability": float32(chance),
    }
    if coin(settings.seed, problem_id, sample, len(steps)) < chance:
        return [draft | {"accepted": True}]
    return [draft, write(world, "target", problem_id, sample, steps) | {"attempt": 1, "accepted": True}]


def write(world: World, role: str, problem_id: str, sample: int, steps: list[Row]) -> Row:
    seed = derive(world.settings.seed, problem_id, sample, len(steps), role)
    prompt = read(world, role, problem_id, steps)
    result = world.writer(role).answer(prompt, room(world, problem_id, steps), seed)
    if not isinstance(result, Written):
        raise Refused(f"{role}: {result.error}")
    return {
        "problem_id": problem_id,
        "sample": sample,
        "step": len(steps),
        "attempt": 0,
        "role": role,
        "text": text_of(world, role, result.token_ids),
        "token_ids": result.token_ids,
        "tokens": len(result.token_ids),
        "reward": None,
        "threshold": None,
        "probability": None,
        "accepted": False,
        "finish": result.finish,
        "seed": seed,
    }


def text_of(world: World, role: str, ids: list[int]) -> str:
    """A character that was cut is no text."""
    if world.vocabularies[role] == "bytes":
        return bytes(i - 1 for i in ids if i != EOS).decode("utf-8", "ignore")
    return world.vocabulary(role).decode(ids)


def read(world: World, role: str, problem_id: str, steps: list[Row]) -> list[int]:
    """The solution so far as a role reads it: a step by its ids where they mean the same, else by its text."""
    ids = world.prompt(role, problem_id)
    for step in steps:
        if role == "prm":
            ids = [*ids, *world.vocabulary(role).encode(step["text"].strip()), TAG]
        elif world.vocabularies[role] == world.vocabularies[step["role"]]:
            ids = ids + step["token_ids"]
        else:
            ids = ids + world.vocabulary(role).encode(step["text"])
    return ids


def room(world: World, problem_id: str, steps: list[Row]) -> int:
    """Tokens that the next step may have: of the budget, and in the window of each role that reads it."""
    left = [world.settings.max_tokens - sum(step["tokens"] for step in steps)]
    for role in world.roles:
        tag = 1 if role == "prm" else 0
        left.append(world.windows[role] - tag - len(read(world, role, problem_id, steps)))
    return min(left)


def probability(reward: float, settings: DecodingConfig) -> float:
    """Table 1 of the RSD paper."""
    rule = settings.accept
    match rule.rule:
        case "constant":
            return rule.probability
        case "threshold":
            return 1.0 if np.float32(reward) >= np.float32(rule.threshold) else 0.0
        case "clip":
            return min(max(reward, 0.0), 1.0)
        case "sigmoidal":
            return max(0.0, reward / (1 + reward))
        case "logistic":
            return 1 / (1 + math.exp(-rule.alpha * (reward - rule.threshold)))
