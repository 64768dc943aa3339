"""Sets of numbers given as intervals, unions, or conditions on one variable, as lists of intervals and points."""

from __future__ import annotations

import re

from tasks.grading.structure import brackets, split

VARIABLE = r"[A-Za-z]|\\[a-z]+"
ELEMENT = re.compile(rf"(?:« ?for (?:all|any|every) ?» ?|\\forall ?)?(?:{VARIABLE}|[a-z]\([a-z]\)) ?∈ ?(.+)", re.DOTALL)
BUILDER = re.compile(rf"({VARIABLE})(?: ?∈ ?\\mathbb ?\{{R\}})? ?[|:] ?(.+)", re.DOTALL)
REALS = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R)|\\R")
ALL = re.compile(
    r"(?i)(?:[a-z]+ (?:is|can be|may be) )?(?:for )?(?:the )?(?:set of )?(?:(?:all|any|every|each) )?(?:the )?"
    r"(?:reals?(?: numbers?| values?(?: of [a-z])?)?(?: [a-z])?|(?:entire )?(?:real )?(?:number )?line)"
)
FRENCH = re.compile(r"([\[\]])([^\[\]]+)([\[\]])")
OR = r"(?<![A-Za-z])or(?![A-Za-z])|\\lor|\\vee"
AND = r" ?(?<![A-Za-z])and(?![A-Za-z]) ?| ?, ?|\\land|\\wedge"
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


def pieces(text: str) -> list[str] | None:
    """Intervals such as (-∞,2] and sets that the text is the union of; None where it is no such set."""
    if match := ELEMENT.fullmatch(text):
        text = match[1].strip()
    if REALS.fullmatch(text):
        return ["(-∞,∞)"]
    if ALL.fullmatch(" ".join(re.sub("[«»]", " ", text).split())):
        return ["(-∞,∞)"]
    parts = split(text, "∪")
    if len(parts) > 1:
        found = [pieces(part) for part in parts]
        return None if any(f is None for f in found) else [one for f in found for one in f or []]
    pair = brackets(text)
    if pair is not None and pair[0] + pair[2] == "⦃⦄":
        builder = BUILDER.fullmatch(pair[1])
        return (pieces(builder[2]) if builder else None) or [text]
    if pair is not None and len(split(pair[1], ",")) == 2:
        return [text]
    if (match := FRENCH.fullmatch(text)) and len(split(match[2], "[,;]")) == 2:
        opening, closing = "(" if match[1] == "]" else "[", ")" if match[3] == "[" else "]"
        return [f"{opening}{match[2].replace(';', ',')}{closing}"]
    return _condition(text)


def same_variable(one: str, other: str) -> bool:
    """Do two such texts speak of the same variable, or one of none? That of {x | x > 3} has no name outside."""
    names, other_names = _variables(one), _variables(other)
    return max(len(names), len(other_names)) < 2 and (not names or not other_names or names == other_names)


def _variables(text: str) -> set[str]:
    if brackets(text):
        return set()
    found = re.split(rf"{OR}|∪", text)
    sides = [side.strip(" ,") for part in found for side in split(part, "[<>≤≥∈]") if re.search("[<>≤≥∈]", part)]
    return {side for side in sides if re.fullmatch(rf"(?:{VARIABLE}|[a-z]\([a-z]\))(?: ?_ ?\{{?\w+\}}?)?", side)}


def _condition(text: str) -> list[str] | None:
    """Of an inequality in one variable; alternatives stand between 'or', two bounds between 'and' or a comma."""
    bounds = [_interval(part.strip(" ,")) for part in re.split(AND, text)]
    if len(bounds) == 2 and same_variable(*re.split(AND, text)):
        lower, upper = sorted(bounds, key=lambda each: (each or "").startswith("(-∞"))
        if lower and upper and lower.endswith(",∞)") and upper.startswith("(-∞,") and not lower.startswith("(-∞"):
            return [lower[: -len("∞)")] + upper[len("(-∞,") :]]
    found = []
    for part in re.split(OR, text):
        sides = split(part.strip(" ,"), "≠")
        if len(sides) == 2 and re.fullmatch(VARIABLE, sides[0]) and not re.fullmatch(VARIABLE, sides[1]):
            found += [f"(-∞,{sides[1]})", f"({sides[1]},∞)"]
            continue
        interval = _interval(part.strip(" ,"))
        if interval is None:
            return None
        found.append(interval)
    return found


def _interval(text: str) -> str | None:
    sides, signs = split(text, "[<>≤≥]"), re.findall("[<>≤≥]", text)
    if len(sides) != len(signs) + 1 or not all(sides):
        return None
    if len(sides) == 2:
        if re.fullmatch(VARIABLE, sides[1]):
            sides, signs = sides[::-1], [FLIPPED[signs[0]]]
        if not re.fullmatch(VARIABLE, sides[0]) or re.fullmatch(VARIABLE, sides[1]):
            return None
        sign, value = signs[0], sides[1]
        if sign in "<≤":
            return f"(-∞,{value}{')' if sign == '<' else ']'}"
        return f"{'(' if sign == '>' else '['}{value},∞)"
    if len(sides) == 3 and re.fullmatch(VARIABLE, sides[1]):
        low, high = sides[0], sides[2]
        if signs[0] in ">≥":
            low, high, signs = high, low, [FLIPPED[s] for s in signs[::-1]]
        if all(s in "<≤" for s in signs) and not re.fullmatch(VARIABLE, low) and not re.fullmatch(VARIABLE, high):
            return f"{'(' if signs[0] == '<' else '['}{low},{high}{')' if signs[1] == '<' else ']'}"
    return None
