"""What comparing needs to know of formulas."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class NeedsAlgebra(Exception):
    """There is a formula to compare, and nobody who can."""


class Algebra(Protocol):
    """Formulas. Each may raise NeedsAlgebra."""

    def reads(self, text: str) -> bool:
        """Is the text a formula?"""

    def equal(self, one: str, other: str) -> bool:
        """Are two formulas equal whatever their variables are?"""

    def related(self, one: str, other: str) -> bool:
        """Do two equations or inequalities say the same?"""

    def within(self, text: str, low: Fraction, high: Fraction) -> bool:
        """Is the formula's value a real number from low to high?"""


class NoAlgebra:
    """`Algebra` where nothing can compare formulas: every question raises NeedsAlgebra."""

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
