"""How far a run is from the floor: the same tokens in one saturated vLLM batch per engine.

    python tests/benchmarks/floor.py [--problems 2000] [--rounds 3] [--set models.target.model=... ...]

The floor of a role is one `LLM` of vLLM alone on its device that gets, for each solution, one request with every token
that the role had to read in the run as its prompt, and writes as many tokens as it wrote in the run: each token is
computed once, no wave ends, nothing waits. Floors of roles that share a device add up; of devices the longest counts.
On CPUs the engine has all cores.

Beside it: the target alone, as one batch of whole solutions, which is what one would do without Stepwave, and as a run
of Stepwave with method `target`. Starting engines is not part of any figure but the one that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import pipeline_run
import polars as pl
from demo_problems import demo, problems, scratch

from tasks.engines.spec import EngineSpec
from tasks.planning.plan import Plan, make_plan
from tasks.problems.reader import shards
from tasks.storage.stores import Stores

ALONE = {"rsd": [], "target": ["decoding.method=target", "models.target.engine.replicas=2"]}
"""Changes of the demo's configuration: a model alone has the cores to itself."""

Request = tuple[list[int], int]
"""A prompt's ids, and how many tokens to write; 0 for a PRM."""


def work(plan: Plan, output: Path) -> dict[str, list[Request]]:
    """What each role computed in a run, as one request a solution.

    Which tokens stand in a prompt makes no difference to its cost, so other text of the same lengths stands for what
    roles read of each other.
    """
    steps = pl.read_parquet(output / "steps" / "*.parquet")
    found: dict[str, list[Request]] = {role: [] for role in plan.roles}
    prompts = {}
    for _, some, _ in shards(plan.survey, Stores.of(plan.config), 1 << 30, lambda _: True):
        for role, ids in plan.prompts(some).items():
            prompts[role] = {p.problem_id: list(prompt) for p, prompt in zip(some, ids, strict=True)}
    for (problem,), attempts in steps.group_by(["problem_id"], maintain_order=True):
        rows = attempts.select("role", "token_ids", "accepted", "prm_tokens").rows()
        kept = [i for role, ids, accepted, _ in rows if accepted for i in ids]
        target = [i for role, ids, _, _ in rows if role == "target" for i in ids]
        draft = sum(len(ids) for role, ids, _, _ in rows if role == "draft")
        if "draft" in found:
            found["draft"].append((prompts["draft"][problem] + target, draft))
        if "target" in found and target:
            last = max(i for i, (role, *_) in enumerate(rows) if role == "target")
            read = [i for role, ids, accepted, _ in rows[:last] if accepted and role == "draft" for i in ids]
            found["target"].append((prompts["target"][problem] + read, len(target)))
        if "prm" in found:
            scored = sum(n for *_, n in rows)
            text = prompts["prm"][problem] + kept
            found["prm"].append(((text * (scored // len(text) + 1))[:scored], 0))
    return found


def batch(spec: EngineSpec, requests: list[Request], threads: int, to_eos: bool) -> float:
    """Seconds that one vLLM batch takes for all requests. In a process of its own."""
    os.environ |= spec.environment | {"OMP_NUM_THREADS": str(threads), "VLLM_CONFIGURE_LOGGING": "0"}
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    from vllm import LLM, PoolingParams, SamplingParams

    arguments = spec.arguments | {"max_num_seqs": 512}
    llm = LLM(model=spec.model, max_model_len=spec.window, **arguments)

    def run(some: list[Request]) -> None:
        inputs: Any = [{"prompt_token_ids": ids} for ids, _ in some]
        if some[0][1] == 0:
            llm.encode(inputs, PoolingParams(), pooling_task="classify", use_tqdm=False)
            return
        params = [
            SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=not to_eos, detokenize=False) for _, n in some
        ]
        llm.generate(inputs, params, use_tqdm=False)

    run([(ids[::-1], min(n, 2)) for ids, n in requests[:8]])  # what is done once, such as allocations
    began = time.perf_counter()
    run(requests)
    return time.perf_counter() - began


def alone(spec: EngineSpec, requests: list[Request], threads: int, to_eos: bool = False) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(batch, (spec, requests, threads, to_eos))


def floors(plan: Plan, output: Path, threads: int) -> dict[str, float]:
    found = work(plan, output)
    return {role: alone(plan.roles[role].engine, requests, threads) for role, requests in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the demo's configuration"
    )
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    rounds = []
    with scratch() as folder:
        source = problems(folder, given.problems)
        plan = make_plan(demo(source, folder / "unused", *given.set))
        for number in range(given.rounds):
            found: dict[str, Any] = {}
            for method in ("rsd", "target"):
                output = folder / f"{method}-{number}"
                of = make_plan(demo(source, output, *given.set, *ALONE[method]))
                run = asyncio.run(pipeline_run.run(of, str(output)))
                found[method] = {
                    "seconds": run.seconds,
                    "starting": run.start_seconds,
                    "floor": floors(of, output, cores),
                    "devices": {role: str(r.share and r.share.device) for role, r in of.roles.items()},
                    "computed": run.computed,
                    "solved": run.solved,
                }
            spec = plan.roles["target"].engine
            limit = plan.config.decoding.max_tokens
            prompts = [
                prompt
                for _, some, _ in shards(plan.survey, Stores.of(plan.config), 1 << 30, lambda _: True)
                for prompt in map(list, plan.prompts(some)["target"])
            ]
            found["target_in_one_batch"] = alone(spec, [(prompt, limit) for prompt in prompts], cores, to_eos=True)
            rounds.append(found)
            print(json.dumps(found), flush=True)
    print(table(rounds))


def together(found: dict[str, Any]) -> float:
    """Seconds of the device that takes longest."""
    devices: dict[str, float] = {}
    for role, floor in found["floor"].items():
        device = found["devices"][role].split(" (")[0]
        devices[device] = devices.get(device, 0.0) + floor
    return max(devices.values())


def table(rounds: list[dict[str, Any]]) -> str:
    lines = ["| method | seconds | floor | over floor |", "|---|---|---|---|"]
    for method in ("rsd", "target"):
        seconds = statistics.median(r[method]["seconds"] for r in rounds)
        cells = [f"`{method}`", f"{seconds:.1f}"]
        floor = statistics.median(together(r[method]) for r in rounds)
        ratio = statistics.median(r[method]["seconds"] / together(r[method]) for r in rounds)
        cells += [f"{floor:.1f}", f"{ratio:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
        if method == "rsd":
            verdict = f"rsd's bar of 1.10 is {'met' if ratio <= 1.1 else 'missed'}"
    one = statistics.median(r["target_in_one_batch"] for r in rounds)
    start = statistics.median(r["rsd"]["starting"] for r in rounds)
    apart = f"target alone, one vLLM batch: {one:.1f} s; start of three engines: {start:.1f} s"
    return "\n".join([*lines, "", apart, verdict])


if __name__ == "__main__":
    main()
