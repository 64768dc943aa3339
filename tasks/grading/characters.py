"""Characters beyond ASCII in LaTeX: what Unicode says of them decides, not a list of characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

SIGNS = {
    "−": "-", "–": "-", "—": "-", "‒": "-", "‐": "-", "‑": "-", "÷": "/", "∕": "/", "⁄": "/", "∗": "*", "⋅": "·",
    "•": "·", "∙": "·", "✕": "×", "✖": "×", "⨯": "×", "π": "\\pi ", "º": "°", "˚": "°", "’": "'", "‘": "'", "′": "'",
    "″": "''", "‴": "'''", "“": "", "”": "", "⩽": "≤", "⩾": "≥", "≦": "≤", "≧": "≥", "≃": "≈", "≅": "≈", "∼": "≈",
    "∩": "\\cap ", "∖": "\\setminus ", "∉": "\\notin ", "∧": "\\land ", "∨": "\\lor ", "⋯": "…",
    "→": "\\to ", "∠": "\\angle ", "△": "\\triangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ",
    "⌉": "\\rceil ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ", "∂": "\\partial ", "∇": "\\nabla ", "ℏ": "\\hbar ",
    "ℓ": "\\ell ", "ℝ": "\\mathbb{R}",
    "𝐑": "\\mathbb{R}", "ℕ": "\\mathbb{N}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}",
    "、": ",", "，": ",", "。": ".", "٫": ".", "٬": ",", "〈": "⟨", "〉": "⟩", "∣": "|",
    "µ": "μ", "℃": "°C", "℉": "°F", "Ø": "∅", "⌀": "∅", "～": " ", "☆": "\\star ", "★": "\\star ",
    "∴": "\\therefore ", "⇒": "\\therefore ", "✓": "\\star ", "✔": "\\star ", "■": "\\star ", "∎": "\\star ",
    "ı": "i", "‖": "\\|", "∥": "\\parallel ", "⊥": "\\perp ",
}  # fmt: skip
ROOTS = {"√": "\\sqrt", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]"}
OURS = "«»⦃⦄¤"
"""Marks that stand for something in tidy text."""
PLAIN = frozenset("°×·≤≥≠≈∈∪±∓∞∅⟨⟩…Ωμ‰≡≢Å¥€£₹¢₩₽₺₱₫₴₪元円圓%√∛∜")
"""What tidy text, the parser or the units know as it is."""
COUNTED = dict.fromkeys("个人名次种件只条本张道题位岁对棵辆组", "") | {
    "万": " \\text{ myriad}", "亿": " \\text{ hundred million}", "千": " \\text{ thousand}", "百": " \\text{ hundred}",
    "米": "\\text{ m}", "厘米": "\\text{ cm}", "毫米": "\\text{ mm}", "千米": "\\text{ km}", "公里": "\\text{ km}",
    "平方米": "\\text{ m}^2", "平方厘米": "\\text{ cm}^2", "立方米": "\\text{ m}^3", "立方厘米": "\\text{ cm}^3",
    "小时": "\\text{ h}", "分钟": "\\text{ min}", "秒": "\\text{ s}", "天": "\\text{ days}", "年": "\\text{ years}",
    "克": "\\text{ g}", "千克": "\\text{ kg}", "公斤": "\\text{ kg}", "吨": "\\text{ t}", "升": "\\text{ L}", "度": "°",
    "万元": " \\text{ myriad}", "万人": " \\text{ myriad}", "亿元": " \\text{ hundred million}",
}  # fmt: skip
CHINESE = re.compile(r"(?<=[\d}])\s*(?:\\text\s*\{\s*)?([\u4e00-\u9fff]{1,4})(?:\s*\})?(?=\s*$)")
"""Behind a number: what is counted, a unit, or a word that scales it."""
LETTERS = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?([A-Z]+)$")
SMALL_FRACTION = re.compile(r"\^\{(\d+)\}/_\{(\d+)\}")
OVERLINED = re.compile("((?:[0-9A-Za-z][\u0304\u0305])+)")
ROOT = re.compile(r"([√∛∜])\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[a-zA-Z](?![a-zA-Z])|\\[a-z]+ )|(?=[{\\]))")


@lru_cache(4096)
def in_latex(text: str) -> str:
    """The text in ASCII, LaTeX and the signs that tidy text has: digits of every script and width, powers, indices,
    fractions, roots, Greek letters, and letters in other fonts."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    text = CHINESE.sub(lambda match: COUNTED.get(match[1], match[0]), text)
    text = OVERLINED.sub(lambda match: f"\\overline{{{re.sub('[^0-9A-Za-z]', '', match[1])}}}", text)
    spelled = ((kind, "".join(new for _, new in run)) for kind, run in groupby(_spelled(text), lambda each: each[0]))
    text = "".join(f"{kind}{{{new}}}" if kind in ("^", "_") else new for kind, new in spelled)
    return ROOT.sub(_root, SMALL_FRACTION.sub(r"\\frac{\1}{\2}", text))


def _spelled(text: str) -> Iterator[tuple[str, str]]:
    """Of each character where it stands (^ and _ are of the raised and the lowered) and what it says there."""
    for c in text:
        kind, _, base = unicodedata.decomposition(c).partition("> ")
        if c.isascii() or c in PLAIN:
            yield "", c
        elif c in OURS:
            yield "", ""
        elif c in SIGNS:
            yield "", SIGNS[c]
        elif kind in ("<super", "<sub"):
            yield ("^" if kind == "<super" else "_"), _plain(base)
        elif kind == "<fraction":
            over, _, under = _plain(base).partition("/")
            yield "", f"\\frac{{{over}}}{{{under or 1}}}"
        else:
            yield "", _letter(unicodedata.normalize("NFKC", c) if kind else c)


def _plain(code_points: str) -> str:
    return "".join(_letter(SIGNS.get(c, c)) for c in (chr(int(point, 16)) for point in code_points.split()))


def _letter(text: str) -> str:
    if len(text) != 1:
        return text
    if (digit := unicodedata.decimal(text, None)) is not None:
        return str(digit)
    if match := LETTERS.match(unicodedata.name(text, "")):
        name = match[2].lower().replace("lamda", "lambda")
        return f"\\{name if match[1] == 'SMALL' else name.capitalize()} "
    category = unicodedata.category(text)
    if category == "So" and text > "\u2700":  # an ornament
        return " "
    return " " if category == "Zs" else "" if category in ("Cf", "Mn") else SIGNS.get(text, text)


def _root(match: re.Match[str]) -> str:
    inside = match[2] or match[3]
    return ROOTS[match[1]] + (f"{{{inside}}}" if inside else "")
