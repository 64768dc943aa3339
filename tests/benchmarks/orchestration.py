"""What orchestration costs: a run with ten-second waves as a flow under a Prefect server, and the same without Prefect.

    python tests/benchmarks/orchestration.py [--problems 1024] [--waves 12] [--seconds 10]

Engines are scripted: every batch takes a third of a wave and no processor. Both runs plan, decode, checkpoint, grade,
commit and write the manifest, one by Prefect's flow and its tasks, states, logs, events, heartbeats and artifacts, the
other by the same functions without it. Exit code 1: the flow takes 3% longer or more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import pipeline_run
import prefect_site
from demo_problems import demo, problems, scratch

from schemas.config import Config
from tasks.plan import make_plan

FLOW = """
import asyncio, sys, time
from pathlib import Path
from flows.generate import generate
from schemas.config import Config
config = Config.model_validate_json(Path(sys.argv[1]).read_text())
began = time.perf_counter()
asyncio.run(generate(config))
print(time.perf_counter() - began)
"""


def configured(source: str, output: Path, given: argparse.Namespace) -> Config:
    engine = json.dumps({"kind": "scripted", "max_model_len": 2048, "steps": 50, "seconds": given.seconds / 3})
    engines = [f"models.{role}.engine={engine}" for role in ("draft", "target", "prm")]
    quarter = -(-given.problems // 4)
    return demo(
        source,
        output,
        *engines,
        f"decoding.max_steps={given.waves}",
        f"run={{shard_size: {quarter}, cohort_size: {quarter}, cohorts: 4}}",
    )


def by_flow(site: prefect_site.Site, config: Config) -> float:
    path = site.folder / "config.json"
    path.write_text(config.model_dump_json())
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", FLOW, str(path)],
        env=site.environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return float(done.stdout.split()[-1])


def alone(config: Config) -> float:
    began = time.perf_counter()
    asyncio.run(pipeline_run.run(make_plan(config), config.output.path))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1024)
    parser.add_argument("--waves", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a wave")
    given = parser.parse_args()
    with scratch() as folder, prefect_site.Site(folder) as site:
        source = problems(folder, given.problems)
        flow = by_flow(site, configured(source, folder / "flow", given))
        bare = alone(configured(source, folder / "alone", given))
    engines = given.waves * given.seconds
    share = flow / bare - 1
    print(f"engines alone {engines:.1f} s, without Prefect {bare:.1f} s, as a flow {flow:.1f} s")
    print(json.dumps({"waves": given.waves, "engines": engines, "alone": bare, "flow": flow, "share": share}))
    print(f"orchestration costs {share:.1%}: the bar of 3% is {'met' if share < 0.03 else 'missed'}")
    sys.exit(share >= 0.03)


if __name__ == "__main__":
    main()
