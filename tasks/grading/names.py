"""Names and expressions left of a value that is told: x = 5, f(3) = 12, AB + BC = 12, m + n = 256 + 37 = 293."""

from __future__ import annotations

import re

from tasks.grading.structure import split

NAME = re.compile(
    r"(?:[A-Za-z]|\\[A-Za-z]+|[A-Z]{1,4}|«[^«»]*»|[A-Za-z]{3,}(?: [A-Za-z]+)*)'*"
    r"(?: ?_ ?(?:\{[^{}]*\}|\w))?(?:\^\{-1\})?'*(?: ?\([A-Za-z, \\]*\))?"
    r"|\\(?:overline|angle|vec|overrightarrow|bar|hat) ?\{? ?[A-Za-z_{}0-9 ]+\}?|\| ?(?!x)[A-Za-z]{1,2} ?\|"
    r"|\\(?:sin|cos|tan|cot) ?(?:[A-Za-z]|\\[a-z]+)|\([A-Za-z](?:, ?[A-Za-z])+\)"
)
RELATION = "[<>≤≥≠]"
LETTER = r"(?<![\\A-Za-z])[A-Za-z]"
FUNCTIONS = "sin|cos|tan|cot|sec|csc|log|ln|exp|max|min|gcd|lcm|det|arg|deg|dim|tr|rank|sgn|lim|Re|Im|arc[a-z]+|[a-z]+h"
SCRIPT = r" ?[_^] ?(?:\{[^{}]*\}|\w)"
APPLIED = [
    re.compile(r"^\\(?:sum|prod|int|lim)(?![a-z]).*$|^.*\\[bp]?mod(?![a-z]).*$", re.DOTALL),
    re.compile(r"(?<![\\A-Za-z])[a-zA-Z] ?\(\d+(?: ?, ?\d+)*\)"),
    re.compile(r"«[^«»]*»(?: ?\([^()]*\))?"),
    re.compile(r"\\lfloor.*?\\rfloor|\\lceil.*?\\rceil|\|(?! ?x ?\|)[^|]+\|"),
    re.compile(
        r"\\(?:triangle|angle|square|odot|widehat|arc) ?\{?[A-Z]+\}?"
        r"|(?<![\\A-Za-z])(?:[A-Z]{2,4}(?![a-z])|[A-Za-z]{3,})"
    ),
    re.compile(
        r"\\(?:overline|bar|vec|hat|tilde|dot|ddot|mathcal|mathbb|operatorname|binom ?\{[^{}]*\}) ?\{[^{}]*\}"
        r"(?: ?\([^()]*\))?"
    ),
    re.compile(
        rf"(?:\\(?:{FUNCTIONS})|(?<![\\A-Za-z])[A-Zf-hp-rtuv]|\\(?:varphi|phi|psi|Phi|sigma|tau|mu|Gamma|zeta))"
        rf"(?:{SCRIPT}|'+)* ?\([^()]*\)"
    ),
    re.compile(rf"\\(?:{FUNCTIONS}) ?(?:{SCRIPT})* ?(?:\\[a-z]+|\d*[A-Za-z\x01]|\{{[^{{}}]*\}})"),
]
"""Parts that are quantities whatever letters are in them: words, functions of something, segments, angles."""
QUANTITY = "\x01"
VARIABLE = re.compile(r"(\\[a-zA-Z]+|[a-zA-Z])(?: ?_ ?(?:\{[^{}]*\}|\w))?'*")
GREEK = frozenset(
    re.findall(
        r"\S+",
        """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma
        tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell""",
    )
)
COORDINATES = frozenset(re.findall(r"\S+", "x y z r \\theta \\rho \\phi \\varphi"))


CONDITIONED = re.compile(
    r"\S ?(?:« ?,? ?|(?<![A-Za-z«]))(?:at|when|where|if|for|with|while|given|on|because|since|as)"
    r"(?![A-Za-z])"
)
"""Behind a value: what is said next to be equal are other things."""


def assigned(text: str, of_reference: bool = True) -> tuple[str | None, str]:
    """Name and value of x = 5, and of chains x = 2 + 3 = 5 the last value; None if nothing is named.

    An answer may also tell the value of an expression, as in m + n = 12. In a reference, an equation in coordinates is
    a curve, and stays one.
    """
    sides = split(text, "=")
    if len(sides) == 1 or not all(sides) or len(split(text, RELATION)) > 1:
        return None, text
    if sides[0][0] != "«" and any(CONDITIONED.search(side) for side in (sides[:1] if len(sides) == 2 else sides)):
        return None, text
    if not re.search(LETTER, re.sub("«[^«»]*»", "", sides[0])) and NAME.fullmatch(sides[-1]) and sides[0][0] != "«":
        sides = [sides[-1], *sides[:-1]] if len(sides) == 2 else sides  # 5 = x
    if "…" in sides[0] and "…" not in sides[-1]:
        return sides[0], sides[-1]  # 1 + 3 + … + (2n - 1) = n²
    if NAME.fullmatch(sides[0]):
        return (sides[0], sides[-1]) if sides[0] != sides[-1] else (None, text)  # x = x names nothing
    if not any(variables(side) or re.search(LETTER, side) for side in sides):
        return None, sides[-1]
    if _is_quantity(sides[0], of_reference) and not variables(sides[-1]) & variables(sides[0]):
        return sides[0], sides[-1]
    return None, text


def _is_quantity(left: str, of_reference: bool) -> bool:
    """True if this is an expression whose value is told, and not one side of an equation that has to be solved."""
    for pattern in APPLIED:
        for _ in range(3):
            left = pattern.sub(QUANTITY, left)
    if any(re.fullmatch(r"[\d.\s]+", term) for term in split(left, "[+-]") if term):
        return False
    names = variables(left)
    if not names:
        return QUANTITY in left
    if QUANTITY not in left and (len(names) < 2 or (names <= COORDINATES and ("^" in left or of_reference))):
        return False
    return len(names) + left.count(QUANTITY) > 1


def variables(text: str) -> set[str]:
    """Names of variables in a formula, each with its index."""
    return {
        m[0].replace(" ", "")
        for m in VARIABLE.finditer(text)
        if (m[1][1:] in GREEK if m[1][0] == "\\" else m[1] not in "ei")
    }
