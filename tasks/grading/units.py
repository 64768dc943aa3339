"""Units of measure: what they are made of, and what they are of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

KNOWN: dict[str, tuple[str, str]] = {
    "mm millimeter millimetre": ("m", "1/1000"), "cm centimeter centimetre": ("m", "1/100"),
    "dm decimeter decimetre": ("m", "1/10"), "m meter metre": ("m", "1"), "km kilometer kilometre": ("m", "1000"),
    "in inch inche": ("m", "0.0254"), "ft foot feet": ("m", "0.3048"), "yd yard": ("m", "0.9144"),
    "mi mile": ("m", "1609.344"),
    "Å angstrom": ("m", "1e-10"), "micron": ("m", "1e-6"), "nanometer nanometre": ("m", "1e-9"),
    "mg milligram": ("g", "1/1000"), "g gram gm": ("g", "1"), "kg kilogram kilo": ("g", "1000"),
    "lb lbs pound": ("lb", "1"), "oz ounce": ("lb", "1/16"), "ton tonne": ("ton", "1"),
    "ms millisecond": ("s", "1/1000"), "s sec second": ("s", "1"), "min minute": ("s", "60"),
    "h hr hrs hour": ("s", "3600"), "day": ("s", "86400"), "week wk": ("s", "604800"), "month": ("month", "1"),
    "year yr yrs": ("month", "12"), "decade": ("month", "120"), "century centurie": ("month", "1200"),
    "gallon gal": ("gal", "1"), "quart qt": ("gal", "1/4"), "pint pt": ("gal", "1/8"), "cup": ("gal", "1/16"),
    "cent ¢": ("$", "1/100"), "dollar USD ¤ buck": ("$", "1"), "penny pennie": ("$", "1/100"),
    "euro € EUR": ("€", "1"), "£ GBP quid": ("£", "1"), "₹ rupee INR Rs": ("₹", "1"), "paise paisa": ("₹", "1/100"),
    "¥ yuan RMB CNY 元 yen JPY 円 圓": ("¥", "1"), "₩ won KRW": ("₩", "1"), "₽ ruble rouble RUB": ("₽", "1"),
    "degree deg °": ("°", "1"), "rad radian": ("rad", "1"), "%": ("%", "1"), "‰": ("%", "1/10"), "°C": ("°C", "1"),
    "°F": ("°F", "1"), "celsius": ("°C", "1"), "fahrenheit": ("°F", "1"), "unit": ("unit", "1"),
    "byte": ("byte", "1"), "bit": ("bit", "1"), "acre": ("acre", "1"), "mole": ("mol", "1"), "kelvin": ("K", "1"),
    "ampere amp": ("A", "1"), "u amu Da dalton": ("u", "1"),
}  # fmt: skip
NAMED: dict[str, tuple[tuple[tuple[str, int], ...], Fraction]] = {
    name: (((kind, 1),), Fraction(factor)) for names, (kind, factor) in KNOWN.items() for name in names.split()
}
DERIVED: dict[str, tuple[str, str]] = {
    "N newton": ("g m s-2", "1e3"), "J joule": ("g m2 s-2", "1e3"), "W watt": ("g m2 s-3", "1e3"),
    "Pa pascal": ("g m-1 s-2", "1e3"), "Hz hertz": ("s-1", "1"), "C coulomb": ("A s", "1"),
    "V volt": ("g m2 s-3 A-1", "1e3"), "F farad": ("g-1 m-2 s4 A2", "1e-3"), "T tesla": ("g s-2 A-1", "1e3"),
    "Ω ohm \\Omega": ("g m2 s-3 A-2", "1e3"), "H henry": ("g m2 s-2 A-2", "1e3"), "Wb weber": ("g m2 s-2 A-1", "1e3"),
    "L l liter litre": ("m3", "1e-3"), "ml mL milliliter millilitre cc": ("m3", "1e-6"),
    "dyn dyne": ("g m s-2", "1e-2"),
    "erg": ("g m2 s-2", "1e-4"), "Wh": ("g m2 s-2", "3600e3"), "M molar": ("mol m-3", "1e3"),
    "ha hectare": ("m2", "1e4"), "D debye": ("A s m", "3.33564e-30"),
}  # fmt: skip
"""Units made of others, which they equal: 1 J is 1 N·m."""
NAMED |= {
    name: (tuple((k, int(p or 1)) for k, p in re.findall(r"([A-Za-z]+)(-?\d)?", powers)), Fraction(factor))
    for names, (powers, factor) in DERIVED.items()
    for name in names.split()
}
PREFIXES = {"": 0, "T": 12, "G": 9, "M": 6, "k": 3, "m": -3, "μ": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
SYMBOLS = re.findall(r"\S+", "eV Hz Pa mol J W V N C A F T K m g s L Ω H Wb Wh M")
UNITS = {
    prefix + symbol: (
        NAMED.get(symbol, (((symbol, 1),), Fraction(1)))[0],
        NAMED.get(symbol, ((), Fraction(1)))[1] * Fraction(10) ** power,
    )
    for symbol in SYMBOLS
    for prefix, power in PREFIXES.items()
    if prefix + symbol != "pm"  # an hour's
}
UNITS |= {name: one for name, one in NAMED.items() if name not in UNITS}
PRODUCTS = frozenset(name for name in UNITS if len(name) < 3 and name not in {*NAMED, "eV", "Hz", "Pa"})
"""Units that outside of \\text{} are rather products of variables, as in 3kT."""
CASELESS = frozenset(re.findall(r"\w+", "cm km kg ft in yd mi lb oz hr min sec day yr gal qt pt cup ton deg rad usd"))
"""Short names that are the same unit in capitals; of other short ones the case tells: mW is not MW."""
TOKEN = re.compile(
    r"(?P<name>[^\W\d_]+\.?|°[CF]?|%|\\Omega)|(?P<power>\^ ?\{? ?(?P<p>-? ?\d) ?\}?)|(?P<sign>[/()·*×])|\s+"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as powers of kinds, and its size."""

    powers: frozenset[tuple[str, int]]
    """Kinds of unit with their powers."""
    factor: Fraction
    """Of the kinds' own unit."""


def read_unit(text: str, counted: bool = False) -> Unit | None:
    """A unit: words, powers, products, 'square', 'per', parentheses below a stroke. `counted`: of whatever things."""
    text = re.sub(r"\b(?:per|for every|for each|a piece)\b", "/", re.sub("[«»~]", " ", text))
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = re.sub(r"\bsquared\b", "^2", re.sub(r"\bcubed\b", "^3", text)).replace("\\cdot", "·")
    parts: list[tuple[str, int]] = []
    sign, waiting, at = 1, 1, 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match["power"]:
            if not parts:
                return None
            parts[-1] = (parts[-1][0], parts[-1][1] * int(match["p"].replace(" ", "")))
        elif match["sign"]:
            sign = -1 if match["sign"] == "/" else sign
        elif match["name"]:
            name = match["name"].rstrip(".")
            lower = name.lower()
            if lower in ("square", "sq", "cubic", "cu"):
                waiting = 2 if lower.startswith("s") else 3
            elif lower in ("mph", "kph", "kmph"):
                parts += [("mile" if lower == "mph" else "km", sign), ("h", -sign)]
            elif (known := _known(name)) is not None or (counted and len(name) > 1):
                parts.append((known or (_singular(lower) if len(name) > 3 else name), sign * waiting))
                waiting = 1
            else:
                return None
    return unit_of(parts) if parts else None


def _known(name: str) -> str | None:
    lower = name.lower()
    if len(name) < 4 and lower not in CASELESS:
        return name if name in UNITS else None
    return next((n for n in (name, _singular(name), lower, _singular(lower)) if n in UNITS), None)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def unit_of(parts: list[tuple[str, int]]) -> Unit:
    """The unit that is the product of named units with their powers."""
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for name, power in parts:
        kinds, size = UNITS.get(name, (((name, 1),), Fraction(1)))
        for kind, p in kinds:
            powers[kind] = powers.get(kind, 0) + p * power
        factor *= size**power
    return Unit(frozenset((k, p) for k, p in powers.items() if p), factor)


PERCENT, DEGREE, RADIAN = unit_of([("%", 1)]), unit_of([("°", 1)]), unit_of([("rad", 1)])
