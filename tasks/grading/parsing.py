"""Tidy text to sympy, by math-verify's parser: in worker processes only."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify.grader import should_treat_as_complex

from tasks.grading.structure import balanced, unwrapped

CONVERSION = ConversionConfig(lowercase_symbols=False)
LATEX = {
    "⦃": "\\{", "⦄": "\\}", "·": " \\cdot ", "×": " \\times ", "∞": " \\infty ", "∅": " \\emptyset ", "∪": " \\cup ",
    "≤": " \\le ", "≥": " \\ge ", "≠": " \\ne ", "∈": " \\in ", "⟨": "\\langle ", "⟩": "\\rangle ", "«": "\\text{",
    "»": "}", "¤": "", "…": " \\dots ", "±": " \\pm ",
}  # fmt: skip
FOR_THE_PARSER = [
    (re.compile(r"_ ?«([^«»]*)»"), r"_{\1}"),
    (re.compile(r"_ ?\{ ?(?:\\([a-zA-Z]+)|« ?([^«»{}]*?) ?») ?\}"), r"_{\1\2}"),
    (re.compile(r"«([A-Za-z])»"), r" \1 "),
    (re.compile(r"\\hbar(?![a-zA-Z])"), r"\\eta_{hbar}"),
    (re.compile(r"(?<![\\a-zA-Z])E ?_ ?(?:\{ ?(\w+) ?\}|(\w))"), r"\\Xi_{E\1\2}"),
    (re.compile(r"(?<![\\a-zA-Z])I(?![a-zA-Z])"), r"\\iota "),
]
"""What the parser cannot read, or reads as another thing (I as the imaginary unit), in other symbols."""
PLACEHOLDER = re.compile(r"\\(?:square|Box|boxed|fbox)(?![a-zA-Z])|[?_] *$")


@lru_cache(512)
def parsed(text: str) -> Any | None:
    """The formula of a tidy text; None where it is none. Decimals become fractions, so that all is exact."""
    if PLACEHOLDER.search(text):
        return None
    if not balanced(text):
        return None
    latex = re.sub(r"(\d+)°", r"{(\\frac{\1 \\pi}{180})}", text)
    for pattern, new in FOR_THE_PARSER:
        latex = pattern.sub(new, latex)
    latex = re.sub(r"(\d*)\.(\d+)|(\d+)\.(?!\d)", _fraction, latex)
    latex = "".join(LATEX.get(c, c) for c in unwrapped(latex)).strip()
    try:
        found = latex2sympy(
            latex,
            is_real=False if should_treat_as_complex(latex) else None,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=CONVERSION,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:
        return None
    return found if isinstance(found, (sympy.Basic, sympy.MatrixBase)) else None


def _fraction(match: re.Match[str]) -> str:
    whole, part = match[1] or match[3] or "0", match[2] or ""
    return f"{{\\frac{{{int(whole + part)}}}{{{10 ** len(part)}}}}}" if part else whole
