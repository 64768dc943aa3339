"""Answers in words: a name, a day, a phrase."""

from __future__ import annotations

import re

FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """sin cos tan cot sec csc log ln exp lim max min mod det gcd lcm arcsin arccos arctan sinh cosh tanh sqrt abs
        deg rank floor ceil binom sgn""",
    )
)
TEXT = re.compile(r"[A-Za-z0-9À-ÿ\s.,'’()\-/&!?:\"]+")
SAME = {
    "dne": "does not exist",
    "doesn t exist": "does not exist",
    "limit does not exist": "does not exist",
    "it does not exist": "does not exist",
    "not defined": "undefined",
    "is undefined": "undefined",
    "is not defined": "undefined",
    "infinitely many solutions": "infinitely many",
    "infinite": "infinitely many",
    "infinite solutions": "infinitely many",
    "infinite number of solutions": "infinitely many",
}
"""Phrases that mean the same."""
SHORT = {"no", "up"}


def words(text: str) -> str | None:
    """The words, in lower case and without articles; None if the text is mathematics."""
    marked = "«" in text
    plain = text.replace("«", " ").replace("»", " ")
    if not TEXT.fullmatch(plain):
        return None
    found = re.findall(r"[A-Za-zÀ-ÿ]+", plain)
    if not any(len(w) >= 3 and w.lower() not in FUNCTIONS for w in found) and not (
        (marked and any(len(w) >= 2 for w in found)) or [w.lower() for w in found] in [[s] for s in SHORT]
    ):
        return None
    if not marked and re.search(r"\d\s*[/(]|[)/]\s*\d", plain):
        return None
    plain = re.sub(r"[^\w\s/-]", " ", plain.lower()).replace("-", " ")
    said = " ".join(w for w in plain.split() if w not in ("the", "a", "an")) or plain.strip()
    return SAME.get(said, said)


SAID = re.compile(
    r"(?!(?:.* )?(?:not|no|none|neither|nor|if|whether|either|only|but)\b)(?:[a-z]+ ){1,5}?(?:is|are) (.+)"
)


def predicate(said: str) -> str | None:
    """The predicate that words say of their subject: ellipse, of 'the graph is an ellipse'."""
    match = SAID.fullmatch(said)
    return match[1] if match else None
