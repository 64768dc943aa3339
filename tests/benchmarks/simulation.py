"""What a million problems cost on eight GPUs, on paper: a 1.5B draft, a 72B target and a 7B PRM, decoded in seven ways.

No model runs. Costs come from a roofline of the card at stated utilisations (simulated_devices.py), step counts,
lengths and rejections from distributions (simulated_problems.py), and cohorts of problems move through engines with
continuous batching in quanta of 8 tokens (simulated_engines.py). The ways:

1. lock-step: one wave over all problems after another, an engine of its own for each role, one of them at work at a
   time, the PRM reading whole solutions each time. The caches of draft and target hold no million problems, so that
   they compute every prompt again as well; hence also in slices of the size that is best.
2. overlapped: cohorts in flight side by side, prefixes found again, the same engines on cards of their own.
3. shared: the same with all three engines on every card, at work one at a time: resident, or taking turns with their
   weights put away in the host's memory in between (which loses the caches); or resident, with prefixes that the cards
   cannot hold in the host's memory (vLLM's kv_offloading_size), fetched and written while the cards wait. That last
   one is on paper only: Stepwave passes the argument on, but does not count such caches when it admits trajectories.
4. the target alone, which writes equally long solutions.

Of every way the quickest layout is shown: which cards go to which role, how the target is spread, how many cohorts of
which size are in flight, how caches divide a shared card. A steady state of a sample is scaled up to the job. Left out:
the time of starts, of files and of the network; replicas that are not evenly busy; requests that are put back for want
of memory; that two kernels may run on a card at a time. Solutions of all ways are equally long and taken to be as good.

    .venv/bin/python tests/benchmarks/simulation.py --kept 0.9
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator

from simulated_devices import QWEN_1_5B, QWEN_72B, QWEN_PRM_7B, Gpu, Serving
from simulated_problems import Problems, Shape, draw
from simulated_runs import Layout, Outcome, quickest, simulate

SAMPLE = 1 << 16
"""Problems that are drawn. So many in a wave stand for all: what a wave loses at its end is next to nothing then."""
IN_FLIGHT = (4, 16)
"""Cohorts at a time that are tried."""
TOGETHER = (512, 1024, 2048, 4096, 8192)
"""Trajectories in flight that are tried, all cohorts together, those included that have ended before their cohort."""
TOGETHER_ON_HOST = (4096, 8192, 16384)
"""The same where the host's memory holds prefixes."""
SLICES = (512, 2048, 8192)
"""Problems in a lock-step that are tried."""
TURNS = (4096, 16384, 65536)
"""Trajectories between two changes of weights that are tried."""


ON_PAPER = "overlapped, shared, caches on the host"
"""What Stepwave does not plan for."""


class Study:
    """One workload on one machine."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.gpus, self.job, self.sequences = options.gpus, options.problems, options.sequences
        self.host = options.host_memory * 1e9
        self.gpu = Gpu(
            memory=options.memory * 1e9 * 0.92,
            bandwidth=options.bandwidth * 1e12 * options.bandwidth_reached,
            flops=options.tflops * 1e12 * options.flops_reached,
            link=options.link * 1e9,
            batch_seconds=options.batch_overhead / 1e3,
            layer_seconds=options.layer_overhead / 1e6,
            reduce_seconds=options.reduce_overhead / 1e6,
        )
        self.target = dataclasses.replace(QWEN_72B, weight_bytes=options.target_bytes)
        shape = Shape(prompt=options.prompt, steps=options.steps, tokens=options.tokens, kept=options.kept)
        self.problems: Problems = draw(SAMPLE, shape, options.seed)

    def ways(self) -> dict[str, Outcome | None]:
        """Way to its quickest outcome."""
        prm = frozenset({"prm"})
        sizes = [(n // c, c) for n, c in itertools.product(TOGETHER, IN_FLIGHT)]
        more = [(n // c, c) for n, c in itertools.product(TOGETHER_ON_HOST, IN_FLIGHT)]
        return {
            "lock-step, all in a wave": self._quickest(self._dedicated(), [(SAMPLE, 1)], prm),
            "lock-step, in slices": self._quickest(self._dedicated(), [(n, 1) for n in SLICES], prm),
            "overlapped, own cards": self._quickest(self._dedicated(), sizes),
            "overlapped, shared, resident": self._quickest(self._shared(), sizes),
            ON_PAPER: self._quickest(self._shared(host=self.host), more),
            "waves, shared, taking turns": self._quickest(self._shared(turns=True), [(n, 1) for n in TURNS]),
            "target alone": self._quickest(self._alone(), [(4096, 3)]),
        }

    def _quickest(
        self, layouts: Iterator[Layout], sizes: list[tuple[int, int]], recompute: frozenset[str] = frozenset()
    ) -> Outcome | None:
        return quickest(
            simulate(layout, self.gpu, self.problems, self.job, *size, sequences=self.sequences, recompute=recompute)
            for layout in layouts
            for size in sizes
        )

    def _serving(self, role: str, replicas: int, tensor: int = 1) -> Serving:
        model = {"draft": QWEN_1_5B, "prm": QWEN_PRM_7B, "target": self.target}[role]
        return Serving(model, self.gpu, replicas, tensor)

    def _tensors(self) -> list[int]:
        """Cards over which a replica of the target may be spread."""
        return [n for n in (1, 2, 4, 8) if n <= self.gpus]

    def _dedicated(self) -> Iterator[Layout]:
        for tensor in self._tensors():
            for replicas in range(1, (self.gpus - 2) // tensor + 1):
                for drafts in range(1, self.gpus - tensor * replicas):
                    prms = self.gpus - tensor * replicas - drafts
                    yield Layout(
                        f"{drafts} draft, {prms} PRM, target {replicas} x tp{tensor}",
                        {
                            "draft": self._serving("draft", drafts),
                            "prm": self._serving("prm", prms),
                            "target": self._serving("target", replicas, tensor),
                        },
                    )

    def _shared(self, *, turns: bool = False, host: float = 0.0) -> Iterator[Layout]:
        for tensor, part in itertools.product(self._tensors(), (None,) if turns else (None, 0.1, 0.25)):
            if self.gpus % tensor == 0:
                caches = "" if turns else ", equal caches" if part is None else f", {part:.0%} of caches the target's"
                yield Layout(
                    f"{self.gpus // tensor} x (all on {tensor} cards){caches}",
                    {
                        "draft": self._serving("draft", tensor),
                        "prm": self._serving("prm", tensor),
                        "target": self._serving("target", 1, tensor),
                    },
                    shared=True,
                    turns=turns,
                    copies=self.gpus // tensor,
                    target_part=part,
                    host_memory=host * tensor / self.gpus,
                )

    def _alone(self) -> Iterator[Layout]:
        for tensor in self._tensors():
            if self.gpus % tensor == 0:
                replicas = self.gpus // tensor
                yield Layout(f"target {replicas} x tp{tensor}", {"target": self._serving("target", replicas, tensor)})


def costs(ways: dict[str, Outcome | None]) -> str:
    """Markdown table of what each way costs."""
    lines = [
        "| way | layout | in flight | wall h | GPU-hours | GPU-seconds at work | draft busy | PRM busy | target busy "
        "| swaps |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for way, found in ways.items():
        if found is None:
            lines.append(f"| {way} | does not fit | | | | | | | | |")
            continue
        busy = [
            f"{found.share_busy(role):.0%}" if role in found.layout.servings else ""
            for role in ("draft", "prm", "target")
        ]
        swaps = found.busy["swaps"] / (found.layout.cards * found.wall)
        copies = f" in each of {found.layout.copies}" if found.layout.copies > 1 else ""
        size = f"{found.size:,}" if found.size < SAMPLE else f"{found.size:,} or more"
        flying = f"{found.in_flight} x {size}{copies}"
        lines.append(
            f"| {way} | {found.layout.name} | {flying} | {found.wall / 3600:,.1f} | {found.gpu_hours:,.0f} "
            f"| {sum(found.busy.values()):,.0f} | {' | '.join(busy)} | {f'{swaps:.0%}' if swaps else ''} |"
        )
    return "\n".join(lines)


def tokens(ways: dict[str, Outcome | None]) -> str:
    """Markdown table of each way's tokens, by role."""
    lines = [
        "| million tokens: written / computed of prompts / from cache | draft | PRM | target |",
        "|---|---|---|---|",
    ]
    for way, found in ways.items():
        if found is not None:
            cells = []
            for role in ("draft", "prm", "target"):
                counts = [found.tokens.get((role, what), 0) / 1e6 for what in ("written", "prefilled", "cached")]
                cells.append(" / ".join(f"{n:,.0f}" for n in counts) if role in found.layout.servings else "")
            lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def conclusion(ways: dict[str, Outcome | None]) -> str:
    """One line that follows from the table."""
    hours = {way: round(found.gpu_hours) for way, found in ways.items() if found is not None}
    ours = [way for way in hours if way.startswith(("overlapped", "waves")) and way != ON_PAPER]
    if not ours:
        return "No layout of the three models fits these cards."
    first = min(ours, key=hours.__getitem__)

    def beside(way: str) -> str:
        ratio = hours[way] / hours[first]
        more = f"{ratio:.1f} times that" if ratio >= 1 else f"{ratio:.2f} of that"
        return f"{way} takes {hours[way]:,} ({more})"

    others = "; ".join(beside(way) for way in hours if way != first)
    return f"With a PRM the cheapest is {first}: {hours[first]:,} GPU-hours; {others}."


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--problems", type=int, default=1_000_000, help="problems of the job")
    add("--gpus", type=int, default=8, help="cards (default 8)")
    add("--memory", type=float, default=80, help="GB of a card; 92%% of it is used (default 80)")
    add("--bandwidth", type=float, default=3.35, help="TB/s of a card's memory (default 3.35, an H100 SXM)")
    add("--bandwidth-reached", type=float, default=0.7, help="part of it that is reached (default 0.7)")
    add("--tflops", type=float, default=989, help="dense 16-bit TFLOP/s of a card (default 989, an H100 SXM)")
    add("--flops-reached", type=float, default=0.5, help="part of them that is reached (default 0.5)")
    add("--link", type=float, default=40, help="GB/s between a card and the host (default 40, of PCIe 5's 64)")
    add("--host-memory", type=float, default=1000, help="GB of the host's memory for caches (default 1000)")
    add("--batch-overhead", type=float, default=2, help="ms of a batch beside the model (default 2)")
    add("--layer-overhead", type=float, default=10, help="µs of launches a layer (default 10)")
    add("--reduce-overhead", type=float, default=30, help="µs of all-reduces a layer, tensor parallel (default 30)")
    add("--target-bytes", type=float, default=2, help="bytes a weight of the target (default 2; 1 for FP8)")
    add("--sequences", type=int, default=1024, help="most sequences in a replica's batch (default 1024)")
    add("--prompt", type=float, default=150, help="tokens of a prompt (default 150)")
    add("--steps", type=float, default=14, help="mean steps of a solution (default 14)")
    add("--tokens", type=float, default=40, help="mean tokens of a step (default 40)")
    add("--kept", type=float, default=0.8, help="share of the draft's steps that are kept, within (0, 1) (default 0.8)")
    add("--seed", type=int, default=0)
    options = parser.parse_args()
    if not 0 < options.kept < 1:
        parser.error("--kept must be above 0 and below 1")
    return options


def main() -> None:
    options = arguments()
    study = Study(options)
    problems = study.problems
    print(
        f"{options.problems:,} problems of {problems.steps.mean():.1f} steps and "
        f"{problems.chosen.sum() / len(problems):,.0f} tokens, {problems.kept.sum() / problems.steps.sum():.0%} of the "
        f"draft's steps kept; {options.gpus} cards\n"
    )
    ways = study.ways()
    print(costs(ways), tokens(ways), conclusion(ways), sep="\n\n")


if __name__ == "__main__":
    main()
