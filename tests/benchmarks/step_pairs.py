"""How often step-dpo's pairs are right, by --margin: python tests/benchmarks/step_pairs.py [RUN ...]

Takes runs of the demo's models on its problems (without any: makes them, with rsd at 0.5, 0.7 and 0.9), scores the
target's steps, and holds every pair whose earlier steps are true against `label_steps` of the recipe: a pair is right
where its chosen step is true and its rejected one false.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "deploy" / "demo"
sys.path[:0] = [str(ROOT), str(DEMO / "recipe")]

import polars as pl  # noqa: E402
from problems import label_steps  # noqa: E402

THRESHOLDS = (0.5, 0.7, 0.9)
MARGINS = [n / 10 for n in range(10)]
SEPARATOR = "\n\n"


def stepwave(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "flows", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def make_runs(folder: Path) -> list[str]:
    runs = []
    for threshold in THRESHOLDS:
        out = str(folder / f"rsd-{threshold}")
        changes = [f"output.path={out}", f"decoding.accept.threshold={threshold}"]
        stepwave("generate", str(DEMO / "config.yaml"), *(word for change in changes for word in ("--set", change)))
        runs.append(out)
    return runs


def judged(run: str, folder: Path) -> pl.DataFrame:
    """A row for each pair whose earlier steps are true: wide (difference of rewards), chosen, rejected (are true)."""
    data = folder / "data" / Path(run).name
    stepwave("export", "step-dpo", run, str(data), "--margin", "-1", "--splits", "none", "--unscored", "score")
    solutions = pl.read_parquet(f"{run}/solutions/*.parquet")
    solutions = solutions.select("problem_id", "sample", "solution", "reference", "metadata")
    rows = []
    pairs = pl.read_parquet(data / "data" / "*.parquet").join(solutions, on=["problem_id", "sample"])
    for row in pairs.iter_rows(named=True):
        before = row["solution"].split(SEPARATOR)[: row["step"]]
        truth = json.loads(row["metadata"])["truth"]
        truth = json.loads(truth) if isinstance(truth, str) else truth
        chosen, rejected = (
            label_steps([*before, row[name].removesuffix(SEPARATOR)], truth, row["reference"])
            for name in ("chosen", "rejected")
        )
        if all(chosen[:-1]):
            wide = row["chosen_reward"] - row["rejected_reward"]
            rows.append({"wide": wide, "chosen": chosen[-1], "rejected": rejected[-1]})
    return pl.DataFrame(rows)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stepwave-benchmark-") as name:
        folder = Path(name)
        runs = sys.argv[1:] or make_runs(folder)
        found = {Path(run).name: judged(str(Path(run).resolve()), folder) for run in runs}
    found["all"] = pl.concat(found.values())
    print(f"| margin | {' | '.join(found)} |")
    print("|---" * (len(found) + 1) + "|")
    for margin in MARGINS:
        cells = []
        for pairs in found.values():
            some = pairs.filter(pl.col("wide") >= margin)
            right = some.filter(pl.col("chosen") & ~pl.col("rejected"))
            cells.append(f"{len(right) / max(len(some), 1):.1%} of {len(some)}")
        print(f"| {margin:g} | {' | '.join(cells)} |")
    every = found["all"]
    right = every.filter(pl.col("chosen") & ~pl.col("rejected"))
    print(f"\nwhatever the margin: {len(right) / max(len(every), 1):.1%} of {len(every)}")


if __name__ == "__main__":
    main()
