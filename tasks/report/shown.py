"""The solutions that a report lets people browse: all of them, or as many as a page can hold."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from typing import Any

import pyarrow as pa

from schemas.config import PromptConfig
from tasks.problems.metadata import choices_of, steps_of
from tasks.problems.prompt import user_message
from tasks.report.sums import level_of

MOST = 10_000
"""Solutions of a page."""
CHARACTERS = 48_000_000
"""Of their texts; a tenth of that, about, once compressed."""
LONGEST = 20_000
"""Characters of one text (a problem, a step); of a longer one its start."""
TEXTS = ("problem", "user", "reference", "answer", "error", "metadata")
"""Of a solution, beside its steps."""
PLAIN = PromptConfig(user="{problem}")
MOST_ATTEMPTS = 400
"""Of one solution."""


class ShownSolutions:
    """The solutions whose problem and sample have the smallest hashes: the same ones in whatever order they come, and
    the same problems in every run of an evaluation."""

    def __init__(self, most: int = MOST, characters: int = CHARACTERS) -> None:
        self.most, self.characters = most, characters
        self.seen = 0
        self.size = 0
        self.arrivals = itertools.count()
        self.heap: list[tuple[int, int, dict[str, Any]]] = []
        """Largest hash first: minus the hash, order of arrival, the solution."""
        self.bound = 1 << 64
        """Hashes from here on are left out."""

    def add(
        self,
        run: int,
        solutions: pa.Table,
        steps: pa.Table,
        prefix: str | None = None,
        prompt: PromptConfig = PLAIN,
    ) -> None:
        """Take in a shard of run number `run`, whose `input.prefix` and `prompt` these are."""
        ids, samples = solutions["problem_id"].to_pylist(), solutions["sample"].to_pylist()
        hashes = [_hash(run, *key) for key in zip(ids, samples, strict=True)]
        rows = [n for n, value in enumerate(hashes) if value < self.bound]
        picked = solutions.take(pa.array(rows, pa.int64())).to_pylist()
        kept = {(row["problem_id"], row["sample"]): row for row in picked}
        attempts: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in kept}
        owners = zip(steps["problem_id"].to_pylist(), steps["sample"].to_pylist(), strict=True)
        wanted = [n for n, key in enumerate(owners) if key in attempts]
        for row in steps.take(pa.array(wanted, pa.int64())).to_pylist():
            attempts[row["problem_id"], row["sample"]].append(row)
        for number in rows:
            key = (ids[number], samples[number])
            self._offer(hashes[number], _kept(run, kept[key], attempts[key], prefix, prompt))
        self.seen += len(solutions)

    def _offer(self, value: int, solution: dict[str, Any]) -> None:
        if value >= self.bound:
            return
        heapq.heappush(self.heap, (-value, next(self.arrivals), solution))
        self.size += solution["size"]
        while len(self.heap) > self.most or (self.size > self.characters and len(self.heap) > 1):
            negative, _, gone = heapq.heappop(self.heap)
            self.size -= gone["size"]
            self.bound = -negative

    def solutions(self) -> list[dict[str, Any]]:
        """In the order of runs, problems and samples."""
        found = [solution for _, _, solution in self.heap]
        return sorted(found, key=lambda s: (s["id"], s["cell"], s["sample"]))


def _hash(run: int, problem_id: str, sample: int) -> int:
    """64 bits. The last ones are the run's: neighbours in the order are the same problem in all runs."""
    digest = hashlib.blake2b(f"{sample}\0{problem_id}".encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big") << 16 | min(run, 0xFFFF)


def _kept(
    run: int, row: dict[str, Any], attempts: list[dict[str, Any]], prefix: str | None, prompt: PromptConfig
) -> dict[str, Any]:
    """The parts of a solution that a page shows."""
    attempts.sort(key=lambda a: (a["step"], a["attempt"]))
    steps: list[list[list[Any]]] = []
    for a in attempts[:MOST_ATTEMPTS]:
        while len(steps) <= a["step"] and len(steps) < MOST_ATTEMPTS:
            steps.append([])
        if a["step"] < len(steps):
            reward = _rounded(a["reward"])
            shown = [int(a["accepted"]), int(a["role"] == "target"), reward, a["tokens"], _cut(a["text"])]
            steps[a["step"]].append(shown if a.get("parent") is None else [*shown, a["parent"]])
    solution = {
        "cell": run,
        "id": _cut(row["problem_id"]),
        "sample": row["sample"],
        "problem": _cut(row["problem"]),
        "user": _user(row, prompt),
        "reference": _cut(row["reference"]),
        "answer": _cut(row["answer"]),
        "verdict": row.get("verdict") or {True: "correct", False: "wrong", None: "not graded"}[row["correct"]],
        "status": row["status"],
        "error": _cut(row["error"]),
        "level": level_of(row["metadata"]),
        "metadata": _cut(row["metadata"]),
        "picked": int(row["picked"]),
        "score": row.get("score"),
        "reward": _rounded(row["min_reward"]),
        "target_steps": row["target_steps"],
        "tokens": row["draft_tokens_kept"] + row["target_tokens"],
        "marks": _marks(steps),
        "begun": _begun(row["metadata"], prefix),
        "steps": steps,
        "cut": int(len(attempts) > MOST_ATTEMPTS),
    }
    texts = sum(len(solution[name] or "") for name in TEXTS)
    texts += sum(len(text) for text in solution["begun"])
    solution["size"] = 200 + texts + sum(len(a[4]) + 24 for step in steps for a in step)
    return solution


def _user(row: dict[str, Any], prompt: PromptConfig) -> str | None:
    """The user message; None if it is the problem as it stands."""
    message = user_message(prompt, row["problem"], choices_of(row["metadata"]))
    return None if message == row["problem"] else _cut(message)


def _rounded(reward: float | None) -> float | None:
    return None if reward is None or not math.isfinite(reward) else round(reward, 3)


def _begun(metadata: str | None, prefix: str | None) -> list[str]:
    """The steps from which the solution goes on."""
    steps = [] if prefix is None else steps_of(metadata, prefix)
    return [_cut(step) or "" for step in steps[:MOST_ATTEMPTS]]


def _marks(steps: list[list[list[Any]]]) -> str:
    """A letter for each of the first steps: d(raft), t(arget)."""
    return "".join("t" if a[1] else "d" for step in steps[:40] for a in step if a[0])


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST else f"{text[:LONGEST]} […]"
