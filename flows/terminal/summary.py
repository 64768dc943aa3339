"""A finished run in a few lines."""

from __future__ import annotations

from typing import Any

from flows.terminal.text import aligned
from schemas.methods import METHODS
from tasks.calibration.scale import one_sided_run
from tasks.errors import on_one_line
from tasks.generation import one_step
from tasks.generation.drift import Figure
from tasks.output.kinds import PAGE
from tasks.output.totals import not_graded
from tasks.telemetry.timeline import PICTURE


def lines(manifest: dict[str, Any], where: str) -> list[str]:
    """The summary as aligned text."""
    rows = [*table(manifest), ("output", f"{where}: solutions/*.parquet, every attempt in steps/*.parquet")]
    if manifest.get("accounts", {}).get("roles"):
        rows.append(("timeline", f"{where.rstrip('/')}/{PICTURE}"))
    rows.append(("report", f"{where.rstrip('/')}/{PAGE}"))
    return aligned(rows)


def markdown(manifest: dict[str, Any], where: str) -> str:
    """The summary as a table for the Prefect UI."""
    places = (("output", where), ("report", f"{where.rstrip('/')}/{PAGE}"))
    rows = [*table(manifest), *((name, f"`{on_one_line(place)}`") for name, place in places)]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def table(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values, most wanted first."""
    c, flops = manifest["counts"], manifest["flops"]
    rows = [("problems", f"{manifest['input']['usable']:,}")]
    if (skipped := manifest["input"].get("skipped")) is not None:
        rows.append(("skipped", f"{skipped:,}, which earlier outputs have solved"))
    if manifest["samples"] > 1:
        rows.append(("samples", f"{manifest['samples']} of each, {c['solutions']:,} solutions"))
    if c["rejected"]:
        rows.append(("rejected", f"{c['rejected']:,} input rows, each with its reason in rejected/"))
    method = METHODS[manifest["method"]]
    picks = method.picks
    if picks and c["picked_gradable"]:
        right, of = c["picked_correct"], c["picked_gradable"]
        rows.append(("solved", f"{right:,} of {of:,} ({right / of:.1%}) by the sample that {manifest['method']} picks"))
    if gradable := c["with_reference"] - c.get("bad_references", 0):
        name = "of all samples" if picks else "solved"
        rows.append((name, f"{c['correct']:,} of {gradable:,} ({c['correct'] / gradable:.1%})"))
    if ungraded := not_graded(c):
        rows.append(("not graded", ungraded))
    ended = [("finished", "finished"), ("max_tokens", "cut at max_tokens"), ("max_steps", "cut at max_steps")]
    ended += [("failed", "failed")]
    rows.append(("ended", ", ".join(f"{c[key]:,} {words}" for key, words in ended if c[key]) or "none"))
    if line := one_step.told(
        c.get("one_step", 0), c["solutions"] - c["failed"], manifest.get("separator", ""), one_step.AT_ALL
    ):
        rows.append(("warning", line))
    if found := manifest.get("calibration"):
        on = f"found on {found['problems']:,} problems for at most {found['target_share']:.1%} of the steps"
        share = f"; the target wrote {c['target_steps'] / c['steps']:.1%}" if c["steps"] else ""
        rows.append(("threshold", f"{found['threshold']:g}, {on} from the target{share}"))
    if c["steps"] and method.rewrites:
        rows.append(
            ("draft steps kept", f"{c['draft_steps']:,} of {c['steps']:,} steps ({c['draft_steps'] / c['steps']:.1%})")
        )
        if fault := one_sided_run(c["steps"], c["draft_steps"]):
            rows.append(("warning", f"the PRM {fault}"))
    for figure in manifest.get("drift", []):
        seen = Figure(**{name: value for name, value in figure.items() if name != "outside"})
        rows.append(("warning: drift" if seen.outside else "drift", str(seen)))
    if found := manifest.get("drift_not_judged"):
        few = found["problems"] < found["needed"]
        why = f"{found['problems']:,} of {found['needed']:,} problems" if few else "the run has no such figures"
        rows.append(("drift", f"not judged: {why}"))
    names = {"draft": "draft_tokens", "target": "target_tokens", "prm": "prm_tokens"}
    for role in manifest["models"]:
        usage = manifest["computed"].get(role, {})
        tokens = f"{c[names[role]]:,} {'scored' if role == 'prm' else 'written'}"
        cache = f"{usage.get('prefilled', 0):,} prefilled, {usage.get('cached', 0):,} from cache"
        rows.append((f"{role} tokens", f"{tokens}; {cache}; {flops['generated'][role]:.3g} FLOPs"))
    total = sum(flops["generated"].values())
    rows.append(("FLOPs", f"{total:.3g} for tokens written and scored, {sum(flops['computed'].values()):.3g} in all"))
    if method.rewrites and flops["target_alone"]:
        ratio = total / flops["target_alone"]
        rows.append(
            (
                "target alone",
                f"{flops['target_alone']:.3g} FLOPs for as many tokens: this run took {ratio:.2f} times that",
            )
        )
    seconds = manifest["seconds"]
    rows.append(("seconds", f"{seconds['total']:.0f}, of them {seconds['engines']:.0f} to start engines"))
    rows += spent(manifest.get("accounts", {}))
    return rows


def spent(accounts: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the time of all processes went."""
    rows, roles, stages = [], accounts.get("roles", {}), accounts.get("stages", {})
    if busy := [f"{role} {of['busy']:.1f} of {of['ready']:.1f} s" for role, of in roles.items()]:
        rows.append(("engines busy", ", ".join(busy)))
    if stages:
        longest = max(stages, key=lambda stage: stages[stage])
        rows.append(("beside engines", f"most on {longest}: {stages[longest]:.1f} s"))
    return rows
