r"""Functions whose names stand without a backslash, or as text: sin(2x), \text{lcm}(4,6), log2(8), xsinx.

Read as products of letters, 2cos(3t) and 3cos(2t) would be equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable

PARSED = {
    **{n: n for n in re.findall(r"\S+", "sin cos tan csc sec cot sinh cosh tanh ln log exp gcd lcm max min det lim")},
    **{n: n for n in re.findall(r"\S+", "arcsin arccos arctan arccsc arcsec arccot")},
    **{f"a{n}": f"arc{n}" for n in re.findall(r"\S+", "sin cos tan csc sec cot")},
    **{f"{a}{n}": f"ar{n}" for n in ("sinh", "cosh", "tanh") for a in ("a", "ar", "arc")},
    "tg": "tan", "ctg": "cot", "cotg": "cot", "cosec": "csc", "arctg": "arctan", "arcctg": "arccot", "lg": "log_{10}",
    "gcf": "gcd", "hcf": "gcd", "GCD": "gcd", "LCM": "lcm", "GCF": "gcd", "HCF": "gcd",
}  # fmt: skip
"""Functions that the parser knows."""
OTHERS = frozenset(
    re.findall(
        r"\S+",
        """cis
    sgn sign erf erfc sinc Li Ei Si Ci Re Im arg Arg tr Tr trace rank dim ker deg ord Res adj diag span sech csch
    coth Var Cov Pr prob argmax argmin sup inf card vol area frac lcd round trunc heaviside sinhc li Gamma Beta zeta
    lambertw cross LambertW var cov conj""",
    )
)
"""Functions whose arguments are compared, and nothing else of them is known."""
WRITTEN: dict[str, Callable[[list[str]], str]] = {
    "sqrt": lambda a: f"\\sqrt{{{a[0]}}}",
    "cbrt": lambda a: f"\\sqrt[3]{{{a[0]}}}",
    "abs": lambda a: f"|{a[0]}|",
    "floor": lambda a: f"\\lfloor {a[0]}\\rfloor ",
    "ceil": lambda a: f"\\lceil {a[0]}\\rceil ",
    "ceiling": lambda a: f"\\lceil {a[0]}\\rceil ",
    "binom": lambda a: f"\\binom{{{a[0]}}}{{{a[1]}}}",
    "binomial": lambda a: f"\\binom{{{a[0]}}}{{{a[1]}}}",
    "comb": lambda a: f"\\binom{{{a[0]}}}{{{a[1]}}}",
    "nCr": lambda a: f"\\binom{{{a[0]}}}{{{a[1]}}}",
    "factorial": lambda a: f"({a[0]})!",
    "pow": lambda a: f"({a[0]})^{{{a[1]}}}",
}
"""Functions that have a sign of their own."""
ARITY = dict.fromkeys(["binom", "binomial", "comb", "nCr", "pow"], 2)
KNOWN = frozenset([*PARSED, *OTHERS, *WRITTEN])
ALWAYS = frozenset(re.findall(r"\S+", "sin cos tan cot sec csc sinh cosh tanh ln arcsin arccos arctan"))
"""Functions that may stick to their argument, as in xsinx."""
STUCK = "|".join([*sorted(ALWAYS, key=len, reverse=True), "log"])
GLUED = re.compile(rf"([a-zA-Z]{{0,2}}?)((?:(?:{STUCK})[xyzt])*(?:{STUCK})[xyzt]?)")
EACH = re.compile(rf"({STUCK})([xyzt]?)")
TEXTS = re.compile(
    rf"«\s*({'|'.join(sorted(KNOWN, key=len, reverse=True))})\s*»(?=\s*[\^_({{\[\\|\d]|\s*[A-Za-z](?![A-Za-z]))"
)
CIS = re.compile(
    r"(?<![\\A-Za-z])cis *(\([^()]*\)|\\frac ?\{[^{}]*\} ?\{[^{}]*\}|[\d.]+ ?°|[\d.]*\\(?:pi|theta|phi|alpha)(?![a-z]))"
)
"""cos + i sin of an angle."""
RUN = re.compile(r"(?<![\\A-Za-z«.])[A-Za-z]+(?![A-Za-z»])")
ARGUMENT = re.compile(
    r"\s*(?:\^\s*(?:\{[^{}]*\}|-?\w)\s*|_\s*(?:\{[^{}]*\}|\w)\s*)*"
    r"(?:[({\[|\d]|\\(?!to|in\b|le|ge|ne|cdot|times)[a-zA-Z]|[A-Za-z](?![A-Za-z])|[a-z]{2}(?![A-Za-z])|-\s*[\d(a-z]"
    r"|(?:sin|cos|tan|ln|log|sqrt|exp)(?![a-z]))"
)


def named(text: str) -> str:
    """Tidy text with all functions as commands."""
    if "«" in text:
        text = TEXTS.sub(lambda match: f" {match[1]} ", text)
    text = CIS.sub(r"e^{i(\1)}", text)
    out, at = [], 0
    for match in list(RUN.finditer(text)):
        if match.start() < at:
            continue
        new, end = _command(text, match)
        if new is not None:
            out += [text[at : match.start()], new]
            at = end
    return "".join([*out, text[at:]]) if out else text


def _command(text: str, match: re.Match[str]) -> tuple[str | None, int]:
    name, end = match[0], match.end()
    if text.rfind("«", 0, match.start()) > text.rfind("»", 0, match.start()):
        return None, end
    if name in WRITTEN:
        inside, closed = inner(text, end)
        parts = _split(inside) if inside is not None else []
        if len(parts) != ARITY.get(name, 1):
            return None, end
        return WRITTEN[name]([named(part) for part in parts]), closed
    if name in PARSED and ARGUMENT.match(text, end):
        new = "\\" + PARSED[name]
        if name == "log" and (base := re.match(r"(\d+)\s*(?=[({\\a-z])", text[end:])) and base[1] in ("2", "10"):
            return f"{new}_{{{base[1]}}}", end + base.end()
        return new + " ", end
    if name in OTHERS and ARGUMENT.match(text, end) and (len(name) > 2 or text[end:].lstrip()[:1] == "("):
        return f"\\{name} ", end
    glued = GLUED.fullmatch(name)
    if glued and name not in KNOWN and (name[-1] in "xyzt" or ARGUMENT.match(text, end)):
        if name in ("cost", "tant", "secy", "lint") and not re.search(r"[\d+\-*/^(}]\s*$", text[: match.start()]):
            return None, end
        return glued[1] + EACH.sub(r"\\\1 \2", glued[2]), end
    return None, end


def inner(text: str, at: int) -> tuple[str | None, int]:
    """The text in the parentheses that open at `at`, and the place where they end."""
    start = at + len(text[at:]) - len(text[at:].lstrip())
    if text[start : start + 1] != "(":
        return None, at
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[start + 1 : i].strip(), i + 1
    return None, at


def _split(text: str) -> list[str]:
    depth, parts, start = 0, [], 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]]]
