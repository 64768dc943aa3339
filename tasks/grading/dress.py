r"""LaTeX and Markdown that only dress an answer: fonts, colours, spaces, boxes, environments that lay it out.

Each command is listed by what becomes of its arguments. What is not listed stays, and what the parser does not know
is not read: an unknown command is never swallowed.
"""

from __future__ import annotations

import re

ENVIRONMENT = re.compile(r"\\begin\s*\{([a-zA-Z]+)\*?\}(?:\s*\{[lcr|@{}. ]*\})?(.*)\\end\s*\{\1\*?\}", re.DOTALL)
LAYOUT = frozenset(
    re.findall(r"\S+", "aligned align alignat gathered gather equation split eqnarray multline displaymath math")
)
LAYOUT |= frozenset(re.findall(r"\S+", "center flushleft flushright"))
TABLES = LAYOUT | {"array", "cases", "rcases", "dcases", "matrix"}
SMALL = re.compile(r"\\(begin|end)\s*\{\s*(?:small|p?small|ps|bs|B|p)?(?:small)?matrix\*?\s*\}")
NOTHING = frozenset(
    re.findall(
        r"\S+",
        """rm bf it sf tt sl sc cal mit em rmfamily bfseries itshape sffamily ttfamily upshape normalfont
            mathstrut
    displaystyle textstyle scriptstyle scriptscriptstyle tiny scriptsize footnotesize small normalsize large Large LARGE
    huge Huge nonumber notag nobreak allowbreak linebreak newline par noindent centering strut left right middle mleft
    mright big Big bigg Bigg bigl bigr bigm Bigl Bigr Bigm biggl biggr biggm Biggl Biggr Biggm quad qquad enspace
    enskip thinspace medspace thickspace negthinspace negmedspace negthickspace space nobreakspace hfill hfil null relax
    limits nolimits ignorespaces hline protect bm mathversion star bigstar therefore checkmark blacksquare blacktriangle
    qed qedsymbol""",
    )
)
"""Commands without arguments that say nothing."""
DROPPED = frozenset(
    re.findall(r"\S+", "hspace vspace color phantom hphantom vphantom label tag pagecolor fontsize selectfont")
)
"""Commands that say nothing, with one argument."""
KEPT = {
    "textcolor": 2,
    "colorbox": 2,
    "fcolorbox": 3,
    "raisebox": 2,
    "scalebox": 2,
    "href": 2,
    "parbox": 2,
    "underset": 2,
    "overset": 2,
}
KEPT |= dict.fromkeys(
    re.findall(
        r"\S+",
        """underline uline boxed fbox framebox underbrace overbrace smash ensuremath mathop mathbin mathrel mathord
    mathinner mathclose mathopen boldsymbol mathbf mathit mathsf mathtt mathnormal bm pmb bold boldmath makebox
    displaylines""",
    ),
    1,
)
"""Commands of whose arguments, so many, the last one is the answer's."""
WORDS = frozenset(
    re.findall(
        r"\S+", "text mathrm mbox textrm textbf textit textnormal hbox emph textsf texttt textsc textmd textup textsl"
    )
)
WORDS |= {"operatorname"}
"""Commands with words in them."""
RENAMED = {
    "nicefrac": "frac", "sfrac": "frac", "xfrac": "frac", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac",
    "dbinom": "binom", "tbinom": "binom", "overleftrightarrow": "overline", "overrightarrow": "vec",
}  # fmt: skip
LENGTH = re.compile(r"\\(?:m?kern|[mh]skip) *-?[\d.]+ *(?:pt|mu|em|ex|cm|mm|in|bp)")
COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
OVER = re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}")
CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}")
ROOT = re.compile(r"\\root *(?:\{([^{}]*)\}|(\w)) *\\of *(?=\{|\w)")
SPLIT_FRACTION = re.compile(r"(?:\{ ?\})?\^ ?\{?(\d+)\}? ?(?:\\[!,:; ])? ?/ ?_ ?\{?(\d+)\}?")
NUMBER = re.compile(r"\\num\s*(?:\[[^\[\]]*\]\s*)?\{([^{}]*)\}")
MEASURED = re.compile(r"\\(?:SI|qty)\s*(?:\[[^\[\]]*\]\s*)?\{([^{}]*)\}\s*\{([^{}]*)\}")
BARE_UNIT = re.compile(r"\\(?:si|unit)\s*\{([^{}]*)\}")
PREFIX = re.compile(r"\\(kilo|milli|centi|micro|nano|mega|giga|deci)\s*\\")
MARKDOWN = re.compile(r"(\*{1,3}|_{2,3}|`{1,3})(?=[^*`\s])((?:(?!\1).)*[^*`\s])\1", re.DOTALL)
LINE = re.compile(r"\\\\(?: ?\[[^\]]*\])?|\\newline(?![a-zA-Z])")
STEP = re.compile(r"\s*(?:=|≈|\\approx|\\iff|\\implies|\\Rightarrow|\\Leftrightarrow|$)")


def undressed(text: str) -> str:
    """The text without what only dresses it. Words stand in « »."""
    if match := MARKDOWN.fullmatch(text.strip()):
        text = match[2]
    if "\\" not in text and "^" not in text:
        return text
    text = re.sub(r"(?<=[\w})\]])\s*\\(?:square|Box)\s*$|\\\\\s*$", "", text)
    if "\\begin" in text:
        text = _laid_out(SMALL.sub(_small, text))
    elif "\\\\" in text:
        text = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)  # as a JSON string has it
    text = CHOOSE.sub(r"\\binom{\1}{\2}", NUMBER.sub(r" \1 ", text))
    text = BARE_UNIT.sub(_measured, MEASURED.sub(_measured, text))
    text = ROOT.sub(lambda match: f"\\sqrt[{match[1] or match[2]}]", LENGTH.sub(" ", text))
    for _ in range(text.count("\\over")):
        text = OVER.sub(r"\\frac{\1}{\2}", text)
    if text.count("\\over ") and "{" not in text:
        text = "\\frac{{{}}}{{{}}}".format(*text.split("\\over ", 1))
    return SPLIT_FRACTION.sub(r"\\frac{\1}{\2}", _commands(text))


def _measured(match: re.Match[str]) -> str:
    r"""siunitx: \qty{7}{\kilo\meter\per\second} as 7 and a unit in words."""
    value, unit = match.groups() if len(match.groups()) == 2 else ("", match[1])
    named = re.sub(r"\\([a-zA-Z]+)", r" \1 ", PREFIX.sub(r"\1", unit))
    return f"{value} \\text{{ {re.sub('[.~]', ' ', named).strip()}}}"


def _commands(text: str) -> str:
    at = 0
    while match := COMMAND.search(text, at):
        start, at, name = match.start(), match.end(), match[1]
        if start and text[start - 1] == "\\" and (start < 2 or text[start - 2] != "\\"):
            continue  # of a line's end
        new, end = None, at
        if name in NOTHING:
            new = " "
        elif name in DROPPED:
            new, end = " ", _argument(text, at)[1]
        elif name in RENAMED:
            new = "\\" + RENAMED[name]
        elif name in KEPT or name in WORDS:
            inside: str | None = None
            for _ in range(KEPT.get(name, 1)):
                inside, end = _argument(text, end)
            if inside is not None and name in ("underbrace", "overbrace") and text[end : end + 1] in "_^":
                end = _argument(text, end + 1)[1]
            if inside is not None:
                new = marked(_commands(inside)) if name in WORDS else _grouped(inside)
        if new is not None:
            text = text[:start] + new + text[end:]
            at = start + (len(new) if name in WORDS or name in RENAMED else 0)
    return text


def _argument(text: str, at: int) -> tuple[str | None, int]:
    """A command's argument in braces, or its one character, and where it ends; None if there is none."""
    match = re.compile(r"\s*(?:\[[^\[\]]*\]\s*)?(?:(\{)|(\\[a-zA-Z]+|\w)|)").match(text, at)
    if match is None or not (match[1] or match[2]):
        return None, at
    if match[2]:
        return match[2], match.end()
    depth = 0
    for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, match.end() - 1):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[match.end() : brace.start()], brace.end()
    return None, at


def _grouped(inside: str) -> str:
    return f" {inside} " if re.fullmatch(r"\s*(?:[\w.]+|\\[a-zA-Z]+)\s*", inside) else f"{{{inside}}}"


WORDY = re.compile(r"[A-Za-zÀ-ÿμΩ\s.,'’/\-:!?]*[A-Za-zÀ-ÿμΩ][A-Za-zÀ-ÿμΩ\s.,'’/\-:!?]*")
MEASURE = re.compile(r"(?:[A-Za-zμΩÅ°%\s.]|[·*×/()~]|\\cdot ?|\\times ?|\\[,;: ]|\^ ?(?:-?\d|\{ ?[-−]?\d+ ?\}))*")
NAME = r"[A-Za-zÀ-ÿ]+(?:['’\-][A-Za-zÀ-ÿ]+)*"
RUN = re.compile(rf"(?<![\\A-Za-z\d_^{{$])(?=[A-Za-zÀ-ÿ]{{2}}){NAME}(?:[ ,]+{NAME})*(?![\d_^{{}}])")


def marked(words: str) -> str:
    """Words stay marked as such, for a unit or a name is no product of letters; numbers and signs do not."""
    words = words.replace("\\ ", " ").replace("~", " ")
    if not words.strip():
        return " "
    if "«" in words:
        return f" {words} "
    words = re.sub(r"\\(?:cdot|times)(?![a-zA-Z])", "·", words)
    if WORDY.fullmatch(words):
        return f"«{words}»"
    if MEASURE.fullmatch(words) and re.search("[A-Za-zμΩÅ]", words) and re.search(r"[·*×/^~\\]", words):
        return re.sub(r"[A-Za-zμΩÅ]+(?:\s+[A-Za-z]{2,})*", lambda m: f"«{m[0]}»", words.replace("\\,", "·"))
    return " " + RUN.sub(lambda match: f"«{match[0]}»", words) + " "


def _small(match: re.Match[str]) -> str:
    return f"\\{match[1]}{{pmatrix}}"


def _laid_out(text: str) -> str:
    """Without the environment that lays out the whole: its rows are steps of one chain, or answers of a list."""
    match = ENVIRONMENT.fullmatch(re.sub(r"^\s*\\left\s*\\?[{.]|\\right\s*(?:\\\}|\.)\s*$", "", text).strip())
    if match is None or match[1] not in TABLES or "\\begin" in match[2]:
        return text
    rows = [row.strip() for row in LINE.split(match[2])]
    rows = [row for row in rows if row]
    if match[1] in LAYOUT:
        rows = [row.replace("&", " ") for row in rows]
    elif len(rows) == 1 and "&" not in rows[0]:
        return rows[0]
    elif not all("=" in row and len(re.findall("(?<!&)&", row)) < 3 for row in rows) or match[1] == "matrix":
        return text  # a table says what its cells are
    else:
        rows = [row.replace("&", " ") for row in rows]
    return "".join(row if i == 0 or STEP.match(row) else f", {row}" for i, row in enumerate(rows))
