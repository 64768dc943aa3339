"""The plots that an output has, in the order in which they are read."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from markupsafe import Markup

from schemas.evaluation import MEAN
from tasks.output.totals import add_up
from tasks.output.totals import flops as flops_of
from tasks.report.drawing import MUTED, NAMES, OF_ROLE, SERIES, Canvas, Mark, styled, themed
from tasks.report.gather import Contents, spent
from tasks.report.plots.bars import Part, stacked
from tasks.report.plots.looks import Look, colours_of, looks_of
from tasks.report.plots.rewards import least_rewards, rewards
from tasks.report.plots.scatter import accuracy_against_flops
from tasks.report.plots.shares import target_share_by_level, target_share_by_step
from tasks.report.sums import Sums

GENERATED, EVERYTHING = "flops_generated", "flops_computed"


@dataclass(frozen=True)
class Figure:
    """A plot with its title and key."""

    title: str
    about: str
    pictures: dict[str, Markup]
    """By choice; "" where there is none."""
    key: list[Mark] = field(default_factory=list)
    wide: bool = False


def figures(contents: Contents) -> list[Figure]:
    """The plots of the page, in their order."""
    with styled():
        made = [*(_of_run(contents) if contents.kind == "run" else _of_many(contents))]
    return [figure for figure in (*made, _timeline(contents)) if figure is not None]


def _of_run(contents: Contents) -> Iterator[Figure | None]:
    run, sums = contents.run, contents.sums_by_run[0]
    counts, computed = add_up(run.records)
    alone = spent(run).flops_alone
    flops = flops_of(counts, computed, run.params)
    parts = {
        name: [(role, value, OF_ROLE[role], 1.0) for role, value in flops[name].items()]
        for name in ("generated", "computed")
    }
    rows = [("everything", parts["computed"]), ("generated", parts["generated"])]
    if alone and not run.config.decoding.record.baseline:
        rows.append(("target alone*", [("estimated: the target writing as many tokens", alone, MUTED, 0.45)]))
    yield _figure(
        "FLOPs",
        "2 × parameters × tokens. Generated: tokens written, and those that the PRM had to score beyond what it had "
        "seen of the same trajectory. Everything: what the engines really computed, prompts too; a prefix that samples "
        "share is computed once, so this can be less than generated."
        + (" * Estimated for as many generated tokens." if len(rows) > 2 else ""),
        {"": stacked("FLOPs by role", rows, "FLOPs")},
        _roles(contents),
    )
    yield _figure(
        "Tokens by role",
        "Full colour: written, or scored by the PRM; paler: prompt tokens computed; palest: served by the cache.",
        {"": stacked("Tokens by role", [(r, _tokens(r, usage, sums)) for r, usage in computed.items()], "tokens")},
    )
    yield from _common(sums, run.threshold)
    roles = (run.manifest or {}).get("accounts", {}).get("roles", {})
    yield _figure(
        "Seconds by role",
        "Grey: the engine's start; full colour: at least one request in flight; pale: ready, without a request.",
        {"": stacked("Seconds by role", [(role, _seconds(role, of)) for role, of in roles.items()], "s")},
    )


def _tokens(role: str, usage: dict[str, int], sums: Sums) -> list[Part]:
    """Tokens that the PRM scored are part of those that it was given: computed, or cached if samples of a problem share
    them."""
    colour, scored = OF_ROLE[role], sums.tokens.get("prm_tokens", 0) if role == "prm" else 0
    shared = max(0, scored - usage["prefilled"])
    return [
        ("scored", float(scored), colour, 1.0),
        ("written", float(usage["generated"]), colour, 1.0),
        ("prompt computed", float(max(0, usage["prefilled"] - scored)), colour, 0.5),
        ("prompt from cache", float(max(0, usage["cached"] - shared)), colour, 0.2),
    ]


def _seconds(role: str, of: dict[str, float]) -> list[Part]:
    colour = OF_ROLE[role]
    looks = (("starting", "starting", MUTED, 0.5), ("busy", "at work", colour, 1.0), ("idle", "idle", colour, 0.25))
    return [(words, of.get(name, 0.0), shade, opacity) for name, words, shade, opacity in looks]


def _of_many(contents: Contents) -> Iterator[Figure | None]:
    colours = colours_of(contents.rows)
    benchmarks = list(dict.fromkeys(row.benchmark for row in contents.rows))
    if MEAN in benchmarks:
        benchmarks.sort(key=lambda name: name != MEAN)
    for benchmark in benchmarks:
        rows = [row for row in contents.rows if row.benchmark == benchmark]
        title = f"Accuracy against FLOPs{', ' + _called(benchmark) if benchmark else ''}"
        yield _figure(
            title,
            "Per problem, with 95% intervals. Dashed: the frontier, what no other method beats in both.",
            {cost: accuracy_against_flops(rows, cost, title, colours) for cost in (GENERATED, EVERYTHING)},
            [Mark(NAMES[colours[method]], method) for method in dict.fromkeys(row.method for row in rows)],
        )
    chosen = contents.chosen
    groups = contents.groups()
    of_chosen = groups.get(chosen.name, contents.total) if chosen else contents.total
    looks = looks_of({run.title: run.label for run in contents.runs}, defaultdict(lambda: SERIES[-1], colours))
    whose = f" of {chosen.name}" if chosen else ""
    yield from _common(of_chosen, chosen.threshold if chosen else None, groups, looks, whose)
    shown = [row for row in contents.rows if row.benchmark == benchmarks[0]]
    parts = [
        (row.name, [(role, getattr(row, f"{role}_tokens"), OF_ROLE[role], 1.0) for role in ("draft", "target", "prm")])
        for row in shown
    ]
    where = f", {_called(benchmarks[0])}" if benchmarks[0] else ""
    yield _figure(
        f"Tokens per problem{where}",
        "Written by draft and target, scored by the PRM.",
        {"": stacked("Tokens per problem", parts, "tokens")},
        _roles(contents),
    )
    seconds = [(row.name, [("decoding", row.seconds or 0.0, colours[row.method], 1.0)]) for row in shown]
    yield _figure(
        f"Seconds of decoding{where}",
        "Wall time of decoding, as measured.",
        {"": stacked("Seconds of decoding", seconds, "s")},
    )


def _common(
    sums: Sums,
    threshold: float | None,
    groups: dict[str, Sums] | None = None,
    looks: Mapping[str, Look] = MappingProxyType({}),
    whose: str = "",
) -> Iterator[Figure | None]:
    """Steps and rewards: of one method, or lines for several."""
    groups = groups or {"": sums}
    yield _figure(
        "Target steps, by step",
        "Share of the kept steps that the target wrote.",
        {"": target_share_by_step(groups, looks)},
    )
    mixed = [name for name, of in groups.items() if of.steps.sum(0).min() > 0]
    colour = NAMES[looks[mixed[0]].colour] if mixed and mixed[0] in looks else "target"
    key = [] if len(mixed) > 1 else [Mark(colour, "steps from the target"), Mark("good", "problems solved")]
    yield _figure(
        "Target steps, by level",
        "Share of the kept steps that the target wrote, by difficulty.",
        {"": target_share_by_level(groups, looks)},
        key,
    )
    yield _figure(
        f"Rewards of steps{whose}",
        "Every attempt that the PRM scored; rejected attempts are not in the solution.",
        {"": rewards(sums, threshold)},
        [Mark("draft", "accepted"), Mark("bad", "rejected")],
    )
    yield _figure(
        f"Least reward{whose}",
        "Solutions by the least reward among the kept steps that the PRM scored; the target's steps have none.",
        {"": least_rewards(sums)},
        [Mark("good", "right"), Mark("bad", "wrong")],
    )


def _timeline(contents: Contents) -> Figure | None:
    if not contents.processes:
        return None
    from tasks.telemetry.timeline_svg import picture

    drawn = themed(picture(contents.processes), "timeline", "When each engine was starting, ready and at work")
    return Figure("Engine timeline", "When each engine was starting, ready and at work.", {"": drawn}, wide=True)


def _figure(title: str, about: str, drawn: dict[str, Canvas | None], key: list[Mark] | None = None) -> Figure | None:
    scope = hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=5).hexdigest()
    pictures = {name: canvas.svg(f"f{scope}{n}") for n, (name, canvas) in enumerate(drawn.items()) if canvas}
    own = [entry for canvas in drawn.values() if canvas for entry in canvas.key]
    return Figure(title, about, pictures, [*(key or []), *own]) if pictures else None


def _roles(contents: Contents) -> list[Mark]:
    used = {role for run in contents.runs for role in run.config.roles}
    return [Mark(role, role) for role in OF_ROLE if role in used]


def _called(benchmark: str) -> str:
    return "mean over benchmarks" if benchmark == MEAN else benchmark
