"""`stepwave calibrate`: thresholds compared on the same problems, and one recommended."""

from __future__ import annotations

import time
from asyncio import to_thread
from dataclasses import asdict
from typing import Any

from prefect import flow

from flows import ui
from flows.at_work import watched
from flows.interruption import watch_again
from flows.progress import current
from flows.server import outlast_server
from flows.stages import Opaque, plan_run, warning
from flows.thresholds import Thresholds
from schemas.config import SWEPT, Config
from schemas.methods import readers
from schemas.registry import either
from tasks import report as html
from tasks.calibration.directory import check_place, dated, first_problems, load, save, thresholds_there, tokens
from tasks.calibration.figures import behind, figures
from tasks.calibration.recall import recall
from tasks.calibration.recommendation import Wish, choose
from tasks.calibration.scale import one_sided
from tasks.calibration.search import next_threshold
from tasks.config_file import absolute
from tasks.engines import prepare
from tasks.errors import UserError
from tasks.metering import Meters
from tasks.plan import Plan
from tasks.problems import shards
from tasks.run_directory import RunDirectory
from tasks.shared_engines import SharedEngines
from tasks.store import Say, Store
from tasks.totals import add_computed, add_up

GRID = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds that are tried first, where none are given."""
ROUNDS = 4
"""Number of further thresholds that are tried, one by one, for a share or a budget."""
PROBLEMS = 500
"""Number of first rows of the input that are decoded by default."""


def check_method(config: Config) -> None:
    """Raises UserError where a configuration has no threshold to calibrate."""
    decoding = config.decoding
    if not decoding.record.judges:
        known = either(readers("accept"))
        raise UserError(f"decoding.method: {decoding.method} has no threshold to calibrate; calibrate is for {known}")
    if not decoding.accept.swept:
        raise UserError(f"decoding.accept.rule: calibrate is for the rule {either(SWEPT)}, not {decoding.accept.rule}")


@flow(name="calibrate", flow_run_name="calibrate to {out}", validate_parameters=True)
async def calibrate(
    config: Config, out: str, wish: Wish, thresholds: list[float] | None = None, problems: int = PROBLEMS
) -> dict[str, Any]:
    """Decode the input's first problems at each threshold (by default those of GRID, and further ones that the wish
    leads to), as runs in `out`. Returns the calibration, which `out` then holds. Attempts of earlier runs are not made
    again.

    Raises as `generate` does, and UserError where the wish asks for accuracy and the problems have no answers.
    """
    watch_again()
    outlast_server()
    await ui.label("calibrate")
    progress, warn, meters = current(), warning(), Meters()
    config = absolute(config)
    check_method(config)
    store = Store(out, config.storage, config.run.store_patience, warn)
    await to_thread(check_place, store)
    if await to_thread(load, store) is None:
        prepare({config.model(role).engine.kind for role in config.roles})
    progress.say("reading the input and the models' configurations")
    output = config.output.model_copy(update={"path": store.root})
    few = (await to_thread(dated, first_problems(config, problems), store)).model_copy(update={"output": output})
    plan = await plan_run(Opaque(few), Opaque(warn))
    if wish.kind == "tolerance" and not await to_thread(_answered, plan, warn):
        raise UserError(
            "the problems have no answers, so no threshold's accuracy can be known: give --target-share or "
            "--flops-per-problem, or problems with a column answer"
        )
    async with SharedEngines([plan], progress.say, warn) as shared:

        async def engines() -> dict[str, Any]:
            return (await shared.of(plan, meters))[0]

        runs = Thresholds(plan, store.root, engines, meters, warn)
        reused = await to_thread(_reuse, runs, config, warn)
        first = thresholds or list(GRID)
        try:
            for threshold in await to_thread(thresholds_there, store):
                await to_thread(runs.recall, threshold)
            async with watched(out):
                await runs.run(first)
                if not thresholds and wish.kind != "tolerance":
                    await search(runs, wish.kind, wish.value, ROUNDS, progress.say)
        except UserError as error:
            raise UserError(str(error).replace("give another output.path", "give another --out")) from error
        meters.decoded()
        report = await to_thread(describe, runs, wish, plan, reused, out)
    await to_thread(save, store, report, config)
    await to_thread(html.renew, store, warn)
    text = "\n".join([*(f"    {line}" for line in table(report)), "", *conclusions(report)])
    await ui.show("stepwave-calibration", text, f"Thresholds on {plan.survey.usable} problems")
    return report


async def search(runs: Thresholds, kind: str, most: float, rounds: int, say: Say) -> None:
    """Try more thresholds until one comes close to a share or a budget from below."""
    for _ in range(rounds):
        measured = {row["threshold"]: row[kind] for row in figures(runs.seen) if row[kind] is not None}
        threshold = next_threshold(measured, runs.rewards(), most)
        if threshold is None:
            return
        say(f"trying threshold {threshold:g}")
        await runs.run([threshold])


def _reuse(runs: Thresholds, config: Config, warn: Say) -> int:
    """Number of attempts that were found in the run at the configuration's own output."""
    store = Store(config.output.path, config.storage, config.run.store_patience, warn)
    return recall(runs.memory, RunDirectory(store), runs.plan)


def _answered(plan: Plan, warn: Say) -> bool:
    """Does any of the problems have an answer?"""
    run = plan.config.run
    read = shards(plan.survey, plan.config.storage, run.shard_size, lambda _: True, run.store_patience, warn)
    return any(p.reference for _, problems, _ in read for p in problems)


def describe(runs: Thresholds, wish: Wish, plan: Plan, reused: int, out: str) -> dict[str, Any]:
    """What was found, for calibration.json."""
    rows = figures(runs.seen)
    manifests = [runs.manifests[row["threshold"]] for row in rows]
    for row, manifest in zip(rows, manifests, strict=True):
        row["failed"] = manifest["counts"]["failed"]
    choice = choose(rows, wish)
    computed: dict[str, dict[str, int]] = {}
    apart: list[dict[str, Any]] = []
    for threshold in thresholds_there(runs.store):  # also those of another time, whose attempts served these
        records = runs.directory(threshold).records().good
        for record in records.values():
            add_computed(computed, record["computed"])
        apart.append(add_up(records)[0])
    return {
        "wish": asdict(wish),
        "input": plan.config.input.path,
        "problems": plan.survey.usable,
        "samples": plan.config.decoding.samples,
        "with_reference": manifests[0]["counts"]["with_reference"],
        "thresholds": rows,
        "tokens": tokens(computed, apart) | {"reused_attempts": reused},
        "computed": computed,
        "recommendation": {"threshold": choice.threshold, "why": choice.why},
        "costs": None if choice.threshold is None else behind(runs.seen, choice.threshold),
        "warning": one_sided(runs.rewards(), [row["threshold"] for row in rows]),
        "failed": sum(row["failed"] for row in rows),
        "output": out,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }


def table(report: dict[str, Any]) -> list[str]:
    """A line for each threshold: its figures with their 95% intervals."""
    chosen = report["recommendation"]["threshold"]
    cells = [["", "threshold", "accuracy", "target's steps", "FLOPs/problem", "draft+target tokens/problem"]]
    for row in report["thresholds"]:
        cells.append(
            [
                ">" if row["threshold"] == chosen else "",
                f"{row['threshold']:g}",
                _interval(row, "accuracy", "{:.1%}"),
                _interval(row, "target_share", "{:.1%}"),
                _interval(row, "flops", "{:.3g}"),
                f"{row['draft_tokens']:.0f}+{row['target_tokens']:.0f}",
            ]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _interval(row: dict[str, Any], name: str, form: str) -> str:
    if row[name] is None:
        return "unknown"
    return f"{form.format(row[name])} ({form.format(row[name + '_low'])} to {form.format(row[name + '_high'])})"


def conclusions(report: dict[str, Any]) -> list[str]:
    """What follows from the table."""
    spent = report["tokens"]
    generated, separate = (sum(spent[name].values()) for name in ("generated", "separate"))
    of_that = "" if spent["share"] is None or spent["reused_attempts"] else f" ({spent['share']:.1%} of that)"
    said = [f"tokens generated: {generated:,}; {spent['runs']} separate runs take {separate:,}{of_that}"]
    if spent["reused_attempts"]:
        said.append(f"attempts that were there already: {spent['reused_attempts']:,}")
    if report["warning"]:
        said.append(f"warning: {report['warning']}")
    recommended = report["recommendation"]
    if recommended["threshold"] is not None:
        said.append(f"threshold {recommended['threshold']:g}: {recommended['why']}")
        if costs := report["costs"]:
            less, low, high = (100 * costs[name] for name in ("less", "less_low", "less_high"))
            said.append(
                f"warning: it is {less:.1f} points less accurate than {costs['threshold']:g}, the best that was tried "
                f"({costs['accuracy']:.1%}; 95% interval of the difference {low:.1f} to {high:.1f} points)"
            )
        said.append(f"to use it: stepwave generate {report['output'].rstrip('/')}/{report['file']}")
    for name, of in report["recommended"].items():
        if name != report["file"]:
            wish = "" if of["wish"] is None else f", threshold {of['threshold']:g} for {Wish(**of['wish'])}"
            said.append(f"{name} stays as it was{wish}")
    return said
