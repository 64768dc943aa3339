"""Formulas, read and compared by math-verify and sympy: in worker processes only, for either may take for ever."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy
from math_verify import verify
from sympy.core.function import AppliedUndef

from tasks.grading.parsing import parsed

MATRICES = (sympy.MatrixBase, sympy.MatrixExpr)
DIGITS = 120
WORKING_DIGITS = 400
CLOSE = sympy.Float("1e-100", DIGITS)
"""Relative difference of values that count as equal; they are computed with DIGITS digits."""
REAL = "xyztrsuvw"
"""Letters of variables that are not only whole numbers where something rounds them."""
ROUNDED = ["floor", "ceiling"]


class Sympy:
    """`Algebra` by sympy."""

    def reads(self, text: str) -> bool:
        """As `Algebra.reads`."""
        return parsed(text) is not None

    def equal(self, one: str, other: str) -> bool:
        """As `Algebra.equal`; False if sympy fails on one of them."""
        return _without_fault(self._equal, one, other)

    def related(self, one: str, other: str) -> bool:
        """As `Algebra.related`; False if sympy fails on one of them."""
        return _without_fault(self._related, one, other)

    def within(self, text: str, low: Fraction, high: Fraction) -> bool:
        """As `Algebra.within`; False if sympy fails on it."""
        return _without_fault(self._within, text, low, high)

    def _equal(self, one: str, other: str) -> bool:
        a, b = parsed(one), parsed(other)
        if a is None or b is None or _undefined(a) or _undefined(b):
            return False
        if any(isinstance(e, MATRICES) for e in (a, b)):
            return _equal_matrices(a.doit(), b.doit())
        if isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr):
            return _equal(a, b)
        if isinstance(a, sympy.Expr) or isinstance(b, sympy.Expr):
            return False
        return _of_one_kind(a, b) and bool(verify(a, b, timeout_seconds=None))

    def _within(self, text: str, low: Fraction, high: Fraction) -> bool:
        found = parsed(text)
        if not isinstance(found, sympy.Expr) or found.free_symbols:
            return False
        value = _value(_frozen(found).doit(), {})
        least, most = (sympy.Rational(f.numerator, f.denominator) for f in (low, high))
        return value is not None and bool(value.is_real) and bool(least <= value) and bool(value <= most)

    def _related(self, one: str, other: str) -> bool:
        sides, signs = _sides(one)
        other_sides, other_signs = _sides(other)
        if len(sides) != 2 or len(other_sides) != 2:
            return False
        found: list[Any] = [parsed(side) for side in (*sides, *other_sides)]
        if not all(isinstance(side, sympy.Expr) for side in found):
            return False
        left, right, other_left, other_right = found
        ratio = _ratio(left - right, other_left - other_right)
        if ratio is None:
            return False
        sign, other_sign = signs[0], other_signs[0]
        if sign in "=≠":
            return bool(sign == other_sign)
        if not ratio.is_real:
            return False
        flipped = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
        return bool(other_sign == (sign if ratio > 0 else flipped[sign]))


def _without_fault(compare: Callable[..., bool], *asked: Any) -> bool:
    """False if sympy fails. If its memory ends, there is no verdict."""
    try:
        return compare(*asked)
    except (MemoryError, RecursionError):
        raise
    except Exception:
        return False


def _sides(text: str) -> tuple[list[str], list[str]]:
    return re.split("[=<>≤≥≠]", text), re.findall("[=<>≤≥≠]", text)


def _equal_matrices(a: Any, b: Any) -> bool:
    if (
        not all(isinstance(e, MATRICES) for e in (a, b))
        or a.shape != b.shape
        or not all(isinstance(n, int | sympy.Integer) for n in a.shape)
    ):
        return False
    a, b = (sympy.Matrix(e) for e in (a, b))
    return all(_equal(x, y) for x, y in zip(a, b, strict=True))


def _of_one_kind(a: Any, b: Any) -> bool:
    kinds = (sympy.Interval,), (sympy.Tuple,), (sympy.Set,)
    return next((k for k in kinds if isinstance(a, k)), None) == next((k for k in kinds if isinstance(b, k)), None)


def _undefined(found: Any) -> bool:
    """True if it has no value: 1/0, log 0, ∞ - ∞, ∞^0. No two such are equal."""
    value = found.doit()
    if isinstance(value, MATRICES):
        return False
    return bool(value.has(sympy.nan, sympy.zoo)) or any(
        node.is_Pow and (node.base.has(sympy.oo) or node.base.doit() == 0) and node.exp.doit() == 0
        for node in sympy.preorder_traversal(found)
    )


def _frozen(expression: Any) -> Any:
    """With derivatives and unknown functions as symbols: nobody knows their values."""
    unknown = expression.atoms(sympy.Derivative, sympy.Integral, AppliedUndef)
    known = {u: sympy.Symbol(str(u)) for u in unknown}
    imaginary = {s: sympy.I for s in expression.free_symbols if str(s) == "i"}
    return expression.xreplace(known).xreplace(imaginary)


def _equal(a: Any, b: Any) -> bool:
    a, b = _frozen(a), _frozen(b)
    if a == b:
        return True
    a, b = a.doit(), b.doit()
    if a == b:
        return True
    if (apart := a - b).is_Rational:  # beside large values even 1 would not be seen
        return bool(apart == 0)
    agreed = 0
    for point in _points(a, b):
        value, other = _value(a, point), _value(b, point)
        if value is None or other is None:
            continue
        if not _close(value, other):
            return False
        agreed += 1
    if agreed >= (2 if a.free_symbols | b.free_symbols else 1):
        return True
    return a.free_symbols == b.free_symbols and not agreed and bool(verify(a, b, timeout_seconds=None))


def _ratio(a: Any, b: Any) -> Any | None:
    """The number that b is of a, at whatever point; None if it changes."""
    a, b = _frozen(a).doit(), _frozen(b).doit()
    if a.free_symbols != b.free_symbols:
        return None
    ratio, agreed = None, 0
    for point in _points(a, b):
        value, other = _value(a, point), _value(b, point)
        if value is None or other is None or value == 0:
            continue
        found = other / value
        if ratio is not None and not _close(ratio, found):
            return None
        ratio, agreed = found, agreed + 1
    return ratio if agreed >= 2 and ratio != 0 else None


def _points(a: Any, b: Any) -> list[dict[Any, Any]]:
    """Values for the variables: fractions, also negative ones; whole numbers where both round."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if not symbols:
        return [{}]
    whole = not any(str(s)[0] in REAL for s in symbols) and all(
        any(type(node).__name__ in ROUNDED or _power_of_minus(node) for node in sympy.preorder_traversal(e))
        for e in (a, b)
    )
    if whole:
        return [{s: sympy.Integer(3 + k + 4 * i) for i, s in enumerate(symbols)} for k in range(8)]
    points = [
        {s: sympy.Rational(13 + 7 * i + 5 * k, 11 + 3 * k + 2 * i) for i, s in enumerate(symbols)} for k in range(3)
    ]
    return points + [points[0] | {s: -points[1][s]} for s in symbols[:4]]


def _power_of_minus(node: Any) -> bool:
    return bool(node.is_Pow and node.base.is_negative and node.exp.free_symbols)


def _value(expression: Any, point: dict[Any, Any]) -> Any | None:
    """A finite complex number, or None."""
    found = expression.xreplace(point).doit() if point else expression
    found = found.evalf(DIGITS, maxn=WORKING_DIGITS)
    return found if found.is_number and found.is_finite and not found.has(sympy.nan, sympy.zoo) else None


def _close(a: Any, b: Any) -> bool:
    size = max(abs(a), abs(b))
    return bool(size == 0 or abs(a - b) <= CLOSE * size)
