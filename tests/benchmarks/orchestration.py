"""What orchestration costs: a run with ten-second waves as a flow under a Prefect server, and the same without Prefect.

    python tests/benchmarks/orchestration.py [--problems 1024] [--waves 12] [--seconds 10] [--rounds 1]

Engines are scripted: every batch takes a third of a wave and no processor. Both runs plan, decode, checkpoint, grade,
commit and write the manifest, one by Prefect's flow and its tasks, states, logs, events, heartbeats and artifacts, the
other by the same functions without it. Starting Python is no part of either. Exit code 1: the flow takes 3% longer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from demo_problems import demo, problems, scratch
from prefect_site import Site

from schemas.config import Config

SIDES = ("flow", "alone")
"""As a flow, and without Prefect."""


def configured(source: str, output: Path, given: argparse.Namespace) -> Config:
    engine = json.dumps({"kind": "scripted", "max_model_len": 2048, "steps": 50, "seconds": given.seconds / 3})
    engines = [f"models.{role}.engine={engine}" for role in ("draft", "target", "prm")]
    quarter = -(-given.problems // 4)
    return demo(
        source,
        output,
        *engines,
        f"decoding.max_steps={given.waves}",
        f"run={{shard_size: {quarter}, in_flight: {given.problems}}}",
    )


def take(side: str, config: Config) -> float:
    """Seconds of one run in this process, imports apart."""
    import asyncio

    if side == "flow":
        from flows.generate import generate

        began = time.perf_counter()
        asyncio.run(generate(config))
    else:
        import pipeline_run

        from tasks.planning.plan import make_plan

        began = time.perf_counter()
        asyncio.run(pipeline_run.run(make_plan(config), config.output.path))
    return time.perf_counter() - began


def both(site: Site, source: str, number: int, given: argparse.Namespace) -> dict[str, float]:
    """Seconds of a run on each side, in processes of their own at the same time: what disturbs one disturbs both."""
    started = {}
    for side in SIDES:
        path = site.folder / f"{side}-{number}.json"
        path.write_text(configured(source, path.with_suffix(""), given).model_dump_json())
        started[side] = subprocess.Popen(
            [sys.executable, __file__, "--take", side, str(path)], env=site.environment, stdout=subprocess.PIPE
        )
    found = {side: process.communicate()[0].split() for side, process in started.items()}
    return {side: float(said[-1]) for side, said in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1024)
    parser.add_argument("--waves", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a wave")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--take", nargs=2, metavar=("SIDE", "CONFIG"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.take:
        print(take(given.take[0], Config.model_validate_json(Path(given.take[1]).read_text())))
        return
    engines = given.waves * given.seconds
    shares = []
    with scratch() as folder, Site(folder) as site:
        source = problems(folder, given.problems)
        for number in range(given.rounds):
            found = both(site, source, number, given)
            shares.append(found["flow"] / found["alone"] - 1)
            print(json.dumps({"waves": given.waves, "engines": engines} | found), flush=True)
            over = {
                side: f"{seconds - engines:.1f} s over the engines' {engines:.0f} s" for side, seconds in found.items()
            }
            print(f"as a flow {over['flow']}, without Prefect {over['alone']}")
    share = statistics.median(shares)
    print(f"orchestration costs {share:.1%}: the bar of 3% is {'met' if share < 0.03 else 'missed'}")
    sys.exit(share >= 0.03)


if __name__ == "__main__":
    main()
