"""Tells if two answers mean the same. It compares their structure, and leaves formulas to `Algebra`."""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks.grading.conditions import pieces, same_variable
from tasks.grading.congruences import residue
from tasks.grading.families import family, with_index
from tasks.grading.formulas import Algebra
from tasks.grading.lists import indexed, last_sum, listed, point, values_of
from tasks.grading.names import assigned, variables
from tasks.grading.numbers import number
from tasks.grading.qualifiers import bare
from tasks.grading.quantities import compound
from tasks.grading.ratios import same_ratio
from tasks.grading.renaming import renamed
from tasks.grading.structure import BRANCH, brackets, cases, entries, joined, matrix, split, unwrapped
from tasks.grading.tidying import squeezed
from tasks.grading.values import near, rounded, same_quantity
from tasks.grading.words import words

DEEPEST = 8
"""Brackets in brackets that are looked into."""
VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
MOST = 200
"""Elements of a list that are looked at."""
OF_X = re.compile(r"[a-zA-Z] ?\( ?x ?\)")
POINT = re.compile(r"(?![NUB] ?\()[A-Z]'? ?(\([^()=]*,[^()=]*\))")
"""A named point: not N(0, 1), a distribution."""
RELATION = "[=<>≤≥≠]"
NO_LIST = re.compile(r"(?<![\d,])[1-9]\d{0,2}(?:,\d{3})*,0\d\d(?!\d)")
"""Digits between commas that are of a number: no element of a list is 000 or 005."""


def same(reference: str, answer: str, algebra: Algebra, depth: int = 0) -> bool:
    """True if a tidy answer means the same as the tidy reference."""
    if squeezed(reference) == squeezed(answer):
        return True
    if depth > DEEPEST:
        return False
    if _same(reference, answer, algebra, depth):
        return True
    one, other = bare(reference), bare(answer)
    if (one.text, other.text) == (reference, answer):
        return False
    return (
        _compatible(one.conditions, other.conditions, algebra, depth)
        and all(
            _same(head.text, note, algebra, depth + 1) or rounded(head.text, note, algebra)
            for head in (one, other)
            for note in head.notes
        )
        and same(one.text, other.text, algebra, depth + 1)
    )


def _compatible(ones: tuple[str, ...], others: tuple[str, ...], algebra: Algebra, depth: int) -> bool:
    """Conditions may be missing; where both have some of a kind, they must be the same."""
    for signs in ("[<>≤≥]", "≠", "∈"):
        some, rest = ([c for c in conditions if re.search(signs, c)] for conditions in (ones, others))
        if some and rest and signs != "∈":
            if not matched(some, rest, lambda a, b: same(a, b, algebra, depth + 1)):
                return False
        elif (
            some
            and rest
            and {squeezed(c.partition("∈")[2]) for c in some} != {squeezed(c.partition("∈")[2]) for c in rest}
        ):
            return False
    return True


def _same(one: str, other: str, algebra: Algebra, depth: int) -> bool:
    (value, modulus), (other_value, other_modulus) = residue(one), residue(other)
    if modulus is not None or (other_modulus is not None and not residue(one)[1]):
        if modulus is None:
            return same(one, other_value, algebra, depth + 1)
        return other_modulus is not None and _same_residue(value, modulus, other_value, other_modulus, algebra, depth)
    if re.search("[<>≤≥≠]|except|excluding|other than", one + other):  # 'or' between inequalities makes one set of them
        sets, other_sets = pieces(one), pieces(other)
        if sets is not None and other_sets is not None:
            return same_variable(one, other) and matched(
                sets, other_sets, lambda a, b: _same_brackets(a, b, algebra, depth)
            )
    if (mine := family(one)) and (its := family(other)):
        members = with_index(its, mine.letter)
        return mine.domain == its.domain and members is not None and same(mine.members, members, algebra, depth + 1)
    if (compound(one) or compound(other)) and same_quantity(one, other, algebra):
        return True
    readings = (True, False) if not any(NO_LIST.search(text) for text in (one, other)) else (True,)
    return any(_same_lists(one, other, thousands, algebra, depth) for thousands in readings)


def _same_residue(one: str, modulus: str, other: str, other_modulus: str, algebra: Algebra, depth: int) -> bool:
    if not same(modulus, other_modulus, algebra, depth + 1):
        return False
    value, other_value, by = number(one), number(other), number(modulus)
    if value is not None and other_value is not None and by:
        return (value - other_value) % by == 0
    return same(one, other, algebra, depth + 1)


def _same_lists(one: str, other: str, thousands: bool, algebra: Algebra, depth: int) -> bool:
    ones, others = listed(one, thousands), last_sum(listed(other, thousands))
    if indexed(ones) and indexed(others):
        return matched(ones, others, lambda a, b: _same_one(a, b, algebra, depth))
    for several, single in ((ones, others), (others, ones)):
        if len(single) == 1 and (together := point(several)):
            pair = (single[0], together) if single is ones else (together, single[0])
            return _same_one(*pair, algebra, depth)
    ones, others = values_of(ones), values_of(others)
    if not thousands and ones == values_of(listed(one, True)) and others == values_of(listed(other, True)):
        return False  # read so before
    if len(ones) == 1 and len(others) == 1:
        return _same_one(ones[0], others[0], algebra, depth)
    if any(re.search("[<>≤≥]", text) for text in (one, other)) and _joined(one) != _joined(other):
        return False
    if len(ones) == 1 and len(others) > 1 and _joined(other) == "or":  # one value in several ways
        return "∞" not in other and all(_same_one(ones[0], each, algebra, depth) for each in others)
    return matched(ones, others, lambda a, b: _same_one(a, b, algebra, depth))


def _joined(text: str) -> str:
    return "or" if re.search(r"(?<![A-Za-z])or(?![A-Za-z])", text) else "and"


def matched(ones: list[str], others: list[str], equal: Callable[[str, str], bool]) -> bool:
    """True if each member of one list is equal to another one of the other list."""
    if len(ones) != len(others) or len(ones) > MOST:
        return False
    left = list(others)
    for a in ones:
        text = squeezed(a)
        at = next((i for i, b in enumerate(left) if squeezed(b) == text), None)
        if at is None:
            at = next((i for i, b in enumerate(left) if equal(a, b)), None)
        if at is None:
            return False
        del left[at]
    return True


def _same_one(one: str, other: str, algebra: Algebra, depth: int) -> bool:
    one, other = _converted(unwrapped(one), algebra), _converted(unwrapped(other), algebra)
    if squeezed(one) == squeezed(other):
        return True
    for approximate, exact in ((one, other), (other, one)):
        sides = split(approximate, "≈")
        if len(sides) == 2 and all(sides):
            value = assigned(sides[0], approximate is one)[1]
            if not near(value, sides[1]):
                return False
            pair = (value, exact) if approximate is one else (exact, value)
            if _same_one(*pair, algebra, depth):
                return True
            pair = (sides[1], exact) if approximate is one else (exact, sides[1])
            return rounded(value, sides[1], algebra) and _same_one(*pair, algebra, depth)
    if not (_true(one, algebra) and _true(other, algebra)):
        return False
    (name, value), (other_name, other_value) = assigned(one), assigned(other, of_reference=False)
    if (enclosed := brackets(other_value)) and "," in enclosed[1] and (match := POINT.fullmatch(one)):
        if other_name in (None, one[0]):
            one = value = match[1]
            other, other_name = other_value, None
    elif (enclosed := brackets(one)) and "," in enclosed[1] and (match := POINT.fullmatch(other)):
        other = other_value = match[1]  # P(2, 3) names a point
    was, (other_name, other_value) = other_value, renamed(name, value, other_name, other_value)
    if was != other_value:
        other = f"{other_name} = {other_value}" if other_name else other_value
    if name and other_name and squeezed(name) != squeezed(other_name) and not _graph(name, other_name):
        return words(one) is None and words(other) is None and algebra.related(one, other)
    if (name and (other_name or not _related(other))) or (other_name and not _related(one)) or not (name or other_name):
        one, other = unwrapped(value), unwrapped(other_value)
    if squeezed(one) == squeezed(other):
        return True
    if (ratios := same_ratio(one, other, algebra)) is not None:
        return ratios
    sets, other_sets = pieces(one), pieces(other)
    if sets is not None and other_sets is not None:
        if not same_variable(one, other):
            return False
        if len(sets) == 1 and len(other_sets) == 1:
            return _same_brackets(sets[0], other_sets[0], algebra, depth)
        return matched(sets, other_sets, lambda a, b: _same_brackets(a, b, algebra, depth))
    rows, other_rows = matrix(one), matrix(other)
    if rows is not None and other_rows is not None:
        return [len(r) for r in rows] == [len(r) for r in other_rows] and all(
            same(a, b, algebra, depth + 1)
            for row, other_row in zip(rows, other_rows, strict=True)
            for a, b in zip(row, other_row, strict=True)
        )
    for rows_of_one, tuple_of_other in ((rows, other), (other_rows, one)):
        if rows_of_one and 1 in (len(rows_of_one), len(rows_of_one[0])):
            cells = [cell for row in rows_of_one for cell in row]
            if len(cells) == len(coordinates := entries(tuple_of_other)) > 1:
                return all(same(a, b, algebra, depth + 1) for a, b in zip(cells, coordinates, strict=True))
    if brackets(one) or brackets(other):
        return _same_brackets(one, other, algebra, depth)
    branches, other_branches = cases(one), cases(other)
    if branches is not None and other_branches is not None:
        return matched(branches, other_branches, lambda a, b: _same_branch(a, b, algebra, depth))
    if "\\begin" in one and "\\begin" in other:
        return algebra.equal(one, other)
    if _related(one) or _related(other):
        return _related(one) and _related(other) and _same_relation(one, other, algebra, depth)
    return same_quantity(one, other, algebra)


def _converted(text: str, algebra: Algebra) -> str:
    """Of 3 hours 24 minutes = 204 minutes the last side, where the sides are one amount."""
    sides = split(text, "=")
    if len(sides) < 2 or not any(compound(side) for side in sides):
        return text
    return sides[-1] if all(same_quantity(side, sides[-1], algebra) for side in sides[:-1]) else text


def _same_branch(one: str, other: str, algebra: Algebra, depth: int) -> bool:
    cells, other_cells = one.split(BRANCH), other.split(BRANCH)
    return len(cells) == len(other_cells) and all(
        same(a, b, algebra, depth + 1) for a, b in zip(cells, other_cells, strict=True)
    )


def _graph(name: str, other: str) -> bool:
    """True if these are y and f(x), which name one thing."""
    return (name == "y" and OF_X.fullmatch(other) is not None) or (other == "y" and OF_X.fullmatch(name) is not None)


def _true(text: str, algebra: Algebra) -> bool:
    """True if a chain's sides without variables, as in x = 2 + 3 = 5, are equal to its last, or rounded to it."""
    sides = split(text, "=")
    if len(sides) < 2 or not all(sides) or re.search("[<>≤≥≠]", text):
        return True
    *before, last = [
        side for side in sides if not VARIABLE.search(side) and not variables(side) and "…" not in side
    ] or [""]
    return all(same_quantity(side, last, algebra) or rounded(side, last, algebra) for side in before)


def _related(text: str) -> bool:
    return len(split(text, RELATION)) > 1


def _same_relation(one: str, other: str, algebra: Algebra, depth: int) -> bool:
    """Chains such as b > a > c by their parts; equations and inequalities by algebra."""
    chains = []
    for text in (one, other):
        sides, signs = split(text, RELATION), re.findall(RELATION, text)
        if len(sides) > 2 and set(signs) <= set(">≥"):
            sides, signs = sides[::-1], [{">": "<", "≥": "≤"}[sign] for sign in signs[::-1]]
        chains.append((sides, signs))
    (sides, signs), (other_sides, other_signs) = chains
    if len(sides) == 2 and len(other_sides) == 2:
        return algebra.related(one, other)
    return signs == other_signs and all(
        same(a, b, algebra, depth + 1) for a, b in zip(sides, other_sides, strict=False)
    )


def _same_brackets(one: str, other: str, algebra: Algebra, depth: int) -> bool:
    """Tuples and intervals: the same brackets, the same things in the same order. Sets: in any order."""
    pair, other_pair = brackets(one), brackets(other)
    if pair is None or other_pair is None or (pair[0], pair[2]) != (other_pair[0], other_pair[2]):
        return False
    if pair[0] == "⦃":
        return same(one, other, algebra, depth + 1)
    return any(
        len(ones) == len(others) and all(same(a, b, algebra, depth + 1) for a, b in zip(ones, others, strict=True))
        for ones, others in ((_inside(pair[1], wide), _inside(other_pair[1], wide)) for wide in (False, True))
    )


def _inside(content: str, wide: bool) -> list[str]:
    """Elements of a tuple. `wide`: commas without a space belong to numbers such as 10,000, where others have one."""
    if wide and re.search(r"[,;] ", content):
        content = joined(content, "")
    return split(content, "[,;]")
