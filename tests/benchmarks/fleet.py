"""A simulated fleet: what the parent holds, and what server and store are asked, against the number of rows.

    python tests/benchmarks/fleet.py [--sizes 125000:8 250000:16 500000:32 1000000:64] [--workers 2]

Each size is ROWS:GROUPS: so many short problems, shared by so many flow runs of `generate-shards`, which --workers
process workers take up one after another; shards are as large in all. A Prefect server, workers, an S3 server over
HTTP: each a real process. Engines are scripted and answer at once with one or two short steps, problems have no answer
to grade: what is left is what a fleet does beside computing.

Prefect's server and the S3 server log every request; the parent's memory is looked at twice a second. Requests that are
made every so many seconds, whatever there is to do (workers' looks for work, the parent's looks at its flow runs), are
counted apart, for they go with time. Keep the rows of a group the same, for a flow run's start has its requests, too.
Exit code 1: the parent's memory or the requests per shard grow by more than 10% from the first size to the last.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from demo_problems import demo, scratch
from prefect_site import ROOT, Site

from schemas.config import Config

POOL = "stepwave-gpu"
REQUEST = re.compile(r'"(GET|PUT|POST|HEAD|DELETE|PATCH) (\S+) HTTP')
KINDS = {
    "sessions": r"/checkpoints/sessions/",
    "claims": r"claim",
    "waves of checkpoints": r"/checkpoints/\d",
    "listings": r"list-type=2",
    "records": r"/shards/",
    "tables": r"/(solutions|steps|rejected)/",
    "report": r"/report/",
}
POLLING = re.compile(r"get_scheduled_flow_runs|flow_runs/filter|/work_pools/[^/]+(/workers\S*)?$|/health")
"""Paths at Prefect's server that are asked for every so many seconds."""
S3 = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Memory(threading.Thread):
    """Looks at what a process holds by itself."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.seen: list[int] = []

    def run(self) -> None:
        while self.process.poll() is None:
            try:
                self.seen.append(psutil.Process(self.process.pid).memory_full_info().uss)
            except psutil.Error:
                return
            time.sleep(0.5)


def requests(log: Path, at: int) -> tuple[list[tuple[str, str]], int]:
    """Method and path of every request that a server has logged since its log was `at` bytes long, and its length."""
    with log.open("rb") as f:
        f.seek(at)
        text = f.read()
    return REQUEST.findall(text.decode(errors="replace")), at + len(text)


def kind(path: str) -> str:
    return next((name for name, pattern in KINDS.items() if re.search(pattern, path)), "other")


def problems(folder: Path, rows: int) -> str:
    path = folder / f"rows-{rows}.parquet"
    pl.DataFrame({"problem": [f"What is {i} + {i % 97}?" for i in range(rows)]}).write_parquet(
        path, row_group_size=8192
    )
    return str(path)


def configured(source: str, rows: int, groups: int, shard_size: int) -> Config:
    engine = "{kind: scripted, max_model_len: 2048, steps: 1.3, tokens_per_step: 3}"
    return demo(
        source,
        Path("unused"),
        *(f"models.{role}.engine={engine}" for role in ("draft", "target", "prm")),
        f"output.path=s3://bucket/run-{rows}-{groups}",
        "decoding.accept.threshold=0.3",
        f"run={{shard_size: {shard_size}, workers: {groups}, deployment: generate-shards/stepwave}}",
    )


def measure(site: Site, folder: Path, rows: int, groups: int, shard_size: int) -> dict[str, Any]:
    config = configured(problems(folder, rows), rows, groups, shard_size)
    job = folder / "job.json"
    job.write_text(config.model_dump_json())
    logs = {name: folder / f"{name}.log" for name in ("server", "s3")}
    at = {name: log.stat().st_size for name, log in logs.items()}
    began = time.monotonic()
    with (folder / f"parent-{rows}.log").open("wb") as log:
        parent = subprocess.Popen(
            [sys.executable, "-m", "flows", "generate", str(job)],
            env=site.environment,
            cwd=ROOT,
            stderr=log,
            stdout=log,
        )
        memory = Memory(parent)
        memory.start()
        if parent.wait():
            raise RuntimeError((folder / f"parent-{rows}.log").read_text()[-2000:])
    seconds = time.monotonic() - began
    memory.join()
    shards = -(-rows // shard_size)
    asked = {name: requests(logs[name], at[name])[0] for name in logs}
    kinds = Counter(f"{method} {kind(path)}" for method, path in asked["s3"])
    work = [(method, path) for method, path in asked["server"] if not POLLING.search(path)]
    server = Counter(f"{method} {re.sub('[0-9a-f-]{36}', 'ID', path).partition('?')[0]}" for method, path in work)
    middle = memory.seen[len(memory.seen) // 4 : len(memory.seen) * 3 // 4]
    return {
        "rows": rows,
        "groups": groups,
        "shards": shards,
        "seconds": round(seconds, 1),
        "parent_mib": {
            "peak": round(max(memory.seen) / 2**20),
            "watching": round(sum(middle) / len(middle) / 2**20),
            "from_to": [round(middle[0] / 2**20), round(middle[-1] / 2**20)],
        },
        "server": len(work),
        "server_per_shard": round(len(work) / shards, 2),
        "server_per_group": round(len(work) / groups, 1),
        "polls_a_second": round((len(asked["server"]) - len(work)) / seconds, 2),
        "store": len(asked["s3"]),
        "store_per_shard": round(len(asked["s3"]) / shards, 2),
        "store_kinds_per_shard": {name: round(n / shards, 2) for name, n in kinds.most_common()},
        "server_kinds": dict(server.most_common(12)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["125000:8", "250000:16", "500000:32", "1000000:64"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=2048)
    given = parser.parse_args()
    found = []
    with scratch() as folder, (folder / "s3.log").open("wb") as log:
        s3 = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", "5077", "-H", "127.0.0.1"], stdout=log, stderr=log
        )
        try:
            endpoint = "http://127.0.0.1:5077"
            with Site(folder, AWS_ENDPOINT_URL_S3=endpoint, PREFECT_SERVER_LOGGING_LEVEL="INFO", **S3) as site:
                make_bucket(endpoint)
                site.deploy("flows/shards.py:generate_shards", "stepwave", POOL)
                for n in range(given.workers):
                    site.work(f"worker-{n}", POOL, 1)
                for size in given.sizes:
                    rows, _, groups = size.partition(":")
                    found.append(measure(site, folder, int(rows), int(groups), given.shard_size))
                    print(json.dumps(found[-1]), flush=True)
        finally:
            s3.kill()
            s3.wait()
    print(table(found))
    first, last = found[0], found[-1]
    growth = {
        "the parent's memory": last["parent_mib"]["watching"] / first["parent_mib"]["watching"] - 1,
        "requests to the server per shard": last["server_per_shard"] / first["server_per_shard"] - 1,
        "requests to the store per shard": last["store_per_shard"] / first["store_per_shard"] - 1,
    }
    for name, share in growth.items():
        print(f"{name}: {share:+.1%} from {first['rows']:,} to {last['rows']:,} rows")
    sys.exit(max(growth.values()) > 0.1)


def make_bucket(endpoint: str) -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    for _ in range(100):
        try:
            client.create_bucket(Bucket="bucket")
            return
        except Exception:
            time.sleep(0.2)
    raise RuntimeError("the S3 server did not start")


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| rows | groups | shards | seconds | parent, MiB | server, requests a shard | store, requests a shard |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in found:
        cells = [f"{row['rows']:,}", row["groups"], row["shards"], row["seconds"]]
        cells += [f"{row['parent_mib']['watching']} (peak {row['parent_mib']['peak']})"]
        cells += [row["server_per_shard"], row["store_per_shard"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
