"""Units of measure: told apart from the number they follow, and converted into each other."""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.grading.numbers import number
from tasks.grading.numerals import LETTERS, changes, in_words, scale
from tasks.grading.units import PRODUCTS, Unit, read_unit, unit_of

NOT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """a an and am as at because below beneath above by choose cubed degree factorial from if is less fewer short
        minus mod modulo more most not no nor never of or over out plus pm root since so squared than the times to
        twice thrice which where when off ago late early behind ahead bc bce ad ce under up negative positive
        percentage point base least times fold before after january february march april june july august september
        october november december jan feb mar apr jun jul aug sep oct nov dec monday tuesday wednesday thursday
        friday saturday sunday th st nd rd""",
    )
)
"""Words after a number that make another thing of it than a number of units."""
THINGS = frozenset(
    re.findall(r"\S+", "men boy pen egg cat dog car bag box day cup pie pig cow hen bus toy hat jar can bat per")
)
FILLERS = re.compile(
    r"(?<![A-Za-z])(?:in (?:total|all|the end)|altogether|overall|total|each|only|exactly|respectively|"
    r"as well|too|of them|of age|more(?= *$)|(?<=[a-z] )(?:old|long|tall|wide|high|deep|thick|away|apart))\b"
)
"""Words after a number that say nothing."""
EXPONENT = r"(?: ?\^ ?(?:\{ ?-? ?\d ?\}|\d))?"
WORD = rf"(?:«[^«»]*»|(?<![\\A-Za-z«{{_^])[A-Za-zμ]{{2,}}\.?(?!\s*[({{])|Å|Ω|\\Omega(?![a-z])){EXPONENT}"
ONE = rf"(?:{WORD}|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]){EXPONENT})"
TAIL = re.compile(
    rf"(?P<unit>(?:/ ?)?{WORD}(?: ?/ ?\( ?{ONE}(?:[ ·*]+{ONE})* ?\)| ?/ ?{ONE}| ?[·*×] ?{ONE}| ?{WORD})*)$"
)
ENCLOSED = re.compile(r"^(.*[\d}]) ?[(\[] ?(«[^()\[\]]*|[a-z]{2,}) ?[)\]]$", re.DOTALL)
QUOTIENT = re.compile(r"\\frac ?\{ ?(«[^{}]*) ?\} ?\{ ?(«[^{}]*) ?\}")
SIGNED = re.compile(
    r"^(-?) ?(?:«?\s*(US|USD|U\.S\.|A|AU|C|CA|CAD|HK|NT|S|SG|NZ|R)\s*»? ?(?=¤))?([¤€£¥₹₩₽¢₺₱₫₴₪]|"
    r"«?\s*(?:Rs\.?|USD|EUR|INR|RMB|CNY|GBP|JPY|CHF|AUD|CAD|HKD|SGD|SEK|KRW)\s*»?) ?(.*)$",
    re.DOTALL,
)
PRICED = re.compile(r"^(.*[\d}]) ?([€£¥₹₩₽¢₺₱₫₴₪元円圓¤‰])$", re.DOTALL)
MONEY = re.compile(r"^(.*\d) ?«? ?([kKMBT])n? ?»?$", re.DOTALL)
FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
PIECE = re.compile(
    r"(\d[\d,]*(?:\.\d+)?(?: \d+/\d+)?|\\frac ?\{\d+\} ?\{\d+\}) ?(?:« ?([^«»\d]*?) ?» ?|([A-Za-z]+)(?: |$))"
)
MEASURED = re.compile(
    r"(?P<core>.*[\d}]) (?P<unit>[A-Za-zμµ]{1,3}(?:(?: ?/ ?| ?· ?| )[A-Za-zμµ]{1,3}|(?: ?\^ ?(?:\{-?\d\}|\d)))*)",
    re.DOTALL,
)
SCIENTIFIC = re.compile(r"10 ?\^|\d[eE][-+]?\d")


def quantity(text: str) -> tuple[str, Unit | None]:
    """Tidy text without its unit, and the unit; the text as it is if it has none. Words such as million multiply."""
    if (match := SIGNED.match(text)) and match[4] and not SIGNED.match(match[4]):
        core, unit = match[1] + match[4], None
        if (scaled := MONEY.match(core)) and (product := _scaled(scaled[1], Fraction(LETTERS[scaled[2]]))):
            core = product
        else:
            core, unit = quantity(core)
        sign = re.sub(r"[«»\s.]", "", match[3])
        land = "" if (match[2] or "").startswith("U") else re.sub(r"[«»\s.]", "", match[2] or "")
        price = unit_of([(land + sign if land else sign, 1)])
        if unit is None or unit in (unit_of([("dollar", 1)]), unit_of([(sign, 1)])):
            return core, price
        if all(power < 0 for _, power in unit.powers):  # a price per hour
            return core, Unit(unit.powers | price.powers, unit.factor * price.factor)
    if match := PRICED.match(text):
        return match[1].strip(), unit_of([(match[2], 1)])
    for sign in ("%", "°"):
        if text.endswith(sign) and text[:-1].strip() and not FUNCTION.search(text):
            core = text[:-1].strip()
            said_by = re.fullmatch(r"«([^«»]*)»", core)
            said = in_words(said_by[1]) if said_by else None
            return str(said[0]) if said and not said[1] else core, unit_of([(sign, 1)])
    if match := re.search(r" ?° ?«? ?([CF])(?:elsius|ahrenheit)? ?»?$", text):
        return text[: match.start()], unit_of([("°" + match[1], 1)])
    if SCIENTIFIC.search(text) and re.search("[A-Z]$", text) and measure(text)[1]:
        return measure(text)
    text = QUOTIENT.sub(r"\1/(\2)", text)
    if match := ENCLOSED.match(text):
        text = f"{match[1]} {match[2]}"
    text = re.sub(r"\\mu ?«(\w+)»|«[μ\s]*»«(\w+)»", lambda m: f"«μ{m[1] or m[2]}»", text)
    measured = TAIL.search(text)
    core = text[: measured.start()].strip() if measured else ""
    if measured and not core and (said := in_words(re.sub("[«»]", " ", text))):
        return quantity(f"{said[0]} «{said[1]}»") if said[1] else (str(said[0]), None)
    if measured is None or not core or core[-1] in "+-·×/^_=<>≤≥,(\\":
        return text, None
    tail = FILLERS.sub(" ", re.sub("[«»]", " ", measured["unit"]))
    words = tail.split()
    if words and (times := scale(words[0])) is not None and not (words[0].startswith("second") and times < 1):
        value = _scaled(core, times)
        rest = " ".join(words[2:] if words[1:2] == ["of"] else words[1:])
        if value is None:
            return text, None
        return quantity(f"{value} «{rest}»") if rest else (value, None)
    if not words:
        return core, None
    if any(changes(word) for word in words):
        return text, None
    marked = "«" in measured["unit"]
    unit = None if not marked and PRODUCTS & set(words) else read_unit(tail)
    if unit is None and number(core) is not None and (marked or all(map(is_noun, words))):
        unit = None if NOT_UNITS & {w.lower().strip(".") for w in words} else read_unit(tail, counted=True)
    return (core, unit) if unit else (text, None)


def is_noun(word: str) -> bool:
    """True if this is rather a thing that is counted than a product of variables."""
    if len(set(word)) == len(word) < 6 and list(word) == sorted(word):  # abcd
        return False
    return word.lower() in THINGS or (re.fullmatch(r"[A-Za-z]*[aeiou][a-z]*[.,]?", word) is not None and len(word) > 3)


def _scaled(core: str, times: Fraction) -> str | None:
    found = number(core)
    return None if found is None else str(found * times)


def compound(text: str) -> list[tuple[str, Unit]]:
    """Of 1 hour and 30 minutes the whole in its first and in its last unit; empty if it is no such quantity."""
    text = re.sub(r"«\s*(?:,\s*)?(?:and)?\s*»", " ", re.sub(r"\s*,?\s*\band\b\s*(»?)|\s*,\s+", r"\1 ", text))
    text = re.sub(r"\s+", " ", text).strip() + " "
    found: list[tuple[Fraction, Unit]] = []
    at = 0
    while at < len(text) and (match := PIECE.match(text, at)):
        value, unit = number(match[1]), read_unit(match[2] or match[3])
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
    unit = read_unit(match["unit"]) if match and number(match["core"]) is not None else None
    return (match["core"], unit) if match and unit else (text, None)
