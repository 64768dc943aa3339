"""Units of measure: told apart from the number they follow, and converted into each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tasks.grading.numbers import number

KNOWN: dict[str, tuple[str, str]] = {
    "mm millimeter millimetre": ("m", "1/1000"), "cm centimeter centimetre": ("m", "1/100"),
    "dm decimeter decimetre": ("m", "1/10"), "m meter metre": ("m", "1"), "km kilometer kilometre": ("m", "1000"),
    "in inch inche": ("m", "0.0254"), "ft foot feet": ("m", "0.3048"), "yd yard": ("m", "0.9144"),
    "mi mile": ("m", "1609.344"), "mg milligram": ("g", "1/1000"), "g gram": ("g", "1"),
    "kg kilogram": ("g", "1000"), "lb lbs pound": ("lb", "1"), "oz ounce": ("lb", "1/16"), "ton tonne": ("ton", "1"),
    "ms millisecond": ("s", "1/1000"), "s sec second": ("s", "1"), "min minute": ("s", "60"),
    "h hr hrs hour": ("s", "3600"), "day": ("s", "86400"), "week": ("s", "604800"), "month": ("month", "1"),
    "year yr yrs": ("month", "12"), "ml mL milliliter millilitre": ("l", "1/1000"), "l L liter litre": ("l", "1"),
    "gallon gal": ("gal", "1"), "quart qt": ("gal", "1/4"), "pint pt": ("gal", "1/8"), "cup": ("gal", "1/16"),
    "cent": ("$", "1/100"), "dollar USD ¤ buck": ("$", "1"), "penny pennie": ("$", "1/100"), "euro €": ("€", "1"),
    "£": ("£", "1"), "degree deg °": ("°", "1"), "rad radian": ("rad", "1"), "%": ("%", "1"), "°C": ("°C", "1"),
    "°F": ("°F", "1"), "newton": ("N", "1"), "joule": ("J", "1"), "watt": ("W", "1"), "volt": ("V", "1"),
    "kelvin": ("K", "1"), "hertz": ("Hz", "1"), "unit": ("unit", "1"), "coulomb": ("C", "1"), "pascal": ("Pa", "1"),
    "ampere amp": ("A", "1"), "tesla": ("T", "1"), "farad": ("F", "1"), "mole": ("mol", "1"),
}  # fmt: skip
NAMED = {name: (kind, Fraction(factor)) for names, (kind, factor) in KNOWN.items() for name in names.split()}
PREFIXES = {"": 0, "T": 12, "G": 9, "M": 6, "k": 3, "m": -3, "μ": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
SYMBOLS = ["eV", "Hz", "Pa", "mol", "J", "W", "V", "N", "C", "A", "F", "T", "K", "m", "g", "s", "L"]
UNITS = {
    prefix + symbol: ("l" if symbol == "L" else symbol, Fraction(10) ** power)
    for symbol in SYMBOLS
    for prefix, power in PREFIXES.items()
    if prefix + symbol != "pm"  # an hour's
}
UNITS |= NAMED
PRODUCTS = frozenset(name for name in UNITS if len(name) < 3 and name not in {*NAMED, "eV", "Hz", "Pa"})
"""Units that outside of \\text{} are rather products of variables, as in 3kT."""
CASELESS = frozenset(re.findall(r"\w+", "cm km kg ft in yd mi lb oz hr min sec day yr gal qt pt cup ton deg rad usd"))
"""Short names that are the same unit in capitals; of other short ones the case tells: mW is not MW."""
TIMES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
NOT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """a an and am as at because below by choose cubed degree factorial fourth from half halves hundredth if is less
        minus mod modulo more not of or over per plus pm quarter root since sixth so squared tenth than the third
        times to twice which""",
    )
)
"""Words after a number that make another thing of it than a number of units."""
WORD = r"(?:«[^«»]*»|(?<![\\A-Za-z«{_^])[A-Za-z]{2,}\.?(?!\s*[({]))(?: ?\^ ?(?:\{ ?-?\d ?\}|\d))?"
TAIL = re.compile(rf"(?P<unit>{WORD}(?: ?/ ?{WORD}| ?/ ?[a-z]| {WORD})*)$")
CURRENCY = re.compile(r"^(-?) ?([¤€£]) ?(.*)$", re.DOTALL)
FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
PART = re.compile(r"([^\s/^]+)(?: ?\^ ?\{? ?(-?\d) ?\}?)?")


MEASURED = re.compile(
    r"(?P<core>.*[\d}]) (?P<unit>[A-Za-zμµ]{1,3}(?:(?: ?/ ?| )[A-Za-zμµ]{1,3}|(?: ?\^ ?(?:\{-?\d\}|\d)))*)", re.DOTALL
)
SCIENTIFIC = re.compile(r"10 ?\^|\d[eE][-+]?\d")


@dataclass(frozen=True, slots=True)
class Unit:
    powers: frozenset[tuple[str, int]]
    """Kinds of unit with their powers."""
    factor: Fraction
    """Of the kinds' own unit."""


def quantity(text: str) -> tuple[str, Unit | None]:
    """Tidy text without its unit, and the unit; the text as it is where it has none."""
    if (match := CURRENCY.match(text)) and not CURRENCY.match(match[3]):
        core, unit = quantity(match[1] + match[3])
        if unit is None or unit == _unit([("dollar", 1)]):
            return core, _unit([(match[2], 1)])
    for sign in ("%", "°"):
        if text.endswith(sign) and text[:-1].strip() and not FUNCTION.search(text):
            return text[:-1].strip(), _unit([(sign, 1)])
    if match := re.search(r" ?° ?«?([CF])»?$", text):
        return text[: match.start()], _unit([("°" + match[1], 1)])
    if SCIENTIFIC.search(text) and re.search("[A-Z]$", text) and measure(text)[1]:
        return measure(text)
    match = TAIL.search(text)
    core = text[: match.start()].strip() if match else ""
    if match is None or not core or core[-1] in "+-·×/^_=<>≤≥,(\\":
        return text, None
    words = match["unit"].replace("«", " ").replace("»", " ").split()
    if words and words[0].lower() in TIMES and (found := number(core)) is not None:
        rest = " ".join(words[1:])
        times = f"{found * TIMES[words[0].lower()]}"
        return quantity(f"{times} {rest}") if rest else (times, None)
    unit = None if "«" not in match["unit"] and PRODUCTS & set(words) else _read(match["unit"])
    counted = number(core) is not None and ("«" in match["unit"] or all(len(w) > 2 for w in words))
    if unit is None and counted and not NOT_UNITS & {w.lower() for w in words}:
        unit = _unit([(" ".join(_singular(w.lower()) if len(w) > 3 else w for w in words), 1)])
    return (core, unit) if unit else (text, None)


def measure(text: str) -> tuple[str, Unit | None]:
    """As `quantity`, of a number with a unit's symbols after a space, which might be variables."""
    match = MEASURED.fullmatch(text)
    unit = _read(match["unit"]) if match and number(match["core"]) is not None else None
    return (match["core"], unit) if match and unit else (text, None)


def _read(text: str) -> Unit | None:
    """A unit all of whose parts are known: words, powers, 'square', 'per'."""
    text = re.sub(r"[«»]", " ", text)
    text = re.sub(r"\bper\b", "/", re.sub(r"\bsquared\b", "^2", re.sub(r"\bcubed\b", "^3", text)))
    parts: list[tuple[str, int]] = []
    for i, side in enumerate(text.replace(" ^", "^").split("/")):
        power = 1
        for match in PART.finditer(side):
            name = match[1].rstrip(".")
            if name.lower() in ("square", "sq", "cubic", "cu"):
                power = 2 if name.lower().startswith("s") else 3
            elif name.lower() in ("mph", "kph", "kmph"):
                parts += [("mile" if name.lower() == "mph" else "km", 1), ("h", -1)]
            elif (known := _known(name)) is not None:
                parts.append((known, (-1 if i else 1) * int(match[2] or power)))
                power = 1
            else:
                return None
    return _unit(parts) if parts else None


def _known(name: str) -> str | None:
    lower = name.lower()
    if len(name) < 4 and lower not in CASELESS:
        return name if name in UNITS else None
    return next((n for n in (name, _singular(name), lower, _singular(lower)) if n in UNITS), None)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _unit(parts: list[tuple[str, int]]) -> Unit:
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for name, power in parts:
        kind, size = UNITS.get(name, (name, Fraction(1)))
        powers[kind] = powers.get(kind, 0) + power
        factor *= size**power
    return Unit(frozenset((k, p) for k, p in powers.items() if p), factor)


PERCENT, DEGREE, RADIAN = _unit([("%", 1)]), _unit([("°", 1)]), _unit([("rad", 1)])
