"""Numbers that can be read without algebra, exactly."""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.grading.numerals import SMALL, in_words

_WHOLE = r"(?:[1-9]\d?(?:,\d{2})+,\d{3}|[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,300})"
DECIMAL = re.compile(
    rf"(?P<digits>{_WHOLE}(?:\.\d{{0,300}})?|\.\d{{1,300}})"
    r"(?:[eE](?P<e>[-+]?\d{1,3})| ?[×·*] ?10 ?\^ ?(?:\{ ?(?P<p>[-+]? ?\d{1,3}) ?\}|(?P<q>\d)))?",
    re.ASCII,
)
DOTTED = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,20}", re.ASCII)
"""Thousands between dots; of one dot nobody knows."""
POWER = re.compile(r"10 ?\^ ?(?:\{ ?([-+]? ?\d{1,3}) ?\}|(\d))", re.ASCII)
FRACTION = re.compile(
    r"(?:(?P<whole>\d{1,300}) ?)?\\frac ?\{(?P<over>[^{}]{1,320})\} ?\{(?P<under>[^{}]{1,320})\}", re.ASCII
)
SLASHED = re.compile(r"(?:(?P<whole>\d{1,300}) )?(?P<over>[\d.,]{1,320}) ?/ ?(?P<under>[\d.,]{1,320})", re.ASCII)
REPEATING = re.compile(r"(\d{0,300})\.(\d{0,300}) ?\\overline ?\{ ?(\d{1,100}) ?\}", re.ASCII)
GOES_ON = re.compile(r"(-? ?\d{0,300}\.\d{1,300}) ?…")
ENDLESS = re.compile(r"(-?)(\d{0,300})\.(?:(\d{0,100}?)((\d)\5{2,})|()((\d{2,20}?)\8+)) ?…")
"""Decimals that go on in a pattern: 0.1666…, 0.1212…."""
WORDS = re.compile(r"(?:« ?)?([a-zA-Z]{3,}(?:[ -][a-zA-Z]+)*)(?: ?»)?")
CHANCE = re.compile(r"(\d{1,9}) ?« ?(?:in|out of|over) ?» ?(\d{1,9})|(?!)")
BASED = re.compile(
    r"\(? ?([0-9A-F]+) ?\)? ?(?:_ ?\{? ?\(? ?(?:« ?base ?» ?)?(?:(\d+)|« ?(?:base )?([a-z]+) ?») ?\)? ?\}?"
    r"|\(? ?« ?\(?(?:in )?base ?(?:» ?(\d+)|([a-z]+) ?»|(\d+) ?») ?\)?)",
    re.ASCII,
)


def number(text: str) -> Fraction | None:
    """The number that tidy text says: whole, decimal, scientific, fraction or mixed; None if it is none of these."""
    text = text.strip()
    if (match := CHANCE.fullmatch(text)) and int(match[2]):
        return Fraction(int(match[1]), int(match[2]))
    if match := WORDS.fullmatch(text):
        said = in_words(match[1])
        return said[0] if said and not said[1] else None
    sign = 1
    if text.endswith("…") and re.fullmatch(r"-?\d+ ?…", text):
        text = text.rstrip("… ")
    while text[:1] in ("+", "-"):
        sign, text = -sign if text[0] == "-" else sign, text[1:].strip()
        if sign == 1 and text[:1] == "-":
            return None
    if len(text) > 2 and text[0] == "(" and text[-1] == ")":
        inner = None if "," in text else number(text[1:-1])  # in parentheses a comma separates
        return None if inner is None else sign * inner
    if DOTTED.fullmatch(text):
        return Fraction(sign * int(text.replace(".", "")))
    if (plain := _plain(text)) is not None:
        return sign * plain
    for pattern in (FRACTION, SLASHED):
        if match := pattern.fullmatch(text):
            over, under = number(match["over"]), number(match["under"])
            if over is None or not under:
                return None
            whole = int(match["whole"] or 0)
            if match["whole"] and (over < 0 or under < 0 or over.denominator > 1 or under.denominator > 1):
                return None
            return sign * (whole + over / under)
    return None


def _plain(text: str) -> Fraction | None:
    if match := DECIMAL.fullmatch(text):
        digits = re.sub("[, ]", "", match["digits"])
        power = match["e"] or match["p"] or match["q"] or "0"
        return Fraction(digits.rstrip(".") if digits.endswith(".") else digits) * Fraction(10) ** int(
            power.replace(" ", "")
        )
    if match := REPEATING.fullmatch(text):
        fixed = Fraction(int((match[1] + match[2]) or 0), 10 ** len(match[2]))
        return fixed + Fraction(int(match[3]), (10 ** len(match[3]) - 1) * 10 ** len(match[2]))
    if match := ENDLESS.fullmatch(text):
        sign, fixed_digits, block = match[1], match[3] or "", match[5] or match[8]
        fixed = Fraction(int((match[2] + fixed_digits) or 0), 10 ** len(fixed_digits))
        found = fixed + Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(fixed_digits))
        return -found if sign else found
    if match := POWER.fullmatch(text):
        return Fraction(10) ** int((match[1] or match[2]).replace(" ", ""))
    return None


def goes_on(text: str) -> tuple[Fraction, Fraction] | None:
    """Between which two numbers a decimal is that goes on, as 3.14159…; it must show at least 4 places."""
    match = GOES_ON.fullmatch(text.strip())
    if match is None or places(match[1]) < 4:
        return None
    shown, last = Fraction(match[1].replace(" ", "")), Fraction(1, 10 ** places(match[1]))
    return (shown - last, shown) if "-" in match[1] else (shown, shown + last)


def places(text: str) -> int:
    """Decimals that are shown."""
    return len(re.sub(r"[^\d.]", "", text).partition(".")[2])


def ends(value: Fraction) -> bool:
    """True if a number has finitely many decimals."""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def based(text: str) -> tuple[str, str] | None:
    """Digits and base of a number such as 4210_{5}."""
    match = BASED.fullmatch(text.strip())
    if match is None:
        return None
    word = match[3] or match[5]
    base = str(SMALL.get(word, "")) if word else match[2] or match[4] or match[6]
    return (match[1].lstrip("0"), base) if base else None
