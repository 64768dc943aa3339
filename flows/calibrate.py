"""`stepwave calibrate`: thresholds compared on the same problems, and one recommended."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from prefect import flow

from flows.lifecycle.at_work import watched
from flows.lifecycle.stages import Opaque, plan_run, warning
from flows.lifecycle.threshold_runs import Thresholds
from flows.lifecycle.threshold_search import GRID, ROUNDS, describe, search
from flows.prefect_api import ui
from flows.prefect_api.server import outlast_server
from flows.terminal.interruption import watch_again
from flows.terminal.progress import current
from schemas.config import SWEPT, Config
from schemas.methods import readers
from schemas.registry import either
from tasks import report as html
from tasks.calibration.directory import check_place, dated, first_problems, load, save, thresholds_there
from tasks.calibration.recall import recall
from tasks.calibration.recommendation import Wish
from tasks.configuration.parsing import absolute
from tasks.engines import prepare
from tasks.errors import UserError
from tasks.generation.engine_pool import SharedEngines
from tasks.output.directory import RunDirectory
from tasks.planning.plan import Plan
from tasks.problems.reader import shards
from tasks.storage.store import Say
from tasks.storage.stores import Stores
from tasks.telemetry.metering import Meters

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
    store = Stores.of(config, warn).store(out)
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


def _reuse(runs: Thresholds, config: Config, warn: Say) -> int:
    """Number of attempts that were found in the run at the configuration's own output."""
    store = Stores.of(config, warn).store(config.output.path)
    return recall(runs.memory, RunDirectory(store), runs.plan)


def _answered(plan: Plan, warn: Say) -> bool:
    """Does any of the problems have an answer?"""
    read = shards(plan.survey, Stores.of(plan.config, warn), plan.config.run.shard_size, lambda _: True)
    return any(p.reference for _, problems, _ in read for p in problems)


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
