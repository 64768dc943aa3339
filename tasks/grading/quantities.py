"""Units of measure: told apart from the number they follow, and converted into each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tasks.grading.numbers import number
from tasks.grading.numerals import LETTERS, changes, in_words, scale

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
    "ampere amp": ("A", "1"),
}  # fmt: skip
NAMED = {name: (((kind, 1),), Fraction(factor)) for names, (kind, factor) in KNOWN.items() for name in names.split()}
DERIVED: dict[str, tuple[str, str]] = {
    "N newton": ("g m s-2", "1e3"), "J joule": ("g m2 s-2", "1e3"), "W watt": ("g m2 s-3", "1e3"),
    "Pa pascal": ("g m-1 s-2", "1e3"), "Hz hertz": ("s-1", "1"), "C coulomb": ("A s", "1"),
    "V volt": ("g m2 s-3 A-1", "1e3"), "F farad": ("g-1 m-2 s4 A2", "1e-3"), "T tesla": ("g s-2 A-1", "1e3"),
    "Ω ohm \\Omega": ("g m2 s-3 A-2", "1e3"), "H henry": ("g m2 s-2 A-2", "1e3"), "Wb weber": ("g m2 s-2 A-1", "1e3"),
    "L l liter litre": ("m3", "1e-3"), "ml mL milliliter millilitre cc": ("m3", "1e-6"), "dyn dyne": ("g m s-2", "1e-2"),
    "erg": ("g m2 s-2", "1e-4"), "Wh": ("g m2 s-2", "3600e3"), "ha hectare": ("m2", "1e4"),
}  # fmt: skip
"""Units made of others, which they equal: 1 J is 1 N·m."""
NAMED |= {
    name: (tuple((k, int(p or 1)) for k, p in re.findall(r"([A-Za-z]+)(-?\d)?", powers)), Fraction(factor))
    for names, (powers, factor) in DERIVED.items()
    for name in names.split()
}
PREFIXES = {"": 0, "T": 12, "G": 9, "M": 6, "k": 3, "m": -3, "μ": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
SYMBOLS = [
    "eV",
    "Hz",
    "Pa",
    "mol",
    "J",
    "W",
    "V",
    "N",
    "C",
    "A",
    "F",
    "T",
    "K",
    "m",
    "g",
    "s",
    "L",
    "Ω",
    "H",
    "Wb",
    "Wh",
]
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
NOT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """a an and am as at because below beneath above by choose cubed degree factorial from if is less fewer short minus
        mod modulo more most not no nor never of or over out plus pm root since so squared than the times to twice thrice
        which where when bc bce ad ce under up negative positive percentage point base least times fold before after
        january february march april june july august september october november december jan feb mar apr jun jul aug
        sep oct nov dec monday tuesday wednesday thursday friday saturday sunday th st nd rd choose""",
    )
)
"""Words after a number that make another thing of it than a number of units."""
FILLERS = re.compile(
    r"(?<![A-Za-z])(?:in (?:total|all|the end)|altogether|overall|total|each|only|exactly|respectively|as well|too)\b"
)
"""Words after a number that say nothing."""
EXPONENT = r"(?: ?\^ ?(?:\{ ?-? ?\d ?\}|\d))?"
WORD = rf"(?:«[^«»]*»|(?<![\\A-Za-z«{{_^])[A-Za-zμ]{{2,}}\.?(?!\s*[({{])|Å|Ω|\\Omega(?![a-z])){EXPONENT}"
ONE = rf"(?:{WORD}|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]){EXPONENT})"
TAIL = re.compile(rf"(?P<unit>{WORD}(?: ?/ ?\( ?{ONE}(?:[ ·*]+{ONE})* ?\)| ?/ ?{ONE}| ?[·*×] ?{ONE}| ?{WORD})*)$")
ENCLOSED = re.compile(r"^(.*[\d}]) ?[(\[] ?(«[^()\[\]]*|[a-z]{2,}) ?[)\]]$", re.DOTALL)
QUOTIENT = re.compile(r"\\frac ?\{ ?(«[^{}]*) ?\} ?\{ ?(«[^{}]*) ?\}")
SIGNED = re.compile(
    r"^(-?) ?(?:«?\s*(US|USD|U\.S\.|A|AU|C|CA|CAD|HK|NT|S|SG|NZ|R)\s*»? ?(?=¤))?([¤€£¥₹₩₽¢₺₱₫₴₪]|"
    r"«?\s*(?:Rs\.?|USD|EUR|INR|RMB|CNY|GBP|JPY)\s*»?) ?(.*)$",
    re.DOTALL,
)
PRICED = re.compile(r"^(.*[\d}]) ?([€£¥₹₩₽¢₺₱₫₴₪元円圓¤‰])$", re.DOTALL)
MONEY = re.compile(r"^(.*\d) ?«? ?([kKMBT])n? ?»?$", re.DOTALL)
FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
TOKEN = re.compile(
    r"(?P<name>[^\W\d_]+\.?|°[CF]?|%|\\Omega)|(?P<power>\^ ?\{? ?(?P<p>-? ?\d) ?\}?)|(?P<sign>[/()·*×])|\s+"
)
PIECE = re.compile(
    r"(\d[\d,]*(?:\.\d+)?(?: \d+/\d+)?|\\frac ?\{\d+\} ?\{\d+\}) ?(?:« ?([^«»\d]*?) ?» ?|([A-Za-z]+)(?: |$))"
)
MEASURED = re.compile(
    r"(?P<core>.*[\d}]) (?P<unit>[A-Za-zμµ]{1,3}(?:(?: ?/ ?| ?· ?| )[A-Za-zμµ]{1,3}|(?: ?\^ ?(?:\{-?\d\}|\d)))*)",
    re.DOTALL,
)
SCIENTIFIC = re.compile(r"10 ?\^|\d[eE][-+]?\d")


@dataclass(frozen=True, slots=True)
class Unit:
    powers: frozenset[tuple[str, int]]
    """Kinds of unit with their powers."""
    factor: Fraction
    """Of the kinds' own unit."""


def quantity(text: str) -> tuple[str, Unit | None]:
    """Tidy text without its unit, and the unit; the text as it is where it has none. Words such as million multiply."""
    if (match := SIGNED.match(text)) and match[4] and not SIGNED.match(match[4]):
        core, unit = match[1] + match[4], None
        if (scaled := MONEY.match(core)) and (product := _scaled(scaled[1], Fraction(LETTERS[scaled[2]]))):
            core = product
        else:
            core, unit = quantity(core)
        sign = re.sub(r"[«»\s.]", "", match[3])
        land = "" if (match[2] or "").startswith("U") else re.sub(r"[«»\s.]", "", match[2] or "")
        if unit is None or unit in (_unit([("dollar", 1)]), _unit([(sign, 1)])):
            return core, _unit([(land + sign if land else sign, 1)])
    if match := PRICED.match(text):
        return match[1].strip(), _unit([(match[2], 1)])
    for sign in ("%", "°"):
        if text.endswith(sign) and text[:-1].strip() and not FUNCTION.search(text):
            core = text[:-1].strip()
            words = re.fullmatch(r"«([^«»]*)»", core)
            said = in_words(words[1]) if words else None
            return str(said[0]) if said and not said[1] else core, _unit([(sign, 1)])
    if match := re.search(r" ?° ?«? ?([CF])(?:elsius|ahrenheit)? ?»?$", text):
        return text[: match.start()], _unit([("°" + match[1], 1)])
    if SCIENTIFIC.search(text) and re.search("[A-Z]$", text) and measure(text)[1]:
        return measure(text)
    text = QUOTIENT.sub(r"\1/(\2)", text)
    if match := ENCLOSED.match(text):
        text = f"{match[1]} {match[2]}"
    text = re.sub(r"\\mu ?«(\w+)»|«[μ\s]*»«(\w+)»", lambda m: f"«μ{m[1] or m[2]}»", text)
    match = TAIL.search(text)
    core = text[: match.start()].strip() if match else ""
    if match and not core and (said := in_words(re.sub("[«»]", " ", text))):
        return quantity(f"{said[0]} «{said[1]}»") if said[1] else (str(said[0]), None)
    if match is None or not core or core[-1] in "+-·×/^_=<>≤≥,(\\":
        return text, None
    tail = FILLERS.sub(" ", re.sub("[«»]", " ", match["unit"]))
    words = tail.split()
    if words and (times := scale(words[0])) is not None and not (words[0].startswith("second") and times < 1):
        scaled = _scaled(core, times)
        rest = " ".join(words[2:] if words[1:2] == ["of"] else words[1:])
        if scaled is None:
            return text, None
        return quantity(f"{scaled} «{rest}»") if rest else (scaled, None)
    if not words:
        return core, None
    if any(changes(word) for word in words):
        return text, None
    marked = "«" in match["unit"]
    unit = None if not marked and PRODUCTS & set(words) else _read(tail)
    if unit is None and number(core) is not None and (marked or all(len(w) > 2 for w in words)):
        unit = None if NOT_UNITS & {w.lower().strip(".") for w in words} else _read(tail, counted=True)
    return (core, unit) if unit else (text, None)


def _scaled(core: str, times: Fraction) -> str | None:
    found = number(core)
    return None if found is None else str(found * times)


def compound(text: str) -> list[tuple[str, Unit]]:
    """Of 1 hour and 30 minutes the whole in its first and in its last unit; empty where it is no such quantity."""
    text = re.sub(r"«\s*(?:,\s*)?(?:and)?\s*»", " ", re.sub(r"\s*,?\s*\band\b\s*(»?)|\s*,\s+", r"\1 ", text))
    text = re.sub(r"\s+", " ", text).strip() + " "
    found: list[tuple[Fraction, Unit]] = []
    at = 0
    while at < len(text) and (match := PIECE.match(text, at)):
        value, unit = number(match[1]), _read(match[2] or match[3])
        if value is None or unit is None or (found and unit.powers != found[0][1].powers):
            return []
        if found and unit.factor >= found[-1][1].factor:
            return []
        found.append((value, unit))
        at = match.end()
    if at < len(text.rstrip()) or len(found) < 2:
        return []
    whole = sum((value * unit.factor for value, unit in found), Fraction(0))
    return [(str(whole / unit.factor), unit) for _, unit in (found[0], found[-1])]


def measure(text: str) -> tuple[str, Unit | None]:
    """As `quantity`, of a number with a unit's symbols after a space, which might be variables."""
    match = MEASURED.fullmatch(text)
    unit = _read(match["unit"]) if match and number(match["core"]) is not None else None
    return (match["core"], unit) if match and unit else (text, None)


def _read(text: str, counted: bool = False) -> Unit | None:
    """A unit: words, powers, products, 'square', 'per', parentheses below a stroke. `counted`: of whatever things."""
    text = re.sub(r"\b(?:per|for every|for each|a piece)\b", "/", re.sub("[«»~]", " ", text))
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
            elif (known := _known(name)) is not None or counted:
                parts.append((known or (_singular(lower) if len(name) > 3 else name), sign * waiting))
                waiting = 1
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
        kinds, size = UNITS.get(name, (((name, 1),), Fraction(1)))
        for kind, p in kinds:
            powers[kind] = powers.get(kind, 0) + p * power
        factor *= size**power
    return Unit(frozenset((k, p) for k, p in powers.items() if p), factor)


PERCENT, DEGREE, RADIAN = _unit([("%", 1)]), _unit([("°", 1)]), _unit([("rad", 1)])
