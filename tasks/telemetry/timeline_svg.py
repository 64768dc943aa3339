"""The timeline as an SVG that can be read on light and dark pages: a lane for every role of every process."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tasks.telemetry.lanes import Lane, Process, RoleLane

COLOURS = ("#3f86c6", "#cf7a2c", "#479a5f", "#b25aa3", "#a8902e", "#2f9c9c", "#c9575b", "#7d72c9")
GREY = "#767676"
"""As far from white as from black."""
BARS = 6000
"""Most bars of a picture."""
LANE, GAP = 0.8, 0.45
"""Height of a lane in units of the axis, and what stands above a process for its name."""
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "stepwave", "text.parse_math": False, "font.size": 9}


def picture(processes: list[Process]) -> bytes:
    """An SVG whose bytes depend on the bars alone."""
    places, pauses = without_pauses([(process.began, process.lasted) for process in processes])
    most = max(20, BARS // max(1, sum(len(process.lanes) for process in processes)))
    with mpl.rc_context(STYLE):
        height = sum(len(process.lanes) + GAP for process in processes)
        figure = Figure(figsize=(10, 1.1 + 0.42 * height))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.09, 0.55 / figure.get_figheight(), 0.77, 1 - 1.05 / figure.get_figheight()))
        top, ticks, names = 0.0, [], []
        for process, place in zip(processes, places, strict=True):
            axes.text(place, top + GAP / 2, _name(process, len(processes)), color=GREY, va="center", fontsize=8)
            top += GAP
            for lane in process.lanes:
                _draw_lane(axes, lane, place, top, most)
                ticks.append(top + 0.5)
                names.append(lane.role)
                top += 1
        for place, seconds in pauses:
            axes.axvline(place, color=GREY, linestyle=(0, (3, 3)), linewidth=0.8)
            axes.text(place, top, f" stopped for {_span(seconds)}", color=GREY, va="bottom", fontsize=7)
        _dress(axes, ticks, names, top)
        _explain(figure)
        axes.set_xlim(0, max((at + p.lasted for at, p in zip(places, processes, strict=True)), default=1) or 1)
        sink = io.BytesIO()
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": "Stepwave"})
    return sink.getvalue()


def _draw_lane(axes: Axes, lane: RoleLane, place: float, top: float, most: int) -> None:
    """Readiness as a pale strip, starts as a darker one, and upon them a row of bars for every track."""

    def strip(bars: Any, **look: Any) -> None:
        spans = [(place + bar.start / 1e6, (bar.end - bar.start) / 1e6) for bar in bars]
        axes.broken_barh(spans, (top + (1 - LANE) / 2, LANE), linewidth=0, **look)

    strip(lane.ready, facecolor=to_rgba(GREY, 0.16))
    strip(lane.starts, facecolor=to_rgba(GREY, 0.55))
    coarse = Lane(BARS)
    coarse.tracks = [bars for bars in lane.tracks if bars]
    coarse.coarsen(most)
    numbers = [number for number, bars in enumerate(lane.tracks) if bars]
    for row, (number, bars) in enumerate(zip(numbers, coarse.tracks, strict=True)):
        size = LANE / len(numbers)
        axes.broken_barh(
            [(place + bar.start / 1e6, (bar.end - bar.start) / 1e6) for bar in bars],
            (top + (1 - LANE) / 2 + row * size, size),
            facecolors=[to_rgba(COLOURS[number], 0.25 + 0.75 * bar.busy / max(1, bar.end - bar.start)) for bar in bars],
            linewidth=0,
        )
    if lane.ready:
        seconds = sum(bar.busy for bar in lane.ready) / 1e6
        text = f"busy {lane.busy:.0%} of {_span(seconds)}"
        axes.annotate(
            text, (1.01, top + 0.5), xycoords=("axes fraction", "data"), color=GREY, va="center", annotation_clip=False
        )


def _dress(axes: Axes, ticks: list[float], names: list[str], top: float) -> None:
    axes.set_ylim(top, 0)
    axes.set_yticks(ticks, names)
    axes.set_xlabel("seconds", color=GREY)
    axes.tick_params(colors=GREY, length=3)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GREY)


def _explain(figure: Figure) -> None:
    marks = [
        Patch(facecolor=to_rgba(GREY, 0.55), label="starting"),
        Patch(facecolor=to_rgba(GREY, 0.16), label="ready, no request"),
        Patch(
            facecolor=COLOURS[0],
            label="at work, paler where short spells are drawn as one",
        ),
    ]
    figure.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(0.08, 1), ncols=3, frameon=False, labelcolor=GREY, fontsize=8
    )


def _name(process: Process, of: int) -> str:
    return f"process {process.session}" if of > 1 else ""


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def without_pauses(spans: list[tuple[float, float]]) -> tuple[list[float], list[tuple[float, float]]]:
    """Places of spans (begin and seconds, in the order in which they begin) on an axis that leaves out the time between
    them. Returns the place of each span, and the place and seconds of each pause."""
    places: list[float] = []
    pauses: list[tuple[float, float]] = []
    skipped = reached = spans[0][0] if spans else 0.0
    for began, lasts in spans:
        if began > reached:
            pauses.append((reached - skipped, began - reached))
            skipped += began - reached
        places.append(began - skipped)
        reached = max(reached, began + lasts)
    return places, pauses
