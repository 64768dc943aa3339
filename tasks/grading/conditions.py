"""Sets of numbers given as intervals, unions, or conditions on one variable, as lists of intervals and points."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from tasks.grading.numbers import number
from tasks.grading.structure import brackets, split

VARIABLE = r"[A-Za-z]|\\[a-z]+"
ELEMENT = re.compile(rf"(?:« ?for (?:all|any|every) ?» ?|\\forall ?)?(?:{VARIABLE}|[a-z]\([a-z]\)) ?∈ ?(.+)", re.DOTALL)
BUILDER = re.compile(rf"({VARIABLE})(?: ?∈ ?\\mathbb ?\{{R\}})? ?[|:] ?(.+)", re.DOTALL)
REALS = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R)|\\R")
ALL = re.compile(
    r"(?i)(?:[a-z]+ (?:is|can be|may be) )?(?:for )?(?:the )?(?:set of )?(?:(?:all|any|every|each) )?(?:the )?"
    r"(?:(?P<kind>non-? ?negative|non-? ?positive|(?:strictly )?positive|(?:strictly )?negative) )?"
    r"(?:reals?(?: numbers?| values?(?: of [a-z])?)?(?: [a-z])?|(?:entire )?(?:real )?(?:number )?line)"
    r"(?:,? (?:except|excluding|other than|apart from|besides|but not|not equal to|different from)(?: for)?"
    r"(?P<left_out>(?: [a-z] ?=)? ?[^a-zA-Z ].*))?"
)
UNEQUAL = re.compile(rf"({VARIABLE}) ?≠(?=.*(?:,|and|\\\\land).)")
AND_SAID = r" ?(?:,|(?<![a-z])and(?![a-z])) ?"
CALLED = re.compile(r"(?i)(?:the )?(?:(open|closed|half-open|half-closed) )?interval ?([(\[].*[)\]])")
WITHOUT = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R) ?(?:\\setminus|\\backslash|\\smallsetminus|\\\\|-) ?([⦃(\[].+[⦄)\]])")
HALF = re.compile(r"\\mathbb ?(?:\{ ?R ?\}|R) ?[_^] ?(\{[^{}]*\}|[+-])")
HALVES = {
    "≥": "[0,∞)", ">": "(0,∞)", "+": "(0,∞)", "≤": "(-∞,0]", "<": "(-∞,0)", "-": "(-∞,0)", "nonnegative": "[0,∞)",
    "positive": "(0,∞)", "strictlypositive": "(0,∞)", "nonpositive": "(-∞,0]", "negative": "(-∞,0)",
    "strictlynegative": "(-∞,0)",
}  # fmt: skip
ABSOLUTE = re.compile(rf"\| ?(?:{VARIABLE}) ?(?:([+-]) ?(\d+(?:\.\d+)?|\\frac ?\{{\d+\}} ?\{{\d+\}}) ?)?\|")
FRENCH = re.compile(r"([\[\]])([^\[\]]+)([\[\]])")
OR = r"(?<![A-Za-z])or(?![A-Za-z])|\\lor|\\vee"
AND = r" ?(?<![A-Za-z])and(?![A-Za-z]) ?| ?, ?|\\land|\\wedge"
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


def pieces(text: str) -> list[str] | None:
    """Intervals such as (-∞,2] and sets that the text is the union of; None if it is no such set."""
    if match := ELEMENT.fullmatch(text):
        text = match[1].strip()
        if text == "R":
            return ["(-∞,∞)"]
    if REALS.fullmatch(text):
        return ["(-∞,∞)"]
    if (match := HALF.fullmatch(text)) and (half := HALVES.get(re.sub("[{} 0]", "", match[1]))):
        return [half]
    if (match := WITHOUT.fullmatch(text)) and (rest := _without(match[1].strip())):
        return rest
    said = " ".join(re.sub("[«»]", " ", text).split())
    if match := ALL.fullmatch(said):
        if match["left_out"]:
            points = re.sub(r"(?<![a-z])[a-z] ?=", "", match["left_out"].strip())
            return _without(f"⦃{re.sub(AND_SAID, ',', points)}⦄")
        return [HALVES[re.sub("[^a-z]", "", match["kind"].lower())] if match["kind"] else "(-∞,∞)"]
    if match := CALLED.fullmatch(said):
        ends = {"open": "()", "closed": "[]"}.get((match[1] or "").lower(), match[2][0] + match[2][-1])
        return pieces(match[2]) if ends == match[2][0] + match[2][-1] else None
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


def _without(left_out: str) -> list[str] | None:
    """The real line without a set of numbers, or without an interval."""
    pair = brackets(left_out)
    if pair is None:
        return None
    points = split(pair[1], "[,;]")
    if pair[0] + pair[2] == "⦃⦄":
        known = {point: number(point) for point in points}
        if len(points) > 1 and None in known.values():
            return None
        edges = ["-∞", *sorted(set(points), key=lambda point: known[point] or 0), "∞"]
        return [f"({low},{high})" for low, high in pairwise(edges)]
    if len(points) != 2:
        return None
    return [f"(-∞,{points[0]}{')' if pair[0] == '[' else ']'}", f"{'(' if pair[2] == ']' else '['}{points[1]},∞)"]


def _around(text: str) -> list[str] | None:
    """Of |x - c| < r the interval around c, of > the two beside it, for numbers."""
    sides, signs = split(text, "[<>≤≥]"), re.findall("[<>≤≥]", text)
    if len(sides) != 2 or len(signs) != 1:
        return None
    if ABSOLUTE.fullmatch(sides[1]):
        sides, signs = sides[::-1], [FLIPPED[signs[0]]]
    match, radius = ABSOLUTE.fullmatch(sides[0]), number(sides[1])
    if match is None or radius is None or radius <= 0:
        return None
    centre = (number(match[2]) or Fraction(0)) * (-1 if match[1] == "+" else 1) if match[2] else Fraction(0)
    low, high = centre - radius, centre + radius
    closed = signs[0] in "≤≥"
    if signs[0] in "<≤":
        return [f"{'[' if closed else '('}{low},{high}{']' if closed else ')'}"]
    return [f"(-∞,{low}{']' if closed else ')'}", f"{'[' if closed else '('}{high},∞)"]


def same_variable(one: str, other: str) -> bool:
    """True if two such texts speak of the same variable, or one of none. That of {x | x > 3} has no name outside."""
    names, other_names = _variables(one), _variables(other)
    return max(len(names), len(other_names)) < 2 and (not names or not other_names or names == other_names)


def _variables(text: str) -> set[str]:
    if brackets(text):
        return set()
    found = re.split(rf"{OR}|∪", text)
    sides = [side.strip(" ,") for part in found for side in split(part, "[<>≤≥≠∈]") if re.search("[<>≤≥≠∈]", part)]
    return {side for side in sides if re.fullmatch(rf"(?:{VARIABLE}|[a-z]\([a-z]\))(?: ?_ ?\{{?\w+\}}?)?", side)}


def _condition(text: str) -> list[str] | None:
    """Of an inequality in one variable; alternatives stand between 'or', two bounds between 'and' or a comma."""
    if around := _around(text):
        return around
    if (match := UNEQUAL.match(text)) and not re.search("[=<>≤≥]|(?<![a-z])or(?![a-z])", text):
        points = [part for part in re.split(AND, text) if part and part.strip("«» ")]
        return _without(f"⦃{','.join(re.sub(f'^ ?{re.escape(match[1])} ?≠', '', point) for point in points)}⦄")
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
