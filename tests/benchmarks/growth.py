"""Seconds and peak memory against the number of problems: both flat per problem, or something grows that should not.

    python tests/benchmarks/growth.py [--problems 250 1000 4000 16000]

Each size is a run of the demo in a process of its own, engines' start apart. Memory is the largest sum over the run's
process and its engines' processes, looked at every half second: what each holds beside what it shares with others
(proportional set size). Sizes are run in order, the first one twice: the first time warms the machine's caches.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pipeline_run
import psutil
from demo_problems import demo, problems, scratch

from tasks.planning.plan import make_plan


class Watch(threading.Thread):
    """Looks at the memory of this process and of all that it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.most, self.alone = 0, 0

    def run(self) -> None:
        this = psutil.Process()
        while not self.ended.wait(0.5):
            total = 0
            for process in (this, *this.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    held = process.memory_full_info().pss
                    total += held
                    if process == this:
                        self.alone = max(self.alone, held)
            self.most = max(self.most, total)


def measure(source: str, output: Path) -> dict[str, Any]:
    watch = Watch()
    watch.start()
    run = asyncio.run(pipeline_run.run(make_plan(demo(source, output)), str(output)))
    watch.ended.set()
    watch.join()
    return {"seconds": run.seconds, "peak": watch.most, "peak_of_run": watch.alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, nargs="+", default=[250, 1000, 4000, 16000])
    sizes = parser.parse_args().problems
    print("| problems | seconds | ms per problem | peak memory, MiB | of the run's own process |")
    print("|---|---|---|---|---|")
    peaks = []
    with scratch() as folder:
        for number, size in enumerate([sizes[0], *sizes]):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found = pool.submit(measure, problems(folder, size), folder / f"run-{number}").result()
            if number == 0:
                continue
            peaks.append(found["peak"])
            row = [f"{size:,}", f"{found['seconds']:.1f}", f"{1000 * found['seconds'] / size:.1f}"]
            row += [f"{found['peak'] / 2**20:,.0f}", f"{found['peak_of_run'] / 2**20:,.0f}"]
            print("| " + " | ".join(row) + " |", flush=True)
            print(json.dumps({"problems": size} | found), flush=True)
    growth = max(peaks) / peaks[0] - 1
    verdict = "met" if growth <= 0.1 else "missed"
    print(f"\npeak memory at most {growth:.1%} above the first row's: the bar of 10% is {verdict}")


if __name__ == "__main__":
    main()
