"""The solutions of a page, compact and harmless: JSON, compressed, in base64, which no text in it can break out of."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

CHUNK = 250
"""Solutions whose texts are inflated together."""
EXCERPT = 140
"""Characters of a problem in the list."""
POOLED = ("verdict", "status", "level")
DETAILS = ("problem", "user", "reference", "answer", "error", "metadata", "score", "steps", "cut", "begun")


def pack(solutions: list[dict[str, Any]], about: dict[str, Any]) -> tuple[str, list[str]]:
    """The index (a column for each thing that is listed, filtered or sorted by, and what there is to know `about` the
    runs and the page), and the chunks of texts."""
    index: dict[str, Any] = about | {"chunk": CHUNK}
    for name in POOLED:
        pool = sorted({solution[name] for solution in solutions})
        places = {value: n for n, value in enumerate(pool)}
        index[f"{name}s"] = pool
        index[name] = [places[solution[name]] for solution in solutions]
    for name in ("id", "sample", "cell", "picked", "marks", "reward", "target_steps", "tokens"):
        index[name] = [solution[name] for solution in solutions]
    index["excerpt"] = [" ".join(solution["problem"][: 2 * EXCERPT].split())[:EXCERPT] for solution in solutions]
    chunks = [
        _packed([[solution[name] for name in DETAILS] for solution in solutions[start : start + CHUNK]])
        for start in range(0, len(solutions), CHUNK)
    ]
    return _packed(index), chunks


def _packed(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: half a surrogate pair stays an escape
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
