"""Stepwave beside the loop of RSD's authors, on the same models, problems and machine.

Rounds are interleaved: theirs, ours, theirs, ours. Theirs runs on three servers that stay up, with their prefix caches
emptied before each round; ours opens its engines anew for each round, so that its caches are as cold. Both are timed
from the first request to the last answer with engines standing; ours has reading, checkpoints, grading and Parquet
within its time, theirs has not (see authors_loop.py, pipeline_run.py). The one waits while the other runs: the
processor time that the servers burn meanwhile is printed, and should be next to nothing.

Prints a Markdown table of medians and, as the last line, everything as one JSON object. Exit code 1 where the shares of
problems solved differ by more than --apart.

    .venv/bin/python tests/benchmarks/against_authors.py --problems 500 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pipeline_run
import same_work
from authors_loop import AuthorsLoop
from openai_servers import serving

from tasks.errors import UserError
from tasks.planning.plan import make_plan

Round = dict[str, Any]


def measure(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Both sides' rounds, and what stands beside them."""
    plan = make_plan(same_work.configured(options, folder))
    problems = same_work.read_problems(plan)
    if len(problems) < options.problems:
        raise UserError(f"{plan.config.input.path} holds {len(problems)} problems, not {options.problems}")
    theirs: list[Round] = []
    ours: list[Round] = []
    began = time.perf_counter()
    with serving(plan, Path(folder), options) as servers:
        start = time.perf_counter() - began
        loop = AuthorsLoop(plan, servers)
        for number in range(options.rounds):
            found = loop.run(problems)
            theirs.append(
                {
                    "seconds": found.seconds,
                    "waited": found.waited,
                    "solved": same_work.solved(found.texts()),
                    "computed": found.computed,
                }
            )
            tell(number, "theirs", theirs[-1])
            burnt = sum(server.cpu_seconds() for server in servers.values())
            run = asyncio.run(pipeline_run.run(plan, f"{folder}/round-{number}"))
            ours.append(
                {
                    "seconds": run.seconds,
                    "start_seconds": run.start_seconds,
                    "solved": run.solved,
                    "computed": run.computed,
                    "idle_servers_cpu_seconds": sum(server.cpu_seconds() for server in servers.values()) - burnt,
                }
            )
            tell(number, "ours", ours[-1])
    return {"problems": len(problems), "servers_start_seconds": start, "theirs": theirs, "ours": ours}


def tell(number: int, side: str, found: Round) -> None:
    print(f"round {number + 1}, {side}: {found['seconds']:.2f} s, {found['solved']:.1%} solved", file=sys.stderr)


def table(found: dict[str, Any]) -> str:
    """Medians of both sides as a Markdown table, with the ratio theirs : ours."""

    def row(name: str, value: Callable[[Round], float], form: str) -> str:
        sides = [statistics.median(value(of) for of in found[side]) for side in ("theirs", "ours")]
        ratio = f"{sides[0] / sides[1]:.2f}" if sides[1] else ""
        return f"| {name} | {sides[0]:{form}} | {sides[1]:{form}} | {ratio} |"

    lines = [
        "| median | theirs | ours | theirs / ours |",
        "|---|---|---|---|",
        row("seconds of decoding", lambda of: of["seconds"], ",.2f"),
        row("problems per second", lambda of: found["problems"] / of["seconds"], ",.1f"),
        row("solved", lambda of: of["solved"], ".1%"),
    ]
    for role in found["ours"][0]["computed"]:
        for count in ("requests", "generated", "prefilled", "cached"):
            if any(of["computed"][role][count] for side in ("theirs", "ours") for of in found[side]):
                what = {"generated": "tokens written", "prefilled": "prompt tokens computed"}.get(count)
                what = what or {"cached": "prompt tokens from cache"}.get(count, count)
                lines.append(row(f"{role}: {what}", lambda of, r=role, c=count: of["computed"][r][c], ",.0f"))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    same_work.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--apart", type=float, default=0.02, help="most by which the shares solved may differ")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, folder)
    idle = max(of["idle_servers_cpu_seconds"] for of in found["ours"])
    starts = statistics.median(of["start_seconds"] for of in found["ours"])
    print(f"{found['problems']} problems, {options.rounds} rounds a side\n")
    print(table(found))
    print(f"\nStart, apart: servers {found['servers_start_seconds']:.1f} s, engines {starts:.1f} s (median).")
    print(f"Processor time of the idle servers during a round of ours, engine start included: at most {idle:.2f} s.")
    shares = [statistics.median(of["solved"] for of in found[side]) for side in ("theirs", "ours")]
    agree = abs(shares[0] - shares[1]) <= options.apart
    print(f"Shares solved: {shares[0]:.1%} and {shares[1]:.1%}{'' if agree else ': too far apart to compare'}.\n")
    print(json.dumps(found))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(same_work.told(main))
