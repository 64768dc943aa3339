"""How far a run is from the floor on emulated cards: the whole pipeline, on engines of kind `emulated`.

    python tests/benchmarks/emulated_cards.py [--layout 1xH100] [--problems 4000] [--kept 0.8] [--set KEY=VALUE ...]

Problems take ten steps of 60 tokens in the mean (1 to 119, drawn evenly), of which a share is kept, drawn by chance.
Time passes on the cards only while the run waits for them (engine.speed: null), so that the figures are the same on any
machine; what the run itself took is told beside them, and is the most that a real run would take longer.

The floor: each role's requests all at hand from the start, one for each solution with all that the role had to read and
to write, in batches as large as its cache holds; one role after another on cards that they share. The card that takes
longest counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from demo_problems import DEMO, problems, scratch
from pipeline_run import quiet, warn

from schemas.config import Config
from tasks.configuration.parsing import from_values
from tasks.engines import open_engines
from tasks.engines.emulated.arguments import read_emulation
from tasks.engines.emulated.batch import Batch, Job
from tasks.engines.emulated.machine import machine_here
from tasks.engines.emulated.prefix_cache import PrefixCache, keys_of
from tasks.engines.spec import EngineSpec
from tasks.generation.completion import open_run
from tasks.generation.pipeline import Pipeline, collected_rarely
from tasks.grading import Grader
from tasks.output import session as output_session
from tasks.output.directory import RunDirectory
from tasks.planning.plan import Plan, make_plan
from tasks.problems.reader import shards
from tasks.storage.store import Store
from tasks.storage.stores import Stores

SIZES: dict[str, dict[str, Any]] = {
    "1.5B": {"params": 1.54e9, "layers": 28, "kv_bytes_per_token": 2 * 2 * 28 * 2 * 128},
    "7B": {"params": 7.62e9, "layers": 28, "kv_bytes_per_token": 2 * 2 * 28 * 4 * 128},
    "7B PRM": {"params": 7.08e9, "layers": 28, "kv_bytes_per_token": 2 * 2 * 28 * 4 * 128},
    "72B": {"params": 72.7e9, "layers": 80, "kv_bytes_per_token": 2 * 2 * 80 * 8 * 128},
}
"""Qwen2.5's: parameters, layers, and bytes of keys and values of a token in 16 bits."""
LAYOUTS: dict[str, dict[str, dict[str, Any]]] = {
    "1xH100": {"draft": {"size": "1.5B"}, "target": {"size": "7B"}, "prm": {"size": "7B PRM"}},
    "8xH100": {  # as deploy/layouts/eight-gpus.yaml
        "draft": {"size": "7B", "replicas": 2, "device_ids": [4, 5]},
        "target": {"size": "72B", "tensor_parallel_size": 4, "device_ids": [0, 1, 2, 3]},
        "prm": {"size": "7B PRM", "replicas": 2, "device_ids": [6, 7]},
    },
    "8xH100-shared": {
        "draft": {"size": "7B", "replicas": 8, "device_ids": [*range(8)]},
        "target": {"size": "72B", "tensor_parallel_size": 8, "device_ids": [*range(8)]},
        "prm": {"size": "7B PRM", "replicas": 8, "device_ids": [*range(8)]},
    },
}
STEPS, TOKENS = 10, 60
MANY = 1e12
"""Steps after which a scripted solution would end by itself: never."""


@dataclass
class Outcome:
    """What one run did."""

    seconds: float
    """Of the cards' time."""
    own: float
    """Of this machine's: all that the run took, the emulation included."""
    cpu: float
    """Processor seconds of this process."""
    figures: dict[str, Any]
    floor: dict[str, float]
    """Role to seconds."""
    ratio: float
    kept: float

    def told(self) -> dict[str, Any]:
        cards = self.figures["cards"]
        return {
            "seconds": round(self.seconds, 2),
            "floor": {role: round(seconds, 2) for role, seconds in self.floor.items()},
            "over_floor": round(self.ratio, 3),
            "gpu_seconds": round(self.seconds * len(cards), 1),
            "cards_busy": {card: round(busy / self.seconds, 3) for card, busy in cards.items()},
            "roles": {
                role: {name: round(value, 1) for name, value in of.items()}
                for role, of in self.figures["roles"].items()
            },
            "kept": round(self.kept, 3),
            "own_seconds": round(self.own, 1),
            "cpu_seconds": round(self.cpu, 1),
        }


def configuration(source: str, output: Path, given: argparse.Namespace) -> Config:
    models: dict[str, Any] = {}
    for role, of_layout in LAYOUTS[given.layout].items():
        own = dict(of_layout)
        size = dict(SIZES[own.pop("size")])
        engine = {"kind": "emulated", "card": given.card, "speed": given.speed} | own
        params = size.pop("params")
        engine |= size | {"tokens_per_step": TOKENS, "steps": MANY}
        models[role] = {"model": str(DEMO / "models" / role), "params": params, "engine": engine}
    values = {
        "input": {"path": source},
        "output": {"path": str(output)},
        "models": models,
        "decoding": {
            "method": "rsd",
            "max_tokens": 2048,
            "max_steps": STEPS,
            "temperature": 0.7,  # or all writers would write the same, and find each other's steps in their caches
            "accept": {"rule": "threshold", "threshold": round(1 - given.kept, 6)},
        },
    }
    return from_values(Config, values, given.set, "emulated_cards")


async def decoded(plan: Plan, output: RunDirectory) -> tuple[float, dict[str, Any]]:
    """Run the plan: seconds of the cards, and what they did."""
    opened = open_run(plan, output, retry_failed=False)
    run = plan.config.run
    vocabularies = {role: of_role.vocabulary for role, of_role in plan.roles.items()}
    speed = read_emulation("draft", plan.engines[0].arguments).speed
    async with (
        open_engines(plan.engines, vocabularies, quiet, warn, run.engine_restarts, run.engine_patience) as engines,
        output_session.open_session(output.store) as session,
    ):
        machine = machine_here("draft", speed)
        with Grader() as grader, collected_rarely():
            pipeline = Pipeline(plan, output, opened.identity, session, plan.by_role(engines), grader)
            await pipeline.run(list(range(plan.shards)))
        return machine.time, machine.figures()


@dataclass
class Work:
    """What a role computed in a run, as one request a solution."""

    requests: list[tuple[int, int]]
    """Tokens read and written of each."""
    alike: int
    """Tokens with which all of them begin."""


def alike(prompts: list[Any]) -> int:
    """Ids with which all prompts begin."""
    first, last = min(map(list, prompts)), max(map(list, prompts))
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def work(plan: Plan, output: Path) -> tuple[dict[str, Work], float]:
    """Role to its work; and the share of the draft's steps that was kept."""
    steps = pl.read_parquet(output / "steps" / "*.parquet")
    prompts: dict[str, dict[str, int]] = {role: {} for role in plan.roles}
    found: dict[str, Work] = {}
    for _, some, _ in shards(plan.survey, Stores.of(plan.config), 1 << 30, lambda _: True):
        for role, ids in plan.prompts(some).items():
            prompts[role] |= {p.problem_id: len(prompt) for p, prompt in zip(some, ids, strict=True)}
            found.setdefault(role, Work([], alike(ids)))
    tokens, by = pl.col("tokens"), pl.col("role")
    rewritten = pl.col("step").filter(by == "target").max()
    last = pl.col("step").max()
    sums = steps.group_by("problem_id").agg(
        drafted=tokens.filter(by == "draft").sum(),
        targeted=tokens.filter(by == "target").sum(),
        read=tokens.filter((by == "draft") & pl.col("accepted") & (pl.col("step") < rewritten)).sum(),
        scored=tokens.filter((by == "draft") | (pl.col("step") < last)).sum(),  # the tag takes the separator's place
    )
    for problem, drafted, targeted, read, scored in sums.rows():
        if "draft" in found:
            found["draft"].requests.append((prompts["draft"][problem] + targeted, drafted))
        if "target" in found and targeted:
            found["target"].requests.append((prompts["target"][problem] + read, targeted))
        if "prm" in found:
            found["prm"].requests.append((prompts["prm"][problem] + scored, 0))
    drafts = steps.filter(by == "draft")
    return found, float(drafts["accepted"].mean() or 0)  # type: ignore[arg-type]


def saturated(spec: EngineSpec, work: Work) -> float:
    """Seconds that a role's engines take for all requests, all at hand from the start."""
    each = []
    same = np.zeros(work.alike, np.int32)
    for number, own in enumerate(spec.replicas):
        emulation = read_emulation(spec.role, spec.arguments | own)
        assert emulation.cache_tokens is not None
        cache = PrefixCache(emulation.cache_tokens, 0, emulation.block_size)
        batch = Batch(emulation.costs(), cache, emulation.max_num_seqs, emulation.max_num_batched_tokens)
        keys = keys_of(same, cache.block)
        batch.ask(0.0, [Job(keys, *of, lambda job: None) for of in work.requests[number :: len(spec.replicas)]])
        seconds = 0.0
        while (took := batch.begin(seconds)) is not None:
            seconds += took
            batch.end()
        each.append(seconds)
    return max(each)


def devices(spec: EngineSpec) -> set[int]:
    return {number for own in spec.replicas for number in own["device_ids"]}


def together(floor: dict[str, float], specs: list[EngineSpec]) -> float:
    """Seconds of the card that takes longest."""
    on: dict[int, float] = {}
    for spec in specs:
        for number in devices(spec):
            on[number] = on.get(number, 0.0) + floor[spec.role]
    return max(on.values())


def measure(given: argparse.Namespace) -> Outcome:
    with scratch() as folder:
        plan = make_plan(configuration(problems(folder, given.problems), folder / "out", given))
        began, cpu = time.perf_counter(), time.process_time()
        seconds, figures = asyncio.run(decoded(plan, RunDirectory(Store(plan.config.output.path))))
        own, cpu = time.perf_counter() - began, time.process_time() - cpu
        requests, kept = work(plan, folder / "out")
    floor = {spec.role: saturated(spec, requests[spec.role]) for spec in plan.engines}
    return Outcome(seconds, own, cpu, figures, floor, seconds / together(floor, plan.engines), kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=4000)
    parser.add_argument("--layout", choices=LAYOUTS, default="1xH100")
    parser.add_argument("--card", default="H100", help="data sheet of every card")
    parser.add_argument("--kept", type=float, default=0.8, help="share of the draft's steps that is kept")
    parser.add_argument("--speed", type=lambda text: None if text == "null" else float(text), default=None)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")
    print(json.dumps(measure(parser.parse_args()).told(), indent=1))


if __name__ == "__main__":
    main()
