r"""LaTeX of answers brought into one way of writing.

What comes out has no spacing and sizing commands and no math delimiters, ⦃ ⦄ for \{ \}, « » around \text{}, single
characters for relations and set signs (= ≠ < > ≤ ≥ ≈ ∈ ∪ ± ∞ °), and ¤ for the dollar sign of money.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from tasks.grading.characters import in_latex
from tasks.grading.dress import undressed
from tasks.grading.functions import named

LONGEST = 2000
"""Characters of the longest text that is looked into."""
SIGNS = {
    "ge": "≥", "geq": "≥", "geqslant": "≥", "geqq": "≥", "le": "≤", "leq": "≤", "leqslant": "≤", "leqq": "≤",
    "ne": "≠", "neq": "≠", "lt": "<", "gt": ">", "approx": "≈", "simeq": "≈", "doteq": "≈", "pm": "±", "mp": "∓",
    "cup": "∪", "bigcup": "∪", "in": "∈", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "emptyset": "∅",
    "varnothing": "∅", "infty": "∞", "times": "×", "cdot": "·", "ast": "·", "colon": ":", "lbrace": "⦃", "rbrace": "⦄",
    "degree": "°", "langle": "⟨", "rangle": "⟩", "prime": "'", "lparen": "(", "rparen": ")", "lbrack": "[",
    "rbrack": "]", "dots": "…", "ldots": "…", "cdots": "…", "dotsc": "…", "dotsb": "…", "equiv": "≡", "div": "/",
    "textdegree": "°", "angstrom": "Å", "AA": "Å", "euro": "€", "texteuro": "€", "pounds": "£", "textsterling": "£",
    "yen": "¥", "textyen": "¥", "rupee": "₹", "permil": "‰", "textdollar": "¤", "colonequals": "=", "coloneqq": "=",
    "percent": "%", "dollar": "¤", "land": " and ", "lor": " or ", "vee": " or ",
}  # fmt: skip
ESCAPED = {"{": "⦃", "}": "⦄", "%": "%", "$": "¤", "(": " ", ")": " ", "[": " ", "]": " ", "\\": "\\\\"}
ESCAPED |= dict.fromkeys(",;:!> \n/", " ") | dict.fromkeys("#&_", "")
COMMAND = re.compile(r"\\(?:([a-zA-Z]+)|(.)|$)", re.DOTALL)
RULES = [
    (
        re.compile(r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree))|\\circ(?=\s*[CFK]?\s*$)|\^\s*(?:\{°\}|°)"),
        "°",
    ),
    (re.compile(r"\\\\(?=[%$])"), r"\\"),
    (re.compile(r"(?<![\d.,}])0\{,\}(?=\d)"), "0."),  # no thousands begin with 0
    (re.compile(r"(?<=\d)\s*(?:(?:\\!\s*)*(?:\{,\}|\\text\s*\{,\}|,\s*\\!)|')\s*(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=\d)\{,\}(?=\d+(?!\d))"), "."),
    (re.compile(r"\{,\}|,\s*\\!\s*"), ","),
    (re.compile(r"\{([:;=<>])\}"), r"\1"),
    (re.compile(r"\\(?:Bbb|mathds|bbR)\s*\{?\s*([NZQRC])(?![A-Za-z])\s*\}?"), r"\\mathbb{\1}"),
    (re.compile(r"\\mathbb\s+([NZQRC])(?![A-Za-z])"), r"\\mathbb{\1}"),
    (re.compile(r"\^\s*(\\frac\{\d+\}\{\d+\})"), r"^{\1}"),
    (re.compile(r"(?<=\d)\s*∘"), "°"),
    (re.compile(r"\\(?:mathring|r)\s*\{?\s*A\s*\}?(?![a-zA-Z])"), "Å"),
    (re.compile(r"(?<=\d)\s*/-(?=\s*$)"), ""),
    (re.compile(r"(?<=[\d.])\s*\\dot\s*\{?(\d)\}?(\d*)\s*\\dot\s*\{?(\d)\}?"), r"\\overline{\1\2\3}"),
    (re.compile(r"(?<=[\d.])\s*\\(?:dot|bar)\s*\{?(\d+)\}?"), r"\\overline{\1}"),
    (re.compile(r"\\(?:left|right)\s*\."), " "),
    (re.compile(r"(?<=\d)\\,(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=[\d}a-z])\\[;,: ]\s*(m\s*\^\s*(?:\{[23]\}|[23]))\s*(?=\$?\s*$)"), r"\\text{\1}"),
    (re.compile(r"\\math(?:bb|cal|frak|scr)\s*\{([\d.,]+)\}"), r"\1"),
    (re.compile(r"(^|\\in\s*)\\(?:mathbf|bm|boldsymbol)\s*\{?R\}?(?=\s*$)"), r"\1\\mathbb{R}"),
]
TOKEN = r"(\d|[a-zA-Z]|\\(?:pi|alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|phi|omega|hbar)(?![a-zA-Z]))"
"""What may stand for an argument without braces, as in \\frac\\pi3."""


def _degrees(match: re.Match[str]) -> str:
    """30° 15' 36'' in degrees."""
    whole, minutes, seconds = (int(part or 0) for part in match.groups())
    if not match[2] and not match[3]:
        return match[0]
    value = whole + Fraction(minutes, 60) + Fraction(seconds, 3600)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}°"


AFTER: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(rf"\\(frac|binom)\s*{TOKEN}\s*{TOKEN}"), r"\\\1{\2}{\3}"),
    (re.compile(rf"\\(frac|binom)\s*{TOKEN}\s*\{{"), r"\\\1{\2}{"),
    (re.compile(r"\\frac\s+\{"), r"\\frac{"),
    (re.compile(rf"(\\(?:frac|binom)\{{[^{{}}]*\}})\s*{TOKEN}"), r"\1{\2}"),
    (re.compile(r"(\\frac\{[^{}]*\})\s+\{"), r"\1{"),
    (re.compile(rf"\\sqrt\s*{TOKEN}"), r"\\sqrt{\1}"),
    (re.compile(rf"\\sqrt\s*(\[[^\[\]]*\])\s*{TOKEN}"), r"\\sqrt\1{\2}"),
    (re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![\\a-zA-Z])infinity(?![a-zA-Z])"), "∞"),
    (re.compile(r"\+\s*∞"), "∞"),
    (re.compile(r"\s*«?\s*(?<![a-zA-Z])(?:per\s?cent|percentage|pct)(?![a-zA-Z])\s*»?"), "%"),
    (re.compile(r"«\s*(,?\s*(?:and|or)\s*)»"), r" \1 "),
    (re.compile(r"\^ ?\(([^(){}]{1,60})\)"), r"^{(\1)}"),
    (re.compile(r"\^ ?-\s?(\d+)"), r"^{-\1}"),
    (re.compile(r"(?<=\d) ?x ?(?=10 ?\^)"), "×"),
    (re.compile(r"(?i)(\d)(?::00)?\s*«?\s*([ap])\.?\s?m\.?\s*»?\s*$"), r"\1 «\2m»"),
    (re.compile(r"(?i)(\d)(?::00)?\s*«?\s*in the (?:morning) ?»?\s*$"), r"\1 «am»"),
    (re.compile(r"(?i)(\d)(?::00)?\s*«?\s*(?:in the (?:afternoon|evening)|at night) ?»?\s*$"), r"\1 «pm»"),
    (re.compile(r"\\(max|min|gcd|lcm) ?⦃([^⦃⦄]*)⦄"), r"\\\1(\2)"),
    (re.compile(r"^«?\s*(?:negative|minus)\s*»?\s*(?=[\d.\\(¤])", re.IGNORECASE), "-"),
    (re.compile(r">="), "≥"),
    (re.compile(r"<="), "≤"),
    (re.compile(r"(?<!\d)!="), "≠"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\.{3}|· ?· ?·"), "…"),
    (re.compile(r"\^\s*\{\s*('+)\s*\}|\^\s*('+)"), r"\1\2"),
    (re.compile(r"(?<!\d)(\d+) ?° ?(?:(\d+) ?'(?!'))? ?(?:(\d+) ?(?:''|\"))?(?=\s*$)"), _degrees),
    (re.compile(r"\s+"), " "),
]


LEADS = re.compile(
    r"^(?:\\(?:implies|Rightarrow|Longrightarrow|rightarrow|to|iff|bullet|triangleright|leadsto)(?![a-zA-Z]) ?|· ?)+"
    r"|^\"(?=.*\"$)|\"$"
)
"""Arrows and quotation marks before an answer."""


@lru_cache(4096)
def tidy(text: str) -> str:
    """The text in one way of writing; '' if nothing is left of it. A text longer than LONGEST is left as it is."""
    if len(text) > LONGEST:
        return text.strip()
    text = in_latex(text.strip()).replace("~", " ")
    for pattern, new in RULES:
        text = pattern.sub(new, text)
    text = COMMAND.sub(_command, undressed(text))
    dollars = text.count("$")
    text = text.replace("$", "¤" if dollars == 1 else " ")
    for pattern, written in AFTER:
        text = pattern.sub(written, text)
    text = LEADS.sub("", re.sub(r"\s+", " ", named(text)).strip())
    return text.strip(" ").rstrip(" .,;:").lstrip("=≈ ").strip()


def _command(match: re.Match[str]) -> str:
    name, sign = match[1], match[2]
    if name:
        new = SIGNS.get(name)
        return match[0] if new is None else new
    return ESCAPED.get(sign, match[0]) if sign else ""


def squeezed(text: str) -> str:
    """Tidy text without what makes no difference in LaTeX, to be compared as text."""
    text = text.replace("«", " ").replace("»", " ")
    text = re.sub(r"(?<=[\^_])\{(\w)\}", r"\1", text)
    return re.sub(r"\s+(?![0-9A-Za-z])|(?<![0-9A-Za-z])\s+", "", text.strip())
