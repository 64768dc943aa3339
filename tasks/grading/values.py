"""Tells if two single answers mean the same: numbers, words, formulas, with or without a unit."""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.grading.formulas import Algebra
from tasks.grading.numbers import based, ends, goes_on, number, places
from tasks.grading.quantities import compound, measure, quantity
from tasks.grading.structure import unwrapped
from tasks.grading.tidying import squeezed
from tasks.grading.units import DEGREE, PERCENT, RADIAN, Unit
from tasks.grading.words import predicate, words

SPEED = re.compile(r"\d (?:[kc]?m) ?/ ?(?:s|h)(?: ?\^ ?\{? ?2 ?\}?)?$")
"""Letters that are units also beside a number without one; m^2 and g/h may be of variables."""
DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?/\d\d?/(?:\d\d|\d{4})|\d\d?-\d\d?-\d{4}")
"""A day, and no difference or quotient."""


def same_quantity(one: str, other: str, algebra: Algebra) -> bool:
    """Values with or without units."""
    wholes, other_wholes = compound(one), compound(other)
    if wholes and other_wholes:
        return _same_measure(*wholes[0], *other_wholes[0], algebra)
    if wholes or other_wholes:  # what has no unit may be meant in any of those that the other has
        value, unit = quantity(other if wholes else one)
        return any(
            _same_measure(whole, whole_unit, value, unit, algebra) for whole, whole_unit in wholes or other_wholes
        )
    (value, unit), (other_value, other_unit) = quantity(one), quantity(other)
    if not other_unit and (unit or (number(one) is not None and SPEED.search(other))):
        other_value, other_unit = _measured(other, other_value)
    elif not unit and (other_unit or (number(other) is not None and SPEED.search(one))):
        value, unit = _measured(one, value)
    return _same_measure(value, unit, other_value, other_unit, algebra)


def _measured(text: str, value: str) -> tuple[str, Unit | None]:
    found = measure(text)
    return found if found[1] else (value, None)


def _same_measure(value: str, unit: Unit | None, other_value: str, other_unit: Unit | None, algebra: Algebra) -> bool:
    if unit == other_unit:
        return same_value(value, other_value, algebra)
    if unit and other_unit:
        if unit.powers != other_unit.powers:
            if {unit, other_unit} == {DEGREE, RADIAN}:
                return same_value(_radians(value, unit), _radians(other_value, other_unit), algebra)
            return False
        return same_value(_times(value, unit.factor), _times(other_value, other_unit.factor), algebra)
    if other_unit:
        value, unit, other_value, other_unit = other_value, other_unit, value, None
    if unit == PERCENT:
        shown = number(other_value)
        if shown is not None and abs(shown) > 1:
            return same_value(value, other_value, algebra) or same_value(
                _times(value, Fraction(1, 100)), other_value, algebra
            )
        return same_value(_times(value, Fraction(1, 100)), other_value, algebra)
    if unit == DEGREE and "\\pi" in other_value:
        return same_value(_radians(value, unit), other_value, algebra)
    if (words(other_value) is not None and number(other_value) is None) or (unit == RADIAN and "\\pi" not in value):
        return False
    return same_value(value, other_value, algebra)


def rounded(exact: str, decimal: str, algebra: Algebra) -> bool:
    """True if the decimal is the exact value, rounded to as many places as it has."""
    (value, unit), (shown, shown_unit) = quantity(exact), quantity(decimal)
    if (unit and shown_unit and unit != shown_unit) or not re.fullmatch(r"-?[\d,]*\.?\d+", shown):
        return False
    near = number(shown)
    if near is None:
        return False
    half = Fraction(1, 2 * 10 ** len(shown.partition(".")[2]))
    if (known := number(value)) is not None:
        return abs(known - near) <= half
    return algebra.within(value, near - half, near + half)


def near(value: str, other: str) -> bool:
    """True if a number may be called about equal to another: it agrees to the last place that is not 0, rounded or cut
    off. True also if one of them is no number.
    """
    known, shown = number(value), number(other)
    if known is None or shown is None or known == shown:
        return True
    digits = re.sub(r"[^\d.].*|,", "", other.lstrip("-"))
    if "." in digits:
        return abs(known - shown) < Fraction(1, 10 ** len(digits.partition(".")[2]))
    place = Fraction(10 ** (len(digits) - len(digits.rstrip("0"))))
    return abs(known - shown) < (place if known.denominator > 1 else place / 2)


def _times(value: str, factor: Fraction) -> str:
    if factor == 1:
        return value
    if (found := number(value)) is not None:
        return str(found * factor)
    return f"\\frac{{{factor.numerator}}}{{{factor.denominator}}} \\cdot ({value})"


def _radians(value: str, unit: Unit) -> str:
    return value if unit == RADIAN else f"\\frac{{\\pi}}{{180}} \\cdot ({value})"


def same_value(one: str, other: str, algebra: Algebra) -> bool:
    """Numbers, words, formulas."""
    one, other = unwrapped(one), unwrapped(other)
    if squeezed(one) == squeezed(other):
        return True
    if not one or not other:
        return False
    digits, other_digits = based(one), based(other)
    if digits or other_digits:
        return digits == other_digits
    if DATE.fullmatch(one) or DATE.fullmatch(other):
        return re.findall(r"\d+", one) == re.findall(r"\d+", other)
    value, other_value = number(one), number(other)
    if value is not None and other_value is not None:
        return value == other_value
    for shown, exact, known in ((one, other, other_value), (other, one, value)):
        if span := goes_on(shown):
            if (span_of_other := goes_on(exact)) is not None:
                return max(span[0], span_of_other[0]) < min(span[1], span_of_other[1])
            if known is None:
                return algebra.within(exact, *span)
            return span[0] <= known <= span[1] and (not ends(known) or places(exact) >= places(shown))
    text, other_text = words(one), words(other)
    if text is not None or other_text is not None:
        return text == other_text or (text is not None and other_text is not None and text == predicate(other_text))
    return algebra.equal(_exact(one, value), _exact(other, other_value))


def _exact(text: str, value: Fraction | None) -> str:
    """A number as algebra is given it: not 1e-5, in which it might see Euler's number."""
    return text if value is None else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
