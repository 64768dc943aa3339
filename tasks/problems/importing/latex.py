"""Answers as the benchmarks' LaTeX writes them."""

from __future__ import annotations

import re

BOX = re.compile(r"\\boxed\s*\{")


def last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...} whose braces balance; None where there is none. \{ and \} do not count."""
    for start in reversed(list(BOX.finditer(text))):
        depth = 1
        at = start.end()
        while at < len(text):
            if text[at] == "\\":
                at += 1  # skip what is escaped
            elif text[at] == "{":
                depth += 1
            elif text[at] == "}":
                depth -= 1
            if depth == 0:
                return text[start.end() : at].strip()
            at += 1
    return None


def without_dollars(answer: str) -> str:
    r"""An answer without its math delimiters, as MATH writes its own. \$, the currency, stays."""
    return re.sub(r"(?<!\\)\$", "", answer).strip()
