r"""LaTeX of answers brought into one way of writing.

What comes out has no spacing and sizing commands and no math delimiters, ⦃ ⦄ for \{ \}, « » around \text{}, single
characters for relations and set signs (= ≠ < > ≤ ≥ ≈ ∈ ∪ ± ∞ °), and ¤ for the dollar sign of money.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 2000
"""Characters of the longest text that is looked into."""
SIGNS = {
    "ge": "≥", "geq": "≥", "geqslant": "≥", "le": "≤", "leq": "≤", "leqslant": "≤", "ne": "≠", "neq": "≠", "lt": "<",
    "gt": ">", "approx": "≈", "simeq": "≈", "pm": "±", "mp": "∓", "cup": "∪", "bigcup": "∪", "in": "∈", "mid": "|",
    "vert": "|", "lvert": "|", "rvert": "|", "emptyset": "∅", "varnothing": "∅", "infty": "∞", "times": "×",
    "cdot": "·", "colon": ":", "lbrace": "⦃", "rbrace": "⦄", "degree": "°", "langle": "⟨", "rangle": "⟩",
    "dfrac": "\\frac", "tfrac": "\\frac", "cfrac": "\\frac", "prime": "'", "lparen": "(", "rparen": ")",
    "lbrack": "[", "rbrack": "]", "dots": "…", "ldots": "…", "cdots": "…",
    **dict.fromkeys(["displaystyle", "textstyle", "left", "right", "quad", "qquad", "limits", "thinspace"], " "),
    **dict.fromkeys([f"{b}{s}" for b in ("big", "Big", "bigg", "Bigg") for s in ("", "l", "r", "m")], " "),
}  # fmt: skip
ESCAPED = {"{": "⦃", "}": "⦄", "%": "%", "$": "¤", "(": " ", ")": " ", "[": " ", "]": " ", "\\": "\\\\"}
ESCAPED |= dict.fromkeys(",;:!> \n", " ") | dict.fromkeys("#&_", "")
UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "÷": "/", "∗": "*", "⋅": "·", "π": "\\pi ", "º": "°", "ℝ": "\\mathbb{R}",
        "²": "^{2}", "³": "^{3}", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "θ": "\\theta ",
        "（": "(", "）": ")", "，": ",", "～": " ", "~": " ", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'",
        "′": "'", "⟨": "⟨", "⩽": "≤", "⩾": "≥", "«": "", "»": "", "⦃": "", "⦄": "", "¤": "", "\u200b": "",
    }
)  # fmt: skip
COMMAND = re.compile(r"\\(?:([a-zA-Z]+)|(.)|$)", re.DOTALL)
TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|textbf|textit|textnormal|operatorname|hbox)\s*\{([^{}]*)\}")
BOLD = re.compile(r"\\(?:mathbf|mathit|boldsymbol|bm|mathsf)\s*\{([^{}]*)\}")
RULES = [
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\circ(?=\s*[CFK]?\s*$)"), "°"),
    (re.compile(r"(?<=\d)\s*(?:\{,\}|,\s*\\!)\s*(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\{,\}|,\s*\\!\s*"), ","),
    (re.compile(r"\\(?:left|right)\s*\."), " "),
]
AFTER = [
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"\\frac\s+\{"), r"\\frac{"),
    (re.compile(r"(\\frac\{[^{}]*\})\s*([0-9a-zA-Z])"), r"\1{\2}"),
    (re.compile(r"(\\frac\{[^{}]*\})\s+\{"), r"\1{"),
    (re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?:\\sqrt\s*|√\s*)([0-9a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"√(\d+)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![\\a-zA-Z])infinity(?![a-zA-Z])"), "∞"),
    (re.compile(r"\+\s*∞"), "∞"),
    (re.compile(r"(?:\\%|\s*(?<![a-zA-Z])(?:percent|pct)(?![a-zA-Z]))"), "%"),
    (re.compile(r"«\s*(?:percent|%)\s*»"), "%"),
    (re.compile(r"«\s*(,?\s*(?:and|or)\s*)»"), r" \1 "),
    (re.compile(r"\^ ?-\s?(\d+)"), r"^{-\1}"),
    (re.compile(r"(?i)(\d)(?::00)?\s*«?\s*([ap])\.?\s?m\.?\s*»?\s*$"), r"\1 «\2m»"),
    (re.compile(r">="), "≥"),
    (re.compile(r"<="), "≤"),
    (re.compile(r"!="), "≠"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\^\s*\{\s*('+)\s*\}|\^\s*('+)"), r"\1\2"),
    (re.compile(r"\s+"), " "),
]


@lru_cache(4096)
def tidy(text: str) -> str:
    """The text in one way of writing; '' where nothing is left of it."""
    text = text.strip().translate(UNICODE)
    for pattern, new in RULES:
        text = pattern.sub(new, text)
    text = COMMAND.sub(_command, TEXT.sub(_text, BOLD.sub(r" \1 ", text)))
    text = re.sub(r"\\text\s*\{\s*\}", " ", text)
    dollars = text.count("$")
    text = text.replace("$", "¤" if dollars == 1 else " ")
    for pattern, new in AFTER:
        text = pattern.sub(new, text)
    return text.strip(" ").rstrip(" .,;:").lstrip("=≈ ").strip()


def _command(match: re.Match[str]) -> str:
    name, sign = match[1], match[2]
    if name:
        new = SIGNS.get(name)
        return match[0] if new is None else new
    return ESCAPED.get(sign, match[0]) if sign else ""


def _text(match: re.Match[str]) -> str:
    r"""Words stay marked as such, for a unit or a name is no product of letters; numbers and signs do not."""
    words = match[1].replace("\\ ", " ")
    return f"«{words}»" if re.fullmatch(r"[A-Za-z\s.'/\-]*[A-Za-z][A-Za-z\s.'/\-]*", words) else f" {words} "


def squeezed(text: str) -> str:
    """Tidy text without what makes no difference in LaTeX, to be compared as text."""
    text = text.replace("«", " ").replace("»", " ")
    text = re.sub(r"(?<=[\^_])\{(\w)\}", r"\1", text)
    return re.sub(r"\s+(?![0-9A-Za-z])|(?<![0-9A-Za-z])\s+", "", text.strip())
