"""The questions about formulas that comparing asks."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class NeedsAlgebra(Exception):
    """There is a formula to compare, and nobody who can."""


class Algebra(Protocol):
    """Formulas. Each may raise NeedsAlgebra."""

    def reads(self, text: str) -> bool:
        """True if the text is a formula."""

    def equal(self, one: str, other: str) -> bool:
        """True if two formulas are equal for all values of their variables."""

    def related(self, one: str, other: str) -> bool:
        """True if two equations or inequalities say the same."""

    def within(self, text: str, low: Fraction, high: Fraction) -> bool:
        """True if the formula's value is a real number from low to high."""


class NoAlgebra:
    """`Algebra` of a process that cannot compare formulas: every question raises NeedsAlgebra."""

    def reads(self, text: str) -> bool:
        """Raises NeedsAlgebra."""
        raise NeedsAlgebra

    def equal(self, one: str, other: str) -> bool:
        """Raises NeedsAlgebra."""
        raise NeedsAlgebra

    def related(self, one: str, other: str) -> bool:
        """Raises NeedsAlgebra."""
        raise NeedsAlgebra

    def within(self, text: str, low: Fraction, high: Fraction) -> bool:
        """Raises NeedsAlgebra."""
        raise NeedsAlgebra
