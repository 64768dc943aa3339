"""Confirm on this machine what only its GPUs can show, with the demo's models, in about ten minutes:

    .venv/bin/python deploy/confirm.py [--out DIR] [--problems N]

Placement, memory, kill -9 of a run and of an engine, both ways of sharing a GPU, seeds, the PRM against plain
transformers, and a short run with its figures. Each line says `ok` or what was seen instead; what was measured goes to
DIR/confirm.json as well. Exits with 1 where something is not as promised. Without a GPU it does the same on CPUs, where
nothing holds a device's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from schemas.config import PrmConfig  # noqa: E402
from tasks.engines.cards import cards, driver  # noqa: E402
from tasks.engines.devices import on_cpu  # noqa: E402
from tasks.engines.gpu_machine import check_gpu_machine  # noqa: E402
from tasks.errors import UserError  # noqa: E402
from tasks.output.config_file import load_config  # noqa: E402
from tasks.planning.plan import plan_roles  # noqa: E402
from tasks.problems.prompt import user_message  # noqa: E402

SAME = ["problem_id", "sample", "step", "attempt", "role", "text", "accepted", "finish"]
"""What two runs of one configuration agree on, however they were cut, stopped or placed."""
GONE_WITHIN = 30.0
"""Seconds in which what a killed run started must be gone, and its memory given back."""
SLACK = 256 << 20
"""Bytes of a card that others may take or give back meanwhile."""
PARITY = 1e-3
REWARDS = 48
"""Attempts whose reward is computed again."""

Figures = dict[str, Any]


class NotAsPromised(Exception):
    """What was seen instead."""


class Confirmation:
    def __init__(self, out: Path, problems: int) -> None:
        self.out, self.problems = out, problems
        self.cpu = on_cpu()

    def words(self, name: str, *changes: str) -> list[str]:
        """The command of a run called `name`."""
        usual = [
            f"output.path={self.out / name}",
            f"input.limit={self.problems}",
            "decoding.temperature=0.7",
            "run.checkpoint_seconds=0",
            *(f"models.{role}.engine={{dtype: float32}}" for role in ("draft", "target", "prm")),
        ]
        if not self.cpu:
            usual.append("run.batch_invariant=true")  # results must not depend on how batches came about
        sets = [word for change in (*usual, *changes) for word in ("--set", change)]
        return [sys.executable, "-m", "flows", "generate", "deploy/demo/config.yaml", "--json", *sets]

    def start(self, name: str, *changes: str) -> subprocess.Popen[str]:
        log = open(self.out / f"{name}.log", "a")  # noqa: SIM115 - the process writes to it
        return subprocess.Popen(self.words(name, *changes), cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)

    def finish(self, name: str, process: subprocess.Popen[str]) -> Figures:
        said, _ = process.communicate()
        if process.returncode:
            raise NotAsPromised(f"the run {name} ended with exit code {process.returncode}; see {self.out / name}.log")
        return json.loads(said)

    def run(self, name: str, *changes: str) -> Figures:
        return self.finish(name, self.start(name, *changes))

    def steps(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.out / name / "steps" / "*.parquet").sort(SAME[:4])

    def equal(self, name: str, other: str = "run") -> Figures:
        """The attempts of two runs; raises where they differ."""
        one, two = self.steps(name).select(SAME), self.steps(other).select(SAME)
        if not one.equals(two):
            unlike = one.join(two, on=SAME, how="anti").height
            raise NotAsPromised(f"{unlike:,} of {one.height:,} attempts differ from those of the undisturbed run")
        return {"attempts": one.height, "equal": True}

    # --- what is confirmed

    def machine(self) -> Figures:
        if self.cpu:
            return {"device": "cpu"}
        check_gpu_machine()
        version, cuda = driver()
        return {"driver": version, "cuda": cuda / 1000, "cards": [[c.uuid, c.total, c.free] for c in cards()]}

    def placement(self) -> Figures:
        words = self.words("run")
        words[3] = "check"
        told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        if told.returncode:
            raise NotAsPromised(told.stderr.strip())
        models = json.loads(told.stdout)["models"]
        return {role: [m["device"], m["weight_bytes"], m["cache_bytes"]] for role, m in models.items()}

    def short_run(self) -> Figures:
        before = free()
        manifest = self.run("run")
        seconds = manifest["seconds"]
        written = sum(manifest["counts"][f"{role}_tokens"] for role in ("draft", "target"))
        return {
            "solved": manifest["counts"]["correct"] / manifest["counts"]["solutions"],
            "seconds": round(seconds["total"], 1),
            "of_them_starting": round(seconds["engines"], 1),
            "tokens_per_second": round(written / max(seconds["total"] - seconds["engines"], 0.1)),
            "memory_back_after_s": given_back(before),
        }

    def seeds(self) -> Figures:
        """Sampled solutions, cut into other shards, are the same."""
        self.run("again", "run.shard_size=37")
        return self.equal("again")

    def killed_run(self) -> Figures:
        before = free()
        process = self.start("killed", "run.shard_size=40")
        family = self.at_work(process, "killed")
        began = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = psutil.wait_procs(family, timeout=GONE_WITHIN)[1]
        if left := [p for p in left if p.status() != psutil.STATUS_ZOMBIE]:
            raise NotAsPromised(f"still there {GONE_WITHIN:.0f} s after kill -9: {left}")
        gone = round(time.monotonic() - began, 1)
        back = given_back(before)
        self.run("killed", "run.shard_size=40")
        return {"processes": len(family), "gone_after_s": gone, "memory_back_after_s": back, **self.equal("killed")}

    def killed_engine(self) -> Figures:
        process = self.start("engine", "run.shard_size=40")
        family = self.at_work(process, "engine")
        named = {p.pid: p.name() for p in family if p.is_running()}
        core = next((pid for pid, name in named.items() if "EngineCore" in name), None)
        victim = core or next(pid for pid, name in named.items() if name.startswith("stepwave-target"))
        os.kill(victim, signal.SIGKILL)
        self.finish("engine", process)
        return {"killed": named[victim], **self.equal("engine")}

    def turns(self) -> Figures:
        manifest = self.run("turns", "run.sharing=turns")
        return {"seconds": round(manifest["seconds"]["total"], 1), **self.equal("turns")}

    def parity(self) -> Figures:
        """Rewards of the run, computed again by plain transformers in float32 on the CPU."""
        import torch
        import transformers
        from safetensors.torch import load_file
        from transformers import Qwen2Model

        transformers.logging.set_verbosity_error()  # the head's weights are not the backbone's
        transformers.logging.disable_progress_bar()
        config = load_config(str(self.out / "run" / "config.yaml"), [])
        roles, reads = plan_roles(config)
        assert reads is not None
        prm = config.model("prm")
        assert isinstance(prm, PrmConfig)
        backbone = Qwen2Model.from_pretrained(prm.model, dtype=torch.float32).eval()
        weights = load_file(os.path.join(prm.model, "model.safetensors"))
        head = [(weights[f"score.{n}.weight"].float(), weights[f"score.{n}.bias"].float()) for n in (0, 2)]
        texts = dict(
            pl.read_parquet(self.out / "run" / "solutions" / "*.parquet").select("problem_id", "problem").rows()
        )
        steps = self.steps("run")
        worst = 0.0
        scored = steps.filter(pl.col("reward").is_not_null())
        for row in scored.sample(min(REWARDS, scored.height), seed=0).to_dicts():
            of_problem = (pl.col("problem_id") == row["problem_id"]) & (pl.col("sample") == row["sample"])
            before = steps.filter(of_problem & pl.col("accepted") & (pl.col("step") < row["step"]))
            said = [*before["text"].to_list(), row["text"]]
            ids = roles["prm"].vocabulary.prompts([user_message(config.prompt, texts[row["problem_id"]], None)])[0]
            for part in (*reads.encode_steps(said, range(len(said))), reads.tail):
                ids = ids + part
            with torch.no_grad():
                hidden = backbone(torch.tensor([list(ids)])).last_hidden_state[0, -1]
                hidden = torch.relu(head[0][0] @ hidden + head[0][1])
                right = torch.softmax(head[1][0] @ hidden + head[1][1], -1)[1]
            worst = max(worst, abs(float(right) - row["reward"]))
        if worst > PARITY:
            raise NotAsPromised(f"a reward is off by {worst:.2g}, {PARITY:g} are allowed")
        return {"rewards": min(REWARDS, scored.height), "largest_error": worst}

    def at_work(self, process: subprocess.Popen[str], name: str) -> list[psutil.Process]:
        """All that a run has started, once it has written something."""
        while process.poll() is None:
            if list((self.out / name).glob("checkpoints/0*/*.parquet")) or list((self.out / name).glob("shards/*")):
                return psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.05)
        raise NotAsPromised(f"the run {name} ended before it could be killed; see {self.out / name}.log")


def free() -> list[int]:
    """Bytes that are free on each card; none on CPUs."""
    return [] if on_cpu() else [card.free for card in cards()]


def given_back(before: list[int]) -> float | None:
    """Seconds until the cards have as much free as before. None on CPUs."""
    began = time.monotonic()
    while before and time.monotonic() - began < GONE_WITHIN:
        if all(now >= was - SLACK for now, was in zip(free(), before, strict=True)):
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    if before:
        held = [str(holder) for card in cards() for holder in card.holders]
        raise NotAsPromised(
            f"a card is not given back after {GONE_WITHIN:.0f} s; held by {', '.join(held) or 'nobody'}"
        )
    return None


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, default=ROOT / "runs" / "confirm")
    words.add_argument("--problems", type=int, default=160)
    given = words.parse_args()
    out = given.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    asked = Confirmation(out, given.problems)
    checks: list[Callable[[], Figures]] = [
        asked.machine,
        asked.placement,
        asked.short_run,
        asked.seeds,
        asked.killed_run,
        asked.killed_engine,
        asked.turns,
        asked.parity,
    ]
    found: dict[str, Figures] = {}
    for check in checks:
        began = time.monotonic()
        try:
            found[check.__name__] = {"ok": True} | check()
        except (NotAsPromised, UserError) as error:
            found[check.__name__] = {"ok": False, "seen": str(error)}
        figures = found[check.__name__]
        told = ", ".join(f"{name} {value}" for name, value in figures.items() if name not in ("ok", "seen"))
        verdict = "ok" if figures["ok"] else f"NOT as promised: {figures['seen']}"
        print(
            f"{check.__name__:<14} {verdict}{'; ' + told if told else ''} ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
        (out / "confirm.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(figures["ok"] for figures in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
