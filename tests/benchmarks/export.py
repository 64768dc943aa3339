"""How fast datasets are made of a large run, and in how much memory: python tests/benchmarks/export.py [ATTEMPTS]

Makes a run of a million attempts (four samples of a problem; texts of random words) and four roll-outs of each of its
steps, then exports it in processes of their own: attempts per second, and the peak of memory above that of a process
that has only imported what it needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import yaml  # noqa: E402

from schemas.rollouts import RolloutOptions  # noqa: E402
from schemas.tables import SOLUTIONS, STEPS  # noqa: E402
from tasks.configuration.parsing import parse_config  # noqa: E402
from tasks.export.filters import Filters  # noqa: E402
from tasks.export.rollouts import choosing  # noqa: E402
from tasks.export.rollouts.record import sealed  # noqa: E402
from tasks.export.runs import open_runs, read  # noqa: E402
from tasks.output.directory import Identity, RunDirectory  # noqa: E402
from tasks.storage.store import Store  # noqa: E402
from tasks.storage.stores import Stores  # noqa: E402

ATTEMPTS = 1_000_000
PROBLEMS, SAMPLES, STEPS_EACH = 1024, 4, 6
"""Problems of a shard; samples of each; steps of each sample, one of which is rejected and written again."""
WORDS = np.array([f"w{n:03d}" for n in range(900)] + list("+-*/=") * 20)
KINDS = (
    ("sft",),
    ("sft", "--per-problem", "2", "--decontaminate", "benchmark.jsonl"),
    ("step-dpo", "--unscored", "keep"),
    ("dpo",),
    ("prm", "--unscored", "drop"),
    ("prm", "--labels", "rollouts", "--rollouts", "rollouts"),
)
FILES = ("--decontaminate", "--rollouts")
"""Options that name files of this benchmark."""


def texts(rng: np.random.Generator, count: int, words: int) -> pl.Series:
    """Random sentences, each word a draw."""
    drawn = pl.Series(WORDS[rng.integers(0, len(WORDS), count * words)])
    return drawn.reshape((count, words)).arr.join(" ")


def shard(rng: np.random.Generator, number: int, run_id: str) -> dict[str, pa.Table]:
    """Its tables, as a run writes them."""
    solutions = PROBLEMS * SAMPLES
    of = np.arange(solutions)
    problem = pl.DataFrame({"problem": texts(rng, PROBLEMS, 30)}).with_columns(
        problem_id=pl.format("p{}", pl.int_range(pl.len()) + number * PROBLEMS)
    )
    base = problem[of // SAMPLES].with_columns(sample=pl.Series(of % SAMPLES, dtype=pl.Int32), row=pl.Series(of))
    redone = pl.Series(rng.integers(0, STEPS_EACH, solutions))
    steps = base.drop("problem").with_columns(redone=redone, step=pl.int_ranges(0, pl.lit(STEPS_EACH))).explode("step")
    twice = pl.concat(
        [
            steps.filter(pl.col("step") == pl.col("redone")).with_columns(
                attempt=0, role=pl.lit("draft"), accepted=False
            ),
            steps.filter(pl.col("step") == pl.col("redone")).with_columns(
                attempt=1, role=pl.lit("target"), accepted=True
            ),
            steps.filter(pl.col("step") != pl.col("redone")).with_columns(
                attempt=0, role=pl.lit("draft"), accepted=True
            ),
        ]
    ).sort("row", "step", "attempt")
    reward = pl.Series(rng.random(len(twice)), dtype=pl.Float32)
    twice = twice.with_columns(
        text=texts(rng, len(twice), 20) + "\n\n",
        reward=pl.when(pl.col("role") == "draft").then(reward),
        tokens=20,
        finish=pl.lit("step"),
        token_ids=pl.Series(rng.integers(0, 50_000, (len(twice), 20))).arr.to_list(),
    )
    kept = twice.filter("accepted").group_by("row", maintain_order=True).agg(pl.col("text").str.join(""))["text"]
    base = base.with_columns(
        solution=kept,
        correct=pl.Series(rng.random(solutions) < 0.6),
        verdict=pl.lit("wrong"),
        reference=pl.lit("7"),
        status=pl.lit("finished"),
        steps=STEPS_EACH,
        draft_steps=STEPS_EACH - 1,
        min_reward=pl.Series(rng.random(solutions), dtype=pl.Float32),
    )
    same = {"run_id": run_id, "shard": number}
    return {"solutions": table(base, SOLUTIONS, same), "steps": table(twice, STEPS, same)}


def table(frame: pl.DataFrame, schema: pa.Schema, same: dict[str, Any]) -> pa.Table:
    """With every column of the schema: what the frame lacks is null, or nothing of its type."""
    nothing = {pa.string(): "", pa.bool_(): False}
    columns = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    found = []
    for field in schema:
        if field.name in columns.schema.names:
            found.append(columns[field.name].cast(field.type))
        else:
            value = same.get(field.name, None if field.nullable else nothing.get(field.type, 0))
            found.append(pa.repeat(pa.scalar(value, field.type), len(frame)))
    return pa.table(found, schema)


def begun(store: Store, config: dict[str, Any]) -> tuple[RunDirectory, Identity]:
    text = yaml.safe_dump(config)
    store.write("config.yaml", text.encode())
    return RunDirectory(store), Identity.of(parse_config(text, [], "config.yaml"), {}, "1" * 64)


def make_run(folder: Path, attempts: int) -> None:
    store = Store(str(folder))
    models = {role: {"model": role} for role in ("draft", "target", "prm")}
    config = {"input": {"path": "/p"}, "output": {"path": str(folder)}, "models": models}
    output, identity = begun(store, config)
    rng = np.random.default_rng(0)
    shards = -(-attempts // (PROBLEMS * SAMPLES * (STEPS_EACH + 1)))
    for number in range(shards):
        output.commit(number, identity, shard(rng, number, identity.run_id), {"failed": 0}, {})
    output.finish(identity, {"shards": shards, "finished_at": "2026-01-02T03:04:05+00:00"})


def make_rollouts(run: Path, folder: Path) -> None:
    """Of every step, some of them right."""
    of = {"asked": {}, "of": {"run_id": "any"}, "shards": {"taken": [], "of": None, "whole": True}}
    Store(str(folder)).write("rollouts.json", sealed(of | {"chosen": None}))
    store = Store(str(folder / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"decoding": {"method": "target"}}
    config["input"]["prefix"] = "steps"
    output, identity = begun(store, config)
    rng = np.random.default_rng(2)
    number = 0
    for source in read(open_runs([str(run)], Stores())[0], choosing.MORE_OF_SOLUTIONS):
        chosen = choosing.choose(source, RolloutOptions(), Filters())
        rows = pl.read_parquet(choosing.problem_set(source, chosen))
        about = pl.struct("steps", "of_run", "of_problem", "of_sample", "of_step", "of_attempt").struct.json_encode()
        for some in rows.select("problem_id", "problem", metadata=about).iter_slices(1024):
            samples = pl.DataFrame({"sample": range(4)}, schema={"sample": pl.Int32})
            of_all = some.join(samples, how="cross").with_columns(
                correct=pl.Series(rng.random(4 * len(some)) < 0.6), status=pl.lit("finished"), solution=pl.lit("So.")
            )
            same = {"run_id": identity.run_id, "shard": number}
            tables = {"solutions": table(of_all, SOLUTIONS, same), "steps": STEPS.empty_table()}
            output.commit(number, identity, tables, {"failed": 0}, {})
            number += 1
    output.finish(identity, {"shards": number, "finished_at": "2026-01-02T03:04:05+00:00"})


MEASURED = """
import json, sys, time
import flows.export, tasks.export.dataset, tasks.export.card
from schemas.export import ExportOptions
from tasks.storage.stores import Stores

def memory(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(name))

before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
kind, out, dest, options = sys.argv[1:]
began, used = time.perf_counter(), time.process_time()
made = flows.export.export(kind, [out], dest, ExportOptions(**json.loads(options)), Stores())
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "processor": time.process_time() - used, "before": before,
    "above": memory("VmHWM") - before, "attempts": made["seen"]["attempts"], "rows": made["rows"]}))
"""


def measured(kind: tuple[str, ...], run: Path, folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in zip(kind[1::2], kind[2::2], strict=True):
        key = name.removeprefix("--").replace("-", "_")
        options[key] = [str(folder / value)] if name in FILES else int(value) if value.isdigit() else value
    dest = folder / f"data-{time.monotonic_ns()}"
    command = [sys.executable, "-c", MEASURED, kind[0], str(run), str(dest), json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    attempts = int(sys.argv[1]) if len(sys.argv) > 1 else ATTEMPTS
    with tempfile.TemporaryDirectory(prefix="stepwave-benchmark-") as name:
        folder = Path(name)
        make_run(folder / "run", attempts)
        make_rollouts(folder / "run", folder / "rollouts")
        rng = np.random.default_rng(1)
        lines = [json.dumps({"problem": text}) for text in texts(rng, 5000, 60).to_list()]
        (folder / "benchmark.jsonl").write_text("\n".join(lines))
        for made in ("run", "rollouts"):
            size = sum(path.stat().st_size for path in (folder / made).rglob("*.parquet")) / 2**20
            print(f"{made}: {size:,.0f} MiB of tables", flush=True)
        for kind in KINDS:
            found = measured(kind, folder / "run", folder)
            rate = found["attempts"] / found["seconds"]
            print(
                f"{' '.join(kind)}: {found['attempts']:,} attempts in {found['seconds']:.1f} s "
                f"({found['processor']:.1f} s of processor), {rate:,.0f} a second; {found['above']:.0f} MiB above "
                f"{found['before']:.0f} MiB; {found['rows']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
