"""Do two single answers mean the same: numbers, words, formulas, with or without a unit?"""

from __future__ import annotations

from fractions import Fraction

from tasks.grading.formulas import Algebra
from tasks.grading.numbers import based, number
from tasks.grading.quantities import DEGREE, PERCENT, RADIAN, Unit, quantity
from tasks.grading.structure import unwrapped
from tasks.grading.tidying import squeezed
from tasks.grading.words import words


def same_quantity(one: str, other: str, algebra: Algebra) -> bool:
    """Values with or without units."""
    (value, unit), (other_value, other_unit) = quantity(one), quantity(other)
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
        if shown is None or abs(shown) > 1:
            return same_value(value, other_value, algebra) or same_value(
                _times(value, Fraction(1, 100)), other_value, algebra
            )
        return same_value(_times(value, Fraction(1, 100)), other_value, algebra)
    if unit == DEGREE and "\\pi" in other_value:
        return same_value(_radians(value, unit), other_value, algebra)
    if words(other_value) is not None:
        return False
    return same_value(value, other_value, algebra)


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
    value, other_value = number(one), number(other)
    if value is not None and other_value is not None:
        return value == other_value
    text, other_text = words(one), words(other)
    if text is not None or other_text is not None:
        return text == other_text
    return algebra.equal(one, other)
