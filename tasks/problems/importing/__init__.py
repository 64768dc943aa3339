"""Benchmark files (JSON lines, packed or not, or Parquet) made into problem sets.

To add a format: write `tasks/problems/importing/<format>.py` with a function `row(record)` and enter it in `FORMATS`.
It takes one JSON object of the file and gives `problem`, `answer`, where the file has them `problem_id`, `choices` and
`level`, and any column worth carrying; it raises `fields.BadRecord` on a record it cannot use. Rows that lack a
`problem_id` get one from their position, rows without `source` the format's name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from tasks.errors import UserError
from tasks.problems.importing import (
    aime24,
    gaokao2023en,
    gpqa,
    gsm8k,
    jsonl,
    math500,
    minerva_math,
    mmlu_stem,
    olympiadbench,
)
from tasks.problems.importing.conversion import Conversion, Imported
from tasks.storage.stores import Stores

__all__ = ["FORMATS", "Imported", "import_problems"]

FORMATS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "aime24": aime24.row,
    "gaokao2023en": gaokao2023en.row,
    "gpqa": gpqa.row,
    "gsm8k": gsm8k.row,
    "jsonl": jsonl.row,
    "math500": math500.row,
    "minerva_math": minerva_math.row,
    "mmlu_stem": mmlu_stem.row,
    "olympiadbench": olympiadbench.row,
}


def import_problems(format: str, src: str, dest: str, stores: Stores) -> Imported:
    """Write the problems of `src` to the Parquet file `dest`, replacing it; either may be local or s3://.

    `dest` appears whole or not at all. Raises UserError if the format is unknown, `src` cannot be read as that format
    (naming the line and the field), or `dest` cannot be written.
    """
    if format not in FORMATS:
        near = difflib.get_close_matches(format.lower(), FORMATS, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise UserError(f"unknown format {format!r}{hint} Known: {', '.join(FORMATS)}")
    # A file of one's own is named after itself: two of them in one directory must not share their problem_ids.
    name = _stem(src) if format == "jsonl" else format
    return Conversion(FORMATS[format], name, src, stores).write(dest)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0] or "jsonl"
