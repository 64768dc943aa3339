"""A fleet under fire: one of its processes is killed mid-run, and nobody does anything about it.

    python tests/benchmarks/kill_drill.py [--problems 500] [--shards 8] [--workers 2] [--kill process] [--scripted]

A Prefect server, process workers, an S3 server over HTTP, and the demo's models on vLLM: each a real process of its
own. `generate` with run.workers is the parent. When two shards are committed, --kill decides what gets SIGKILL:

process   a flow run's process, with its engines; its worker lives
node      a worker with all that it started, and no other takes its place for 30 s
parent    the parent, which is a flow run on a pool of its own; deploy/automations/crashes.yaml starts it again

Prints what happened when (seconds from the kill), then compares the tables with those of a run on one machine: exit
code 1 where they differ in any column but `wave`, or rows are lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from demo_problems import demo, problems, scratch
from prefect_site import ROOT, Site

POOL, PARENTS = "stepwave-gpu", "stepwave"
PATIENCE = 1800.0
"""Seconds that the whole may take."""
S3 = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Drill:
    """The site, and what is seen of a run on it."""

    def __init__(self, site: Site, output: str) -> None:
        import s3fs

        self.site, self.output = site, output
        self.fs = s3fs.S3FileSystem(endpoint_url=site.environment["AWS_ENDPOINT_URL_S3"], key="test", secret="test")
        self.killed = time.monotonic()
        self.states: dict[str, str] = {}

    def records(self) -> int:
        self.fs.invalidate_cache()
        try:
            return len(self.fs.ls(f"{self.output}/shards"))
        except FileNotFoundError:
            return 0

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.killed:7.1f} s  {text}", flush=True)

    def look(self) -> bool:
        """Tell of changes; has the parent ended?"""
        runs = self.site.ask("POST", "flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
        for run in runs:
            state = f"{run['state']['name']} {run['state']['message'] or ''}".strip()[:90]
            if self.states.get(run["id"]) != state:
                self.states[run["id"]] = state
                self.say(f"{run['name'].rpartition('/')[0] or run['name']} ({run['id'][:4]}): {state}")
        parents = [run for run in runs if run["deployment_id"] == self.parent]
        return bool(parents) and parents[0]["state"]["type"] in ("COMPLETED", "FAILED", "CANCELLED")

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > deadline:
                raise RuntimeError("it takes too long")
            time.sleep(0.5)

    parent = ""


def flow_processes(site: Site, worker: str) -> list[Any]:
    return [one for one in site.descendants(worker) if "prefect.engine" in " ".join(one.cmdline())]


def slay(site: Site, worker: str) -> None:
    """SIGKILL to a worker's flow processes and all below, as a lack of memory does, but not to the worker."""
    for process in flow_processes(site, worker):
        process.kill()


def compare(one: Path, drill: Drill) -> bool:
    same = True
    for table, key in (("solutions", ["problem_id", "sample"]), ("steps", ["problem_id", "sample", "step", "attempt"])):
        a = pl.read_parquet(one / table / "*.parquet").select(pl.exclude("wave")).sort(key)
        files = sorted(drill.fs.ls(f"{drill.output}/{table}"))
        b = pl.concat(pl.read_parquet(drill.fs.cat(file)) for file in files).select(pl.exclude("wave")).sort(key)
        doubled = len(b) - len(b.unique(key))
        keys_a, keys_b = a.select(key), b.select(key)
        lost = len(keys_a.join(keys_b, on=key, how="anti"))
        equal = a.equals(b)
        print(
            f"{table}: {len(a)} rows and {len(b)}, {lost} lost, {doubled} doubled, {'equal' if equal else 'DIFFERENT'}"
        )
        same &= equal
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", choices=["process", "node", "parent", "nothing"], default="process")
    parser.add_argument("--scripted", action="store_true", help="engines without models, of 0.1 s a batch")
    given = parser.parse_args()
    with scratch() as folder:
        sys.exit(not run(folder, given))


def run(folder: Path, given: argparse.Namespace) -> bool:
    from moto.server import ThreadedMotoServer

    s3 = ThreadedMotoServer(port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3.start()
    endpoint = f"http://127.0.0.1:{s3.get_host_and_port()[1]}"
    changes = [f"run.shard_size={-(-given.problems // given.shards)}"]
    if given.scripted:
        engine = "{kind: scripted, max_model_len: 2048, seconds: 0.1}"
        changes += [f"models.{role}.engine={engine}" for role in ("draft", "target", "prm")] + ["run.in_flight=8"]
    else:  # two fleets of engines beside one another on this machine
        changes += [f"models.{role}.engine.replicas=1" for role in ("draft", "prm")]
    source = problems(folder, given.problems)
    one = demo(source, folder / "one", *changes)
    with Site(folder, AWS_ENDPOINT_URL_S3=endpoint, **S3) as site:
        (folder / "one.json").write_text(one.model_dump_json())
        began = time.monotonic()
        whole = subprocess.run(
            [sys.executable, "-m", "flows", "generate", str(folder / "one.json")], env=site.environment, cwd=ROOT
        )
        if whole.returncode:
            raise RuntimeError("the run on one machine failed")
        print(f"on one machine: {time.monotonic() - began:.1f} s")

        drill = Drill(site, "bucket/run")
        drill.fs.mkdir("bucket")
        site.deploy("flows/shards.py:generate_shards", "stepwave", POOL)
        site.deploy("flows/generate.py:generate", "fleet", PARENTS)
        site.run("automation", "create", "--from-file", str(ROOT / "deploy" / "automations" / "crashes.yaml"))
        drill.parent = site.ask("GET", "deployments/name/generate/fleet")["id"]
        site.work("parents", PARENTS, 1)
        for n in range(given.workers):
            site.work(f"worker-{n}", POOL, 1)
        fleet = demo(source, Path("unused"), *changes, f"run.workers={given.workers}", "output.path=s3://bucket/run")
        began = time.monotonic()
        body = {"parameters": {"config": fleet.model_dump(mode="json")}, "state": {"type": "SCHEDULED"}}
        site.ask("POST", f"deployments/{drill.parent}/create_flow_run", body)
        drill.until(lambda: drill.look() or drill.records() >= 2)
        print(f"two shards are done after {time.monotonic() - began:.1f} s: now {given.kill} is killed")
        drill.killed = time.monotonic()
        if given.kill == "process":
            slay(site, "worker-0")
        elif given.kill == "parent":
            slay(site, "parents")
        elif given.kill == "node":
            site.end("worker-0", signal.SIGKILL)
            drill.until(lambda: drill.look() or time.monotonic() - drill.killed > 30)
            site.work("worker-again", POOL, 1)
        drill.until(drill.look)
        print(
            f"the run ended {time.monotonic() - drill.killed:.1f} s after that, {time.monotonic() - began:.1f} s in all"
        )
        manifest = json.loads(drill.fs.cat("bucket/run/manifest.json"))
        steps = pl.concat(pl.read_parquet(drill.fs.cat(file)) for file in drill.fs.ls("bucket/run/steps"))
        print(f"{manifest['counts']['solutions']} solutions, {len(steps)} steps, {len(manifest['sessions'])} processes")
        return compare(folder / "one", drill)


if __name__ == "__main__":
    main()
