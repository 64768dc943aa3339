"""Is a run whose models are served elsewhere the run with engines of its own?

    python tests/benchmarks/remote_equality.py [--problems 500]

The demo twice: on vLLM engines in processes of its own, then with every role (`engine.kind: openai`) behind one of
vLLM's OpenAI servers on this machine, started with the same arguments. Compares the tables row by row. Where a run is
served is no part of what makes it, so every column must be equal but `wave`, and `prm_tokens`, for servers do not tell
what a PRM had in its cache. Exit code 1: a solution differs.

Engines of one thread, as the demo's, give the same result each time; with more, batches of other shapes may round
differently, and some solutions with them.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl
from demo_problems import demo, problems, scratch
from openai_servers import flags
from prefect_site import ROOT

from schemas.config import Config
from tasks.engines.arguments import vllm_environment
from tasks.planning.plan import make_plan

KEYS = {"solutions": ["problem_id", "sample"], "steps": ["problem_id", "sample", "step", "attempt"]}
UNTOLD = ["wave", "prm_tokens"]
ONE_EACH = [f"models.{role}.engine.replicas=1" for role in ("draft", "prm")]


@contextmanager
def served(config: Config, logs: Path) -> Iterator[dict[str, str]]:
    """Role to the address of its server, which has the arguments of the role's engine."""
    plan = make_plan(config)
    processes, addresses = {}, {}
    try:
        for role, of_role in plan.roles.items():
            spec = of_role.engine
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            arguments = spec.arguments | {"model": spec.model, "max_model_len": spec.window, "host": "127.0.0.1"}
            arguments |= {"port": port, "enable_prompt_tokens_details": True}
            with (logs / f"{role}.log").open("wb") as log:
                processes[role] = subprocess.Popen(
                    [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags(arguments)],
                    env=os.environ | vllm_environment(config) | {"PYTHONPATH": str(ROOT), "VLLM_NO_USAGE_STATS": "1"},
                    stdout=log,
                    stderr=log,
                )
            addresses[role] = f"http://127.0.0.1:{port}"
        for role, url in addresses.items():
            while not healthy(url):
                if processes[role].poll() is not None:
                    raise RuntimeError((logs / f"{role}.log").read_text()[-2000:])
                time.sleep(0.5)
        yield addresses
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def generate(config: Config) -> float:
    """Seconds of a run, its start included."""
    path = Path(config.output.path).with_suffix(".json")
    path.write_text(config.model_dump_json())
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "flows", "generate", str(path)], cwd=ROOT, check=True)
    return time.perf_counter() - began


def compare(one: Path, other: Path) -> int:
    """Print which columns differ in how many rows; returns how many solutions do."""
    different = 0
    for table, key in KEYS.items():
        a, b = (pl.read_parquet(out / table / "*.parquet").sort(key) for out in (one, other))
        if not a.select(key).equals(b.select(key)):
            print(f"{table}: {len(a)} and {len(b)} rows, not the same ones")
        both = a.join(b, on=key, suffix="_served")
        columns = [name for name in a.columns if name not in key]
        unequal = {name: both.filter(pl.col(name).ne_missing(pl.col(f"{name}_served"))) for name in columns}
        print(f"{table}: {len(a)} and {len(b)} rows; unequal:", {name: len(r) for name, r in unequal.items() if len(r)})
        if table == "solutions":
            different = len(both.filter(pl.col("solution") != pl.col("solution_served")))
        else:
            changed = {problem for name in ("token_ids", "accepted") for problem in unequal[name]["problem_id"]}
            print(f"token for token equal: {a['problem_id'].n_unique() - len(changed)} of {a['problem_id'].n_unique()}")
            rewards = (both["reward"] - both["reward_served"]).abs().max()
            print(f"largest difference of a reward: {rewards}")
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    given = parser.parse_args()
    with scratch() as folder:
        source = problems(folder, given.problems)
        own = demo(source, folder / "own", *ONE_EACH)
        seconds = {"own": generate(own)}
        with served(own, folder) as addresses:
            engines = [
                f"models.{role}.engine={json.dumps({'kind': 'openai', 'endpoints': [url]})}"
                for role, url in addresses.items()
            ]
            seconds["served"] = generate(demo(source, folder / "served", *engines))
        print({name: round(took, 1) for name, took in seconds.items()})
        different = compare(folder / "own", folder / "served")
    print(f"{different} of {given.problems} solutions differ: {'missed' if different else 'met'}")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
