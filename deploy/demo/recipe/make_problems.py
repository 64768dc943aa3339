"""Write a problem set as Parquet, for example: make_problems.py problems.parquet 500 7

Columns: problem_id, problem, answer (digits), level (number of facts, 3 to 7), source, truth (JSON: every quantity's
true value, so that each step of a solution can be checked with problems.label_steps). No problem comes twice.
"""

import argparse
import json
import random

import polars as pl
from problems import make_problem


def problem_rows(count: int, seed: int, prefix: str) -> list[dict]:
    rng, rows, seen = random.Random(seed), [], set()
    while len(rows) < count:
        p = make_problem(rng)
        if p["problem"] in seen:
            continue
        seen.add(p["problem"])
        rows.append(
            {
                "problem_id": f"{prefix}-{len(rows):05d}",
                "problem": p["problem"],
                "answer": p["answer"],
                "level": p["depth"],
                "source": "stepwave-demo",
                "truth": json.dumps(p["truth"]),
            }
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the Parquet file to write")
    parser.add_argument("count", type=int)
    parser.add_argument(
        "seed", type=int, help="not 5, 31, 777 or 1000 to 1240: training and its checks draw from those"
    )
    parser.add_argument("--prefix", default="demo", help="of the problem ids")
    given = parser.parse_args()
    pl.DataFrame(problem_rows(given.count, given.seed, given.prefix)).write_parquet(given.out)
