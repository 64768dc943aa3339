"""The report: one HTML file, with plots and the solutions to browse, that needs no network.

`places` finds the runs of an output, `sums` adds up what their tables say (a shard at a time, whatever their number),
`shown` keeps the solutions to browse, `comparison` (and `of_runs`) has a `row` for each method, `certainty` its
intervals, `cost` its GPU-hours, `settings` what it was configured as. `drawing` and `plots` make pictures of that,
`listing` and `pack` what the list of solutions reads, `page` puts all into page.html with page.css and the scripts in
js/.

A new plot is a file in `plots` and a figure in `sections`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.output.kinds import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.storage.store import Store


def write_report(store: Store, price: float | None = None, warn: Callable[[str], None] = lambda text: None) -> str:
    """Write the report of a run (finished or not), an evaluation or a calibration; returns its address.

    `price`: money for one hour of one GPU. `warn` is told of rewards in its tables that are none. Raises UserError if
    the output is none of these or is damaged, if the price is no amount, and what the store raises.
    """
    from tasks.output.sound_rewards import TOLD
    from tasks.report.gather import gather  # matplotlib and its like take a second
    from tasks.report.page import render

    contents = gather(store, price)
    if unsound := contents.total.unsound:
        warn(f"{store.path()}: {unsound:,} {TOLD}; decisions that an earlier release made by them stand")
    store.write(PAGE, render(contents))
    return store.path(PAGE)


def keep(store: Store, warn: Callable[[str], None]) -> None:
    """Write the report of a run that has ended, unless it has one, which may know a price; costs no run if it fails."""
    try:
        from tasks.output.directory import RunDirectory
        from tasks.report.places import state

        up_to_date = state(RunDirectory(store).manifest()).encode() in (store.read_or_none(PAGE) or b"")
    except Exception:
        up_to_date = False  # what is wrong, `renew` will say
    if not up_to_date:
        renew(store, warn)


def renew(store: Store, warn: Callable[[str], None]) -> None:
    """Write the report of an output that has ended. What cannot be written costs the report, never the rest."""
    try:
        write_report(store, None, warn)
    except Exception as error:
        warn(f"{store.path(PAGE)} could not be written: {error}")
