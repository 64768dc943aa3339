"""The table of an evaluation for those who read it: as text, Markdown, CSV and plain values."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from schemas.evaluation import MEAN
from tasks.storage.store import Store

Entry = dict[str, Any]
Column = tuple[str, Callable[[Entry], str]]

NOTES = (
    "Intervals are 95% bootstrap intervals over problems; difference: accuracy minus that of the target alone, over "
    "the same problems. Failed problems count as not solved. FLOPs and tokens are per problem; seconds are those of "
    "decoding."
)
PRM_NOTE = (
    "PRM: the label of the reward model in `prms`; without one it is models.prm, where the method asks any. Against "
    "models.prm: accuracy minus that of the same decoding under models.prm, over the same problems."
)


def _number(name: str, form: str) -> Callable[[Entry], str]:
    return lambda entry: "" if entry[name] is None else format(entry[name], form)


def _accuracy(entry: Entry) -> str:
    if entry["accuracy"] is None:
        return ""
    return f"{entry['accuracy']:.1%} ({entry['accuracy_low']:.1%} to {entry['accuracy_high']:.1%})"


def _points(name: str) -> Callable[[Entry], str]:
    def shown(entry: Entry) -> str:
        if entry[name] is None:
            return ""
        value, low, high = (100 * entry[f"{name}{end}"] for end in ("", "_low", "_high"))
        return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"

    return shown


COLUMNS: tuple[Column, ...] = (
    ("method", lambda entry: entry["method"]),
    ("threshold", _number("threshold", ".12g")),
    ("PRM", lambda entry: entry["prm"] or ""),
    ("accuracy", _accuracy),
    ("difference", _points("difference")),
    ("against models.prm", _points("prm_difference")),
    ("FLOPs generated", _number("flops_generated", ".3g")),
    ("FLOPs in all", _number("flops_computed", ".3g")),
    ("draft tokens", _number("draft_tokens", ",.1f")),
    ("target tokens", _number("target_tokens", ",.1f")),
    ("PRM tokens", _number("prm_tokens", ",.1f")),
    ("target steps", _number("target_share", ".1%")),
    ("seconds", _number("seconds", ",.1f")),
    ("problems/s", _number("problems_per_second", ",.1f")),
)


def sections(table: pa.Table) -> list[tuple[str, list[str], list[list[str]]]]:
    """Heading, names of columns and rows of each benchmark; the mean where there are several. Columns that are empty
    everywhere are left out."""
    entries = table.to_pylist()
    benchmarks = list(dict.fromkeys(entry["benchmark"] for entry in entries))
    shown = [benchmark for benchmark in benchmarks if benchmark != MEAN or len(benchmarks) > 2]
    columns = [column for column in COLUMNS if any(column[1](entry) for entry in entries)]
    found = []
    for benchmark in shown:
        of = [entry for entry in entries if entry["benchmark"] == benchmark]
        heading = f"{benchmark}: {of[0]['problems']:,} problems"
        if benchmark == MEAN:
            heading = f"mean of {len(benchmarks) - 1} benchmarks"
        found.append((heading, [name for name, _ in columns], [[show(e) for _, show in columns] for e in of]))
    return found


def lines(table: pa.Table) -> list[str]:
    """The table as aligned text."""
    found = []
    for heading, names, rows in sections(table):
        first, *others = [max(len(row[i]) for row in (names, *rows)) for i in range(len(names))]
        found += ["", heading]
        for row in (names, *rows):
            numbers = [cell.rjust(width) for cell, width in zip(row[1:], others, strict=True)]
            found.append("  ".join([row[0].ljust(first), *numbers]).rstrip())
    return found[1:]


def markdown(table: pa.Table) -> str:
    """A table as Markdown; its first row is the header."""
    parts = []
    for heading, names, rows in sections(table):
        ruler = ["---", *["---:"] * (len(names) - 1)]
        parts.append(f"## {heading}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in (names, ruler, *rows)))
    notes = [NOTES, PRM_NOTE] if table["prm"].null_count < len(table) else [NOTES]
    return "\n\n".join([*parts, *notes]) + "\n"


def write(table: pa.Table, store: Store) -> None:
    """Write the table as table.parquet, table.csv and table.md."""
    for key, content in (("table.parquet", _parquet(table)), ("table.csv", _csv(table))):
        store.write(key, content)
    store.write("table.md", markdown(table).encode())


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue()
