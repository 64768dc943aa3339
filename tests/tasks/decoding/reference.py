"""Every method for one problem at a time, written as plainly as it can be.

Nothing is kept between steps but the list of attempts: what a role reads is put together anew for every question.
It shares with the product the fake models, the seeds and the coin, and no other code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from schemas.config import DecodingConfig
from tasks.decoding.requests import Written
from tasks.decoding.seeds import coin, derive
from tasks.decoding.trajectory import Failure

from .fakes import EOS, LEAD, TAG, TAIL
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
    return (search if world.settings.method == "beam" else one_way)(world, problem_id, sample)


def search(world: World, problem_id: str, sample: int) -> Answer:
    """Beam search over paths: lists of attempts."""
    settings, tree = world.settings, []
    beams: list[list[Row]] = [[]]
    error = None
    while error is None and (going := [path for path in beams if ended(world, problem_id, path) is None]):
        level: list[Row] = []
        try:
            for path in going:
                for _ in range(settings.candidates):
                    parent = path[-1]["attempt"] if path else None
                    attempt = write(world, settings.writer, problem_id, sample, path, len(level))
                    level.append(attempt | {"parent": parent})
            paths = {row["attempt"]: path for row in level for path in going if leads_to(path, row)}
            level = [row | score(world, problem_id, paths[row["attempt"]], row) for row in level]
        except Refused as refusal:
            error = str(refusal)
            break
        tree += level
        contest = [path for path in beams if path not in going] + [[*paths[row["attempt"]], row] for row in level]
        contest.sort(key=standing, reverse=True)
        beams = []
        for path in contest:
            if len(beams) < settings.beams and text_ids(path) not in [text_ids(other) for other in beams]:
                beams.append(path)
    finished = [path for path in beams if ended(world, problem_id, path) == "finished"]
    winner = max(finished or beams, key=standing)
    places = [(row["step"], row["attempt"]) for row in winner]
    tree = [row | {"accepted": (row["step"], row["attempt"]) in places} for row in tree]
    status = "failed" if error else ended(world, problem_id, winner)
    assert status is not None
    return Answer(status, error, tree)


def leads_to(path: list[Row], row: Row) -> bool:
    return (path[-1]["attempt"] if path else None) == row["parent"]


def standing(path: list[Row]) -> float:
    return -1.0 if not path or path[-1]["reward"] is None else path[-1]["reward"]


def text_ids(path: list[Row]) -> list[int]:
    return [i for row in path for i in row["token_ids"]]


def one_way(world: World, problem_id: str, sample: int) -> Answer:
    answer = Answer("open")
    while True:
        steps = answer.accepted
        if (status := ended(world, problem_id, steps)) is not None:
            answer.status = status
        else:
            try:
                answer.attempts += next_step(world, problem_id, sample, steps)
            except Refused as refusal:
                answer.status, answer.error = "failed", str(refusal)
        if answer.status != "open":
            return answer


def ended(world: World, problem_id: str, steps: list[Row]) -> str | None:
    if steps and steps[-1]["finish"] == "eos":
        return "finished"
    if (steps and steps[-1]["finish"] == "length") or room(world, problem_id, steps) <= 0:
        return "max_tokens"
    return "max_steps" if len(steps) == world.settings.max_steps else None


def next_step(world: World, problem_id: str, sample: int, steps: list[Row]) -> list[Row]:
    settings = world.settings
    match settings.method:
        case "target" | "draft":
            return [write(world, settings.method, problem_id, sample, steps) | {"accepted": True}]
        case "speculative":
            return [write(world, "target", problem_id, sample, steps) | {"accepted": True}]
        case "majority":
            return [write(world, settings.writer, problem_id, sample, steps) | {"accepted": True}]
        case "best_of_n":
            row = write(world, settings.writer, problem_id, sample, steps)
            return [row | score(world, problem_id, steps, row) | {"accepted": True}]
    role = "draft" if settings.method == "rsd" else settings.writer
    rows = [write(world, role, problem_id, sample, steps, number) for number in range(settings.candidates)]
    rows = [row | score(world, problem_id, steps, row) for row in rows]
    best = rows[0]
    for row in rows[1:]:
        if row["reward"] is not None and (best["reward"] is None or row["reward"] > best["reward"]):
            best = row
    if settings.method == "process_best_of_n" or best["reward"] is None:
        best["accepted"] = True
        return rows
    chance = probability(best["reward"], settings)
    best |= {"threshold": float32(getattr(settings.accept, "threshold", None)), "probability": float32(chance)}
    if coin(settings.seed, problem_id, sample, len(steps)) < chance:
        best["accepted"] = True
        return rows
    rewrite = write(world, "target", problem_id, sample, steps)
    return [*rows, rewrite | {"attempt": settings.candidates, "accepted": True}]


def score(world: World, problem_id: str, steps: list[Row], row: Row) -> Row:
    """The reward of a step, where it fits the window."""
    solution = read(world, "prm", problem_id, [*steps, row]) + (TAIL if world.chatty else [])
    if len(solution) > world.windows["prm"]:
        return {}
    result = world.scorer().answer(solution)
    if isinstance(result, Failure):
        raise Refused(f"prm: {result.error}")
    return {"reward": float32(result.reward)}


def write(world: World, role: str, problem_id: str, sample: int, steps: list[Row], number: int = 0) -> Row:
    seed = derive(world.settings.seed, problem_id, sample, len(steps), role, number)
    prompt = read(world, role, problem_id, steps)
    result = world.writer(role).answer(prompt, room(world, problem_id, steps), seed)
    if not isinstance(result, Written):
        raise Refused(f"{role}: {result.error}")
    return {
        "problem_id": problem_id,
        "sample": sample,
        "step": len(steps),
        "attempt": number,
        "parent": None,
        "role": role,
        "text": text_of(world, role, result.token_ids),
        "token_ids": result.token_ids,
        "tokens": len(result.token_ids),
        "proposed": 0,
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
            lead = LEAD if world.chatty and step["step"] else []
            ids = [*ids, *lead, *world.vocabulary(role).encode(step["text"].strip()), TAG]
        elif world.vocabularies[role] == world.vocabularies[step["role"]]:
            ids = ids + step["token_ids"]
        else:
            ids = ids + world.vocabulary(role).encode(step["text"])
    return ids


def room(world: World, problem_id: str, steps: list[Row]) -> int:
    """Tokens that the next step may have: of the budget, and in the window of each role that reads it."""
    left = [world.settings.max_tokens - sum(step["tokens"] for step in steps)]
    for role in world.roles:
        tag = (1 + (len(LEAD) + len(TAIL)) * world.chatty) if role == "prm" else 0
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
