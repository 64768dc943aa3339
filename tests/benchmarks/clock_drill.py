"""Several processes on one output, each by a clock of its own, that are killed and stopped all the time.

    python tests/benchmarks/clock_drill.py [--rounds 20] [--processes 6] [--kills 23] [--stops 12] [--shards 24]

Real processes of `stepwave generate` on scripted engines, whose clocks are off by up to an hour either way. A killed
one is started again at once, with another clock. Most stops last some seconds; the last of a round's lasts for longer
than a process may be silent. Each round ends when the manifest is there and every process has ended by itself; then its
tables are compared with those of a run that nobody disturbed. Prints a line for each round; exit code 1 where rows are
lost or doubled, tables differ from their records or the other run's, a claim is left, or a round takes longer than
twice an undisturbed one with as many processes, plus the time after which a silent process is taken for dead.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("faults", "flows", "benchmarks"))]

from campaign import Process, same_as_undisturbed  # noqa: E402
from demo_problems import demo, problems, scratch  # noqa: E402
from prefect_site import Site  # noqa: E402

from tasks.output.liveness import DEAD, RENEW  # noqa: E402

OFF = (-3600.0, -1800.0, -90.0, 0.0, 90.0, 1800.0, 3600.0)
"""Seconds by which a process's clock may be off."""
TAKE_OVER = DEAD + 2 * RENEW
"""Seconds until a silent process's shards are another's, with the looks at it."""
LONG = DEAD + 4 * RENEW
"""Seconds of the stop that is taken for death."""


class Crew:
    """The processes of a round."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str], draw: random.Random) -> None:
        self.words, self.folder, self.environment, self.draw = words, folder, environment, draw
        self.processes: list[Process] = []
        self.waking: dict[int, float] = {}
        """Process id to the time at which a stopped one goes on."""
        self.logs = iter(range(10_000))

    def start(self) -> None:
        off = {"CLOCK_IS_OFF": str(self.draw.choice(OFF))}
        log = self.folder / f"process-{next(self.logs)}.log"
        self.processes.append(Process(self.words, log, self.environment | off))

    def at_work(self) -> list[Process]:
        """Those that go on, and were not stopped."""
        return [p for p in self.processes if p.popen.poll() is None and p.popen.pid not in self.waking]

    def kill(self, process: Process) -> None:
        process.kill()
        self.processes.remove(process)
        self.start()

    def stop(self, process: Process, seconds: float) -> None:
        os.kill(process.popen.pid, signal.SIGSTOP)
        self.waking[process.popen.pid] = time.monotonic() + seconds

    def wake(self, all_of_them: bool = False) -> None:
        for pid, due in list(self.waking.items()):
            if all_of_them or time.monotonic() >= due:
                os.kill(pid, signal.SIGCONT)
                del self.waking[pid]


def play(out: Path, crew: Crew, given: argparse.Namespace, kills: int, stops: int) -> float:
    """One round; returns its seconds until the run is complete."""
    began = time.monotonic()
    for _ in range(given.processes):
        crew.start()
    happens = ["kill"] * kills + ["stop"] * stops
    crew.draw.shuffle(happens)
    due = began + crew.draw.uniform(2, 5)
    while not (out / "manifest.json").exists():
        if time.monotonic() - began > 900:
            raise RuntimeError("a round does not end")
        crew.wake()
        if happens and time.monotonic() >= due and crew.at_work() and out.exists():
            what = happens.pop()
            victim = crew.draw.choice(crew.at_work())
            if what == "kill":
                crew.kill(victim)
            else:
                crew.stop(victim, crew.draw.uniform(1, 8) if "stop" in happens else LONG)
            due = time.monotonic() + crew.draw.expovariate(1 / given.pause)
        time.sleep(0.05)
    seconds = time.monotonic() - began
    crew.wake(all_of_them=True)
    for process in crew.processes:
        process.ends()
    print(f"{kills - happens.count('kill')} kills, {stops - happens.count('stop')} stops, ", end="")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--kills", type=int, default=23)
    parser.add_argument("--stops", type=int, default=12)
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--problems", type=int, default=240)
    parser.add_argument("--pause", type=float, default=0.7, help="seconds between two blows, on average")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with scratch() as folder, Site(folder) as site:
        sys.exit(not drill(folder, site, given))


def drill(folder: Path, site: Site, given: argparse.Namespace) -> bool:
    engine = "{kind: scripted, max_model_len: 2048, seconds: 0.05}"
    changes = [f"run.shard_size={-(-given.problems // given.shards)}", "run.in_flight=8", "run.checkpoint_seconds=1"]
    changes += [f"models.{role}.engine={engine}" for role in ("draft", "target", "prm")]
    source = problems(folder, given.problems)
    environment = {name: site.environment[name] for name in site.environment if name.startswith("PREFECT_")}

    def round_(name: str, kills: int, stops: int) -> tuple[Path, float]:
        out, place = folder / name / "out", folder / name
        place.mkdir()
        (place / "job.json").write_text(demo(source, out, *changes).model_dump_json())
        crew = Crew(["generate", str(place / "job.json")], place, environment, random.Random(f"{given.seed}/{name}"))
        try:
            return out, play(out, crew, given, kills, stops)
        finally:
            for process in crew.processes:
                if process.popen.poll() is None:
                    process.kill()

    whole, undisturbed = round_("undisturbed", 0, 0)
    print(f"undisturbed: {undisturbed:.1f} s")
    limit = 2 * undisturbed + TAKE_OVER
    good = True
    for number in range(given.rounds):
        out, seconds = round_(f"round-{number}", given.kills, given.stops)
        verdict = fault(out, whole) or ("" if seconds < limit else f"longer than {limit:.0f} s")
        sessions = json.loads((out / "manifest.json").read_text())["sessions"]
        off = max(abs(session["ahead"]) for session in sessions)
        print(
            f"round {number}: {seconds:.1f} s, {len(sessions)} processes, clocks off by up to {off:.0f} s: "
            f"{verdict or 'as undisturbed'}",
            flush=True,
        )
        good &= not verdict
    return good


def fault(out: Path, whole: Path) -> str:
    """What is wrong with a round's output; "" where it is that of an undisturbed run."""
    if left := [str(path.relative_to(out)) for path in out.rglob("checkpoints/**/*") if path.is_file()]:
        return f"{len(left)} files are left, such as {left[0]}"
    try:
        same_as_undisturbed(out, whole)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""


if __name__ == "__main__":
    main()
