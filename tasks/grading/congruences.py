"""Residues: N ≡ 12 (mod 1000)."""

from __future__ import annotations

import re

from tasks.grading.structure import split

MODULUS = re.compile(
    r" ?(?:\\pmod ?|\( ?(?:\\[bp]?mod|«? ?mod ?»?) ?|\\[bp]?mod(?![a-z]) ?|«? ?\bmod(?:ulo)?\b ?»? ?)"
    r"(?:\{ ?([^{}()]+?) ?\}|([^{}()]+?)) ?\)?$"
)


def residue(text: str) -> tuple[str, str | None]:
    """The value that a congruence tells, and its modulus; the text as it is, and None, where it is none."""
    sides = split(text, "≡")
    match = MODULUS.search(sides[-1])
    if len(sides) > 1 and all(sides):
        value, modulus = (sides[-1][: match.start()], match[1] or match[2]) if match else (sides[-1], "")
        return value.strip(), modulus
    if match and ("pmod" in match[0] or "(" in match[0]) and match.start():
        return text[: match.start()].strip(), match[1] or match[2]
    return text, None
