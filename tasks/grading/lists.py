"""The answers that a text lists, and the values that they name."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product

from tasks.grading.conditions import ELEMENT
from tasks.grading.names import assigned, variables
from tasks.grading.numbers import number
from tasks.grading.structure import brackets, elements, split, unwrapped
from tasks.grading.tidying import squeezed
from tasks.grading.words import words

AXES = [["x", "y"], ["x", "y", "z"], ["a", "b"], ["a", "b", "c"], ["m", "n"], ["p", "q"]]
"""Names whose values are a point's coordinates."""
INDEX = r"_ ?(\{\d+\}|\d)"
MOST = 200
"""Members of a progression that are written out."""
QUOTIENT = re.compile(r"(?:\\frac ?\{ ?)?([a-zA-Z])(?: ?\} ?\{| ?/) ?([a-zA-Z])(?: ?\})?")
NONE = re.compile(
    r"(?:there (?:is|are|exists?) )?no (?:(?:real|integer|such|possible|valid|positive) )*(?:solutions?|roots?|values?)"
    r"(?: exists?)?|none|empty set|null set|no such .*"
)
"""Words for the empty set."""


def listed(text: str, thousands: bool) -> list[str]:
    """The answers that a text lists: of a list or a set, of ±. x = 1, x = 2 lists values."""
    text = unwrapped(text)
    if (match := ELEMENT.fullmatch(text)) and match[1].startswith("⦃"):
        text = match[1].strip()
    elif text.endswith("⦄") and (value := assigned(text)[1]).startswith("⦃"):
        text = value
    if (pair := brackets(text)) and pair[0] + pair[2] == "⦃⦄" and not _conditional(pair[1]):
        once: dict[str, str] = {}
        for element in elements(pair[1], thousands and re.search("[,;] ", pair[1]) is not None):
            once.setdefault(squeezed(element), element)
        found = list(once.values())
    elif text == "∅" or NONE.fullmatch(words(text) or ""):
        return []
    else:
        found = elements(text, thousands) if number(text) is None or not thousands else [text]
    return _progression(found)


def _progression(found: list[str]) -> list[str]:
    """With the members that 1, 2, ..., 10 leaves out."""
    at = next((i for i, each in enumerate(found) if each == "…"), 0)
    known = [number(each) for each in found if each != "…"]
    if at < 2 or found.count("…") > 1 or at == len(found) - 1 or None in known:
        return found
    values = [value for value in known if value is not None]
    first, step, last = values[0], values[1] - values[0], values[-1]
    count = (last - first) / step if step else Fraction(0)
    if count.denominator > 1 or not at <= count < MOST:
        return found
    members = [first + i * step for i in range(int(count) + 1)]
    rest = values[at:]
    return list(map(str, members)) if values[:at] == members[:at] and rest == members[-len(rest) :] else found


def last_sum(found: list[str]) -> list[str]:
    """Of m = 187, n = 17, m + n = 204 what is made of the others in the end; else all."""
    *before, left = [each.partition("=")[0].strip() for each in found] or [""]
    quotient = len(before) == 1 and QUOTIENT.fullmatch(before[0])
    names = {quotient[1], quotient[2]} if quotient else set(before)
    if len(names) > 1 and (quotient or len(names) == len(before)) and variables(left) == names:
        return found[-1:]
    return found


def indexed(found: list[str]) -> bool:
    """True if each answer is that of an index of its own, as in a_1 = 3, a_2 = 5."""
    names = [squeezed(assigned(element)[0] or "") for element in found]
    return len(names) > 1 and len(set(names)) == len(names) and all(re.search(INDEX, name) for name in names)


def point(found: list[str]) -> str | None:
    """Of x = 3, y = -4, in whatever order, (x, y) = (3, -4)."""
    named = sorted((name or "", value) for name, value in map(assigned, found))
    names = [name for name, _ in named]
    return f"({', '.join(names)}) = ({', '.join(value for _, value in named)})" if names in AXES else None


def values_of(found: list[str]) -> list[str]:
    """Of x = 1, x = 2 and of x_1 = 1, x_2 = 2 the values; what is left has its ± written out."""
    named = [assigned(element) for element in found]
    names = {re.sub(INDEX, "", squeezed(name)) for name, _ in named if name}
    if len(found) > 1 and len(names) == 1 and named[0][0] is not None:
        found = [value for _, value in named]
    return [each for element in found for each in _signs(element)]


def _conditional(content: str) -> bool:
    return len(split(content, "[|:]")) > 1


def _signs(text: str) -> list[str]:
    """Both values of a ± b; each ± stands for itself, but ∓ goes against all. A ∓ alone is a ±."""
    if "±" not in text:
        text = text.replace("∓", "±")
    count = text.count("±")
    if not 0 < count <= 3:
        return [text]
    if "∓" in text:
        up = text.replace("±", "+").replace("∓", "-")
        return [up, text.replace("±", "-").replace("∓", "+")]
    parts = text.split("±")
    return ["".join(map("".join, zip(parts, [*signs, ""], strict=True))) for signs in product("+-", repeat=count)]
