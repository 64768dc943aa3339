"""Numbers and names as people read them."""

from __future__ import annotations

import math

LONGEST = 28
"""Characters of a name that is drawn in a plot."""


def plain(name: str) -> str:
    """A name from a file: printable, and whole, so that it tells apart what it names."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def short(name: str, longest: int = LONGEST) -> str:
    """A name as it is drawn: a long one without its middle, for names differ at their ends."""
    start = longest // 2
    return name if len(name) <= longest else f"{name[:start]}…{name[len(name) - (longest - start - 1) :]}"


def count(value: float) -> str:
    """12,345 or 1.23M: four figures at most from a million on."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def power(value: float, places: int = 2) -> str:
    """1.23 × 10⁹; on an axis with as few places as tell it apart."""
    if not value:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    figures = f"{value / 10.0**exponent:.{max(places, 1)}f}"
    figures = figures.removesuffix(".0") if places < 2 else figures
    return f"10{digits}" if figures == "1" else f"{figures} × 10{digits}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as text in percent; a dash for None and NaN."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """A difference of two shares."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def hours(value: float) -> str:
    """Hours as a number; where they are few, minutes or seconds."""
    if 0 < abs(value) < 0.01:
        return ("−" if value < 0 else "") + span(3600 * abs(value))
    return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "−")


def span(seconds: float) -> str:
    """Seconds as text, in the unit that suits them."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    if 0 < seconds < 0.01:
        return f"{1000 * seconds:.2g} ms"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
