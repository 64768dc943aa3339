"""Numbers in words, and words that scale a number: twelve, three fifths, 5 lakh, 1.2 thousand, half a dozen."""

from __future__ import annotations

import re
from fractions import Fraction

ONES = re.findall(
    r"\S+",
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen""",
)
TENS = re.findall(r"\S+", "twenty thirty forty fifty sixty seventy eighty ninety")
SMALL = {word: i for i, word in enumerate(ONES)} | {word: 10 * i for i, word in enumerate(TENS, 2)} | {"fourty": 40}
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "quadrillion": 10**15,
    "lakh": 10**5, "lac": 10**5, "crore": 10**7, "arab": 10**9, "mn": 10**6, "mln": 10**6, "mil": 10**6, "bn": 10**9,
    "bln": 10**9, "tn": 10**12, "trn": 10**12, "dozen": 12, "score": 20, "gross": 144, "myriad": 10**4, "ten": 10,
    "grand": 1000, "quintillion": 10**18, "googol": 10**100,
}  # fmt: skip
LETTERS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
"""Scales that are letters: of money only, for elsewhere they are units or variables."""
IRREGULAR = {"half": 2, "halve": 2, "quarter": 4, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
PARTS = IRREGULAR | {f"{word}th": i for i, word in enumerate(ONES) if i >= 4 and f"{word}th" not in ("fiveth",)}
PARTS |= {f"{word[:-1]}ieth": 10 * i for i, word in enumerate(TENS, 2)}
PARTS |= {f"{word}th": scale for word, scale in SCALES.items() if scale >= 100 and len(word) > 4}
SIGNS = {"minus": -1, "negative": -1, "plus": 1, "positive": 1}
WORD = re.compile(r"[a-zA-Z]+")
CHANGES = frozenset([*SMALL, *SCALES, *PARTS, *SIGNS]) - {"second", "score", "ten", "one", "arab", "grand", "mil"}


def single(word: str) -> str:
    """A word without the s of its plural."""
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "gross")) else word


def scale(word: str) -> Fraction | None:
    """The factor that a word after a number stands for: 1000 for thousands, 1/10 for tenths."""
    if word in ("pc", "ones", "one"):
        return Fraction(1) if word == "ones" else None
    lower = single(word.lower())
    if lower in SCALES:
        return Fraction(SCALES[lower])
    return Fraction(1, PARTS[lower]) if lower in PARTS else None


def changes(word: str) -> bool:
    """True if a word says a number, so that it is no unit."""
    return any(single(part.lower()) in CHANGES for part in word.split("-"))


def in_words(text: str) -> tuple[Fraction, str] | None:
    """The number that words begin with, and the words after it; None if they begin with none."""
    words = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.strip().lower()).split()
    sign = Fraction(1)
    if words[1:] and words[0] in SIGNS:
        sign, words = Fraction(SIGNS[words[0]]), words[1:]
    if words and (number := re.fullmatch(r"\d+(?:\.\d+)?", words[0])) and sign != 1:
        return (sign * Fraction(number[0]), "") if len(words) == 1 else None
    if words[:1] == ["half"]:
        words = ["one", *words]
    words = ["one" if w == "a" and single("".join(words[i + 1 : i + 2])) in PARTS else w for i, w in enumerate(words)]
    found, used = _cardinal(words)
    if found is None:
        return None
    rest = words[used:]
    if rest and (single(rest[0]) in PARTS) and rest[0] not in ("second", "seconds"):
        found, rest = found / PARTS[single(rest[0])], rest[1:]
    elif rest[:1] == ["and"]:
        over, used = _cardinal(rest[1:])
        if over is not None and rest[1 + used :] and single(rest[1 + used]) in PARTS:
            found, rest = found + over / PARTS[single(rest[1 + used])], rest[2 + used :]
    if rest[:1] in (["a"], ["of"]) and rest[1:] and single(rest[-1]) in SCALES:
        rest = [word for word in rest if word not in ("a", "of")]
    while rest and single(rest[0]) in SCALES:
        found, rest = found * SCALES[single(rest[0])], rest[1:]
    return sign * found, " ".join(rest)


def _cardinal(words: list[str]) -> tuple[Fraction | None, int]:
    """A cardinal number, and how many words it takes."""
    total, current, used, last = Fraction(0), None, 0, 10**30
    for i, word in enumerate(words):
        if word in SMALL:
            value = SMALL[word]
            if current is not None and not (last >= 20 and value < (10 if last < 100 else 100)):
                break
            current, last = (current or Fraction(0)) + value, value
        elif word in ("a", "an") and current is None and not total and words[i + 1 :] and _scaled(words[i + 1]):
            current, last = Fraction(1), 1
        elif (by := _scaled(word)) and current is not None and word not in ("ten",):
            if by == 100 or by == 12:
                current, last = current * by, by
            else:
                total, current, last = total + current * by, None, by
        elif (
            word == "and"
            and (current is not None or total)
            and words[i + 1 :]
            and words[i + 1] in SMALL
            and last >= 100
        ):
            continue
        elif word in SCALES and current is None and not total and SCALES[word] in (100, 1000, 12, 10**6):
            total, last = Fraction(SCALES[word]), SCALES[word]
        else:
            break
        used = i + 1
    if not used:
        return None, 0
    return total + (current or 0), used


def _scaled(word: str) -> int | None:
    return SCALES.get(single(word))
