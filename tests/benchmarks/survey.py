"""How long does the first pass over a problem set take, and how much memory?

Every column of every row is read, and each row judged, with models that find no prompt too long. Processor time is told
beside time: on a busy machine it is the one to compare.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from schemas.config import InputConfig
from tasks.problems.survey import survey
from tasks.storage.stores import Stores

WORDS = ["the", "sum", "of", "two", "integers", "find", "how", "many", "remainder", "prime", "circle", "area", "x^2"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=300_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"| {asked.rows:,} rows with | MB | seconds | of a processor |\n|---|---|---|---|")
        for name, table in tables(asked.rows).items():
            path = Path(folder) / "problems.parquet"
            pq.write_table(table, path, row_group_size=50_000)
            seconds, processor = measured(str(path), asked.rounds)
            print(f"| {name} | {path.stat().st_size / 1e6:.0f} | {seconds:.2f} | {processor:.2f} |")
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def tables(rows: int) -> dict[str, pa.Table]:
    draw = random.Random(0)
    columns = {
        "problem": [" ".join(draw.choices(WORDS, k=40)) + f" {i}" for i in range(rows)],
        "answer": [str(i % 1000) for i in range(rows)],
        "problem_id": [f"p{i}" for i in range(rows)],
        "level": [i % 5 for i in range(rows)],
        "solution": [" ".join(draw.choices(WORDS, k=120)) for _ in range(rows)],
    }
    whole = pa.table(columns)
    few = list(columns)[:2]
    return {
        "problem and answer": whole.select(few),
        "their ids": whole.select([*few, "problem_id"]),
        "a solution of 600 characters": whole,
    }


def measured(path: str, rounds: int) -> tuple[float, float]:
    """Seconds, and seconds of a processor: the least of all rounds."""
    found = []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        survey(InputConfig(path=path), Stores(), lambda prompts: [False] * len(prompts))
        found.append((time.perf_counter() - began, time.process_time() - used))
    return min(seconds for seconds, _ in found), min(used for _, used in found)


if __name__ == "__main__":
    main()
