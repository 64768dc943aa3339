"""A problem set with a bit of everything."""

from __future__ import annotations

from typing import Any

MIXED: dict[str, list[Any]] = {"problem": [], "problem_id": [], "answer": [], "level": []}
for n in range(60):
    text: str | None = f"Milo has {n} spoons. Ivan has {n % 7} more. How many has Ivan?"
    MIXED["problem"].append({8: None, 17: "   ", 33: "spoon " * 3000}.get(n, text))
    MIXED["problem_id"].append({3: None, 21: "", 40: "p05"}.get(n, f"p{n:02d}"))
    MIXED["answer"].append(str(n + n % 7) if n in (1, 2, 3) else None)
    MIXED["level"].append(n % 5)
"""Sixty rows: two without a problem, one too long, one whose id an earlier row has, two without ids."""
