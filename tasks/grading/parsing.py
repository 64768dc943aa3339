"""Tidy text to sympy, by math-verify's parser: in worker processes only."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify.grader import should_treat_as_complex

from tasks.grading.functions import OTHERS, inner
from tasks.grading.quantities import is_noun
from tasks.grading.structure import balanced, joined, split, unwrapped
from tasks.grading.tidying import squeezed

DEEPEST = 5
"""Calls in calls that are looked into."""
CONVERSION = ConversionConfig(lowercase_symbols=False)
LATEX = {
    "⦃": "\\{", "⦄": "\\}", "·": " \\cdot ", "×": " \\times ", "∞": " \\infty ", "∅": " \\emptyset ", "∪": " \\cup ",
    "≤": " \\le ", "≥": " \\ge ", "≠": " \\ne ", "∈": " \\in ", "⟨": "\\langle ", "⟩": "\\rangle ", "«": "\\text{",
    "»": "}", "¤": "", "…": " \\dots ", "±": " \\pm ",
}  # fmt: skip
FOR_THE_PARSER = [
    (re.compile(r"\\log ?_ ?(?:\{ ?e ?\}|e(?![a-z]))"), r"\\ln "),
    (re.compile(r"(?<![\\A-Za-z}])C ?_ ?\{? ?(\d+) ?\}? ?\^ ?\{? ?(\d+) ?\}?"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?:\{ ?\})? ?_ ?\{? ?(\d+) ?\}? ?C ?_ ?\{? ?(\d+) ?\}?"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\binom ?\{[^{}]*\} ?\{[^{}]*\}"), r"(\g<0>)"),
    (re.compile(r"\) ?(?=\(|\\frac|\d)|(?<![\d._^])(?<![_^] )(\d+(?:\.\d+)?) ?(?=\()"), r"\g<0> \\cdot "),
    (re.compile(r"(?<![\\A-Za-z_])(?<!_\{)([A-Za-z]*[A-Za-df-z])(\d+)"), r"\1_{\2}"),
    (re.compile(r"_ ?«([^«»]*)»"), r"_{\1}"),
    (re.compile(r"_ ?\{ ?(?:\\([a-zA-Z]+)|« ?([^«»{}]*?) ?») ?\}"), r"_{\1\2}"),
    (re.compile(r"«([A-Za-z])»"), r" \1 "),
    (re.compile(r"\\hbar(?![a-zA-Z])"), r"\\eta_{hbar}"),
    (re.compile(r"(?<![\\a-zA-Z])E ?_ ?(?:\{ ?(\w+) ?\}|(\w))"), r"\\Xi_{E\1\2}"),
    (re.compile(r"(?<![\\a-zA-Z])I(?![a-zA-Z])"), r"\\iota "),
    (re.compile(r"\^ ?(?:\{ ?(T|\\top) ?\}|(T|\\top)(?![a-z]))"), r"^{(\\tau_{T})}"),
    (re.compile(r"\\bmod(?![a-z])"), r"\\mod "),
    (
        re.compile(r"([\d.]+|\\frac ?\{[^{}]*\} ?\{[^{}]*\}|(?<![\\a-zA-Z])[a-zA-Z]|\\[a-z]+) ?°"),
        r"{(\\frac{\1 \\pi}{180})}",
    ),
]
"""What the parser cannot read, or reads as another thing (I as the imaginary unit, (4)(3) as 4 + 3), in another way."""
DIFFERENTIAL = re.compile(r"\\(?:i*nt|oint|partial)(?![a-z])|\\frac ?\{ ?d(?![a-ce-z])")
D = re.compile(r"(\\[a-zA-Z]+(?: ?_ ?\{\w*\})?|«[^«»]*»)|d(?= ?[A-Za-z])")
"""A variable d before another one, which the parser takes for a differential."""
UNREADABLE = re.compile(r"\\(?:square|Box|boxed|fbox)(?![a-zA-Z])|[?_] *$|(?<![A-Za-z_}\d])\d+ ?_|\d ?'")
"""A place left open; a number with an index or a stroke, which the parser drops."""
PRIMED = re.compile(
    r"(\\[a-z]+|[A-Za-z])('+)(?: ?_ ?(?:\{ ?(\w+) ?\}|(\w)))?|(\\[a-z]+|[A-Za-z]) ?_ ?(?:\{ ?(\w+) ?\}|(\w)) ?('+)"
)
APPLIED = re.compile(
    rf"(\\(?:{'|'.join(sorted(OTHERS))}|varphi|phi|psi|Phi|Psi|zeta|Gamma|Beta|sigma|mu)(?![a-zA-Z])"
    r"|(?<![\\A-Za-z_{])[A-DF-HJ-Zabcdfghj-z])"
    r"( ?_ ?(?:\{[^{}]*\}|\w))?('*)( ?\^ ?(?:\{[^{}]*\}|\w))?(?= ?\()"
)
"""A function, or what may be one, before its argument."""
CHOSEN = re.compile(r"(?<![\\A-Za-z_])C ?\( ?(\d+) ?, ?(\d+) ?\)")
CROSS = re.compile(r"(\\(?:vec|hat) ?\{[^{}]*\}) ?× ?(\\(?:vec|hat) ?\{[^{}]*\})")
"""A product of vectors, which has an order."""
NAME = re.compile(r"(?<![\\A-Za-z_{«])[A-Za-z]{4,}(?![A-Za-z}»])")
FACTORS = re.compile(r"[^+\-±]+")


@lru_cache(512)
def parsed(text: str) -> Any | None:
    """The formula of a tidy text; None if it is none. Decimals become fractions, so that all is exact."""
    return _parsed(text, 0)


def _parsed(text: str, depth: int) -> Any | None:
    if UNREADABLE.search(text) or not balanced(text) or depth > DEEPEST:
        return None
    called: dict[Any, Any] = {}
    if "," in text and not re.search(r"[(\[⦃⟨]", text):
        text = joined(text, "")
    text = CHOSEN.sub(r"\\binom{\1}{\2}", text)
    latex = _without_calls(PRIMED.sub(_index, CROSS.sub(r"\\cross(\1,\2)", text)), called, depth)
    latex = NAME.sub(_name, latex)
    for pattern, new in FOR_THE_PARSER:
        latex = pattern.sub(new, latex)
    if "°" in latex:
        return None
    if not DIFFERENTIAL.search(latex):
        latex = D.sub(lambda match: match[1] or "{d}", latex)
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
    if not isinstance(found, (sympy.Basic, sympy.MatrixBase)):
        return None
    found = found.xreplace({symbol: sympy.Symbol(symbol.name) for symbol in found.free_symbols})
    if called:
        names = {symbol: called[symbol.name] for symbol in found.free_symbols if symbol.name in called}
        found = found.xreplace(names) if isinstance(found, sympy.Basic) else found.subs(names)
    return found


def _name(match: re.Match[str]) -> str:
    """Words such as cost or SRMC are names; the parser takes them for products, whose letters have no order."""
    return f"\\Xi_{{{match[0]}}}" if match[0].isupper() or is_noun(match[0]) else match[0]


def _index(match: re.Match[str]) -> str:
    """f'' is a name of its own; the parser takes the strokes for a transpose, and drops them."""
    name, strokes = match[1] or match[5], match[2] or match[8]
    index = match[3] or match[4] or match[6] or match[7] or ""
    return f"{name}_{{{index}p{len(strokes)}}}"


def _without_calls(text: str, called: dict[Any, Any], depth: int) -> str:
    """Calls such as f(2x), which the parser reads as products, as symbols, and in `called` what these stand for.

    A letter before a sum in parentheses may be a factor, and is left to the parser.
    """
    at = 0
    while match := APPLIED.search(text, at):
        inside, end = inner(text, match.end())
        at = match.end()
        named = len(match[1]) > 2 and match[1][1:] in OTHERS
        if inside is None or (not named and not FACTORS.fullmatch(inside.lstrip("-"))):
            continue
        arguments = [_parsed(part, depth + 1) for part in split(inside, "[,;|]")]
        if any(argument is None for argument in arguments):
            arguments = [sympy.Symbol(squeezed(inside))]
        arguments = [a.doit() if isinstance(a, sympy.Expr) else a for a in arguments if a is not None]
        power = match[4] or ""
        inverse = squeezed(power) == "^{-1}"
        power = "" if inverse else power
        name = f"Xi_{{call{depth}{len(called)}}}"
        function = sympy.Function(squeezed(match[1] + (match[2] or "") + match[3]) + "⁻¹" * inverse)
        called[name] = function(*arguments)
        text = f"{text[: match.start()]} \\{name}{power} {text[end:]}"
    return text


def _fraction(match: re.Match[str]) -> str:
    whole, part = match[1] or match[3] or "0", match[2] or ""
    return f"{{\\frac{{{int(whole + part)}}}{{{10 ** len(part)}}}}}" if part else whole
