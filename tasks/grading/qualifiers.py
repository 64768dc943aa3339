"""Leaves out text around an answer that is no part of it: 'Total:', 'exactly', 'since 12 = 3·4', '(only solution)'."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.grading.conditions import ELEMENT
from tasks.grading.names import variables
from tasks.grading.numbers import number
from tasks.grading.numerals import changes
from tasks.grading.structure import depths, matrix, split
from tasks.grading.words import words

HARMFUL = re.compile(
    r"(?i)(?<![a-z])(?:not|no|never|neither|nor|or|and|mod|modulo|base|least|most|less|more|fewer|over|under|above|below|"
    r"minus|negative|without|except|but|half|twice|double|times|left|right|clockwise|counterclockwise|inward|outward)"
    r"(?![a-z])"
)
"""Words that make another answer of it."""
TURNS = re.compile(
    r"(?i)(?<![a-z])(?:not|negative|opposite|below|above|left|right|backwards?|down(?:ward)?|inward|outward|base|mod(?:ulo)?)"
    r"(?![a-z])"
)
"""Words that turn an answer round, or change how its digits are read."""
LABEL = re.compile(
    r"^« ?[^«»:]*[A-Za-z][^«»:]*: ?» ?(?=\S)|^« ?[^«»:]*[A-Za-z]{2}[^«»:]*» ?: ?(?=\S)"
    r"|^[A-Za-z][a-z]+(?: [A-Za-z]+){0,5} ?: ?(?=\S)|^[A-Za-z] ?: ?(?=[^:]*=)"
    r"|^[A-Za-z](?: ?\+ ?[A-Za-z])+ ?: ?(?=-?\d+$)|^« ?(?:[^«»]* )?(?:is|are|equals|equal to|be) ?» ?(?=\S)"
)
LEADING = re.compile(
    r"^(?:« ?)?(?:exactly|precisely|only|just|a total of|total of|total|in total|altogether|about|approximately|"
    r"approx\.?|roughly|around|equal to|equals|there are|there is|it is|they are|we get|we have|we obtain|so|thus|"
    r"therefore|hence|then|in|after|the number|the value is|the answer is|all|both)(?![A-Za-z]) ?,?(?: ?(?=»))?",
    re.IGNORECASE,
)
POINT = re.compile(
    r"^«? ?(?:the )?(?:ordered )?(?:point|pair|triple|vector|coordinates|(?:solution )?set)(?: is| are)? ?»? ?"
    r"(?=[(\[⦃⟨])"
)
BEGINS = re.compile(r"[-+]?[\d\\(.$¤]|« ?[a-z]|[a-z](?![a-z])")
CLAUSE = re.compile(
    r" ?,? ?(?:« ?,? ?|(?<![A-Za-z«]))(?:which|where|since|because|as|for|if|when|whenever|with equality|with|assuming|"
    r"provided|given|so|such that|in (?:simplest|lowest|simplified|reduced|fully|exact|the|interval notation|radians)|"
    r"as required|as desired|rejecting|discarding|excluding|ignoring|i\.e\.|that is|is the|only|"
    r"exactly|respectively|rounded|to the nearest|hence|being|by|from|the only|on|at|attained|achieved|reached|"
    r"occurring|after|of (?:the|a|an|this|that|all|each|them))(?![A-Za-z])",
    re.IGNORECASE,
)
CONDITIONAL = re.compile(r"(?i)(?<![a-z])(?:if|when|whenever|otherwise)(?![a-z])")
APPLIED = re.compile(
    r"(?<![a-z])point ?»?$|\\[a-zA-Z]+ ?(?:[\^_] ?(?:\{[^{}]*\}|\w) ?)*$|[-+·×*/=^]$|(?<![a-zA-Z])[a-zA-Z]$"
)
NOTE = re.compile(r"(?:(?<=[^\s,;∪∩∈|(=<>≤≥≠])|(?<=\|)(?= ?(?:\(«|« ?\())) ?\((?P<note>[^()]*(?:\([^()]*\)[^()]*)*)\)$")
CONDITION = re.compile(r"[<>≤≥≠∈]|\\notin")
VARIABLE = re.compile(r"(?<![\\A-Za-z«])(?:[A-Za-z]|\\[a-z]+)(?![A-Za-z])")
ENDS_OPEN = re.compile(r"[-+*/=<>≤≥≠≈^_·×(:]$")
EXPLAINS = frozenset(
    ["since", "because", "so", "which", "hence", "rejecting", "discarding", "excluding", "ignoring", "as required"]
)
PLACES = frozenset(["at", "attained", "achieved", "reached", "occurring", "when", "for", "where", "with equality"])
PLACE = re.compile(
    r"(?:at |when |for |in |by |equality |holds |iff |if |»|« ?(?:at|when|for|if|iff) ?»| )*"
    r"(?:(?=[(A-Za-z\\])(?:\\[a-zA-Z]+|(?![a-z]{3})[^=<>≤≥«»\\])+(?:=[^=<>≤≥«»]+)+|(?:the )?point ?»? ?\([^()=]*\))"
)
"""Where a value is taken, as in 'when x = y = 6'."""
TAKEN = re.compile(r"« ?(?:at|when|for|attained|achieved|reached)(?![a-z])")
REASON = re.compile(r"« ?(?:since|because|as|rejecting|discarding|excluding|ignoring|given)(?![a-z])")
RESTATES = re.compile(
    r"^« ?,? ?(?:i\.e\.|or|that is|equivalently|about|approximately)[, ]*»? ?|^(?:or|i\.e\.|≈|=)[, ]*"
)
QUANTIFIER = re.compile(r"\\forall(?![a-z])")
REAL = re.compile(r"[^∈]+∈ ?\\mathbb ?(?:\{ ?[RC] ?\}|[RC])")


COUNTED = re.compile(
    r"(?:« ?the ?»? ?)?(\d{1,18})(?: ?\^)?(?: ?\{)? ?(?:«? ?(?P<end>st|nd|rd|th) ?»?|«? ?times ?»?)(?: ?\})?"
    r"|« ?[Nn]o\. ?» ?(\d{1,18})"
)
VALUES = re.compile(r"(\d{1,18}) ?« ?(?P<of>[A-Za-z ]+) (?:of|for) ?» ?[A-Za-z]")
"""So many values of x."""
ALONE = re.compile(r"\[ ?(-?\d{1,18}) ?\]")
"""A whole number in brackets, which are no sign of anything."""


@dataclass(frozen=True, slots=True)
class Bare:
    """An answer, and what was said about it."""

    text: str
    """The answer alone."""
    conditions: tuple[str, ...] = ()
    """Inequalities and the like that were said of its variables."""
    notes: tuple[str, ...] = ()
    """What was said again in parentheses, and must mean the same."""


def bare(text: str) -> Bare:
    """The answer without what is said about it."""
    text = QUANTIFIER.sub("«for all»", text)
    if (match := COUNTED.fullmatch(text)) and (not match["end"] or _ordinal(int(match[1])) == match["end"]):
        return Bare(match[1] or match[3])
    if (match := VALUES.fullmatch(text)) and _harmless(match["of"]):
        return Bare(match[1])
    if match := ALONE.fullmatch(text):
        return Bare(match[1])
    if (cells := matrix(text)) and len(cells) == len(cells[0]) == 1:
        return Bare(cells[0][0])
    conditions: list[str] = []
    notes: list[str] = []
    for _ in range(4):
        before = text
        text = _led(text)
        if match := NOTE.search(text):
            head, note = text[: match.start()].strip(), match["note"].strip()
            if head and CONDITION.search(note):
                text, conditions = head, [*conditions, note]
            elif head and (REASON.match(note) or _place(note) or (_harmless(note) and re.search("[« ]", note))):
                text = head
            elif not head or APPLIED.search(head):
                pass
            elif _harmless(note):
                text = head
            elif (again := RESTATES.sub("", note)) and _says_again(again):
                text, notes = head, [*notes, again]
        text, found, restated = _without_clause(text)
        conditions += found
        notes += restated
        text, found = _without_conditions(text)
        conditions += found
        if text == before:
            break
    return Bare(text, tuple(conditions), tuple(notes))


def _place(note: str) -> bool:
    taken = TAKEN.match(note)
    return taken is not None and PLACE.fullmatch(note[taken.end() :].strip()) is not None


def _ordinal(value: int) -> str:
    return "th" if value // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")


def _led(text: str) -> str:
    if (match := LABEL.match(text)) and not HARMFUL.search(match[0]) and not re.search("[=<>≤≥]", match[0]):
        text = text[match.end() :]
    text = POINT.sub("", text)
    if match := LEADING.match(text):
        rest = text[match.end() :].strip()
        if match[0].lstrip().startswith("«"):
            rest = rest[1:].strip() if rest.startswith("»") else f"«{rest}"
        if re.match(r"\d", rest) or number(rest) is not None or (BEGINS.match(rest) and words(text) is None):
            return rest
    return text


def _harmless(note: str) -> bool:
    plain = re.sub("[«»]", " ", note)
    found = re.findall(r"[A-Za-z]+", plain)
    return (
        bool(found)
        and re.fullmatch(r"[A-Za-z\s.,'’!\-]+", plain) is not None
        and any(len(word) > 2 for word in found)
        and not HARMFUL.search(plain)
        and not any(changes(word) for word in found)
    )


def _says_again(note: str) -> bool:
    """True if this is a value, which has to be that of the answer."""
    few = len(re.findall("[A-Za-z]{3,}", re.sub(r"\\[a-z]+", "", note))) < 4
    return few and not HARMFUL.search(note) and (re.search(r"\d|\\frac", note) is not None or number(note) is not None)


def _without_clause(text: str) -> tuple[str, list[str], list[str]]:
    """Without a clause at the end, and the conditions that it states, or the value that it says again."""
    level = depths(text)
    for match in CLAUSE.finditer(text):
        head, clause = text[: match.start()].rstrip(" ,;"), text[match.end() :].strip(" »")
        if level[match.start()] or not head:
            continue
        head += "»" * (head.count("«") - head.count("»"))
        said = match[0].strip(" «,").lower()
        if said in (
            "for",
            "if",
            "when",
            "whenever",
            "with",
            "given",
            "on",
            "by",
            "from",
            "as",
            "in the",
            "on the",
            "is the",
            "at",
            "after",
        ):
            if not re.search(r"[\d}\])]$|^.$|[=+\-].*.$|»$", head) or (
                words(head) is not None and not (said == "after" and head[0].isdigit())
            ):
                continue
        elif words(head) is not None and said not in ("since", "because", "as"):
            continue
        if CONDITIONAL.search(head) or len(CONDITIONAL.findall(f"{match[0]} {clause}")) > 1 or ENDS_OPEN.search(head):
            continue
        if said in ("i.e.", "that is") and _says_again(again := clause.strip(" ,»")):
            return head, [], [again]
        explains = said in EXPLAINS or (said in PLACES and PLACE.fullmatch(clause) is not None)
        if not explains and (TURNS.search(clause) or (re.search(r"\d", clause) and not CONDITION.search(clause))):
            continue
        conditional = CONDITION.search(clause) and not explains
        stated = [c for c in split(clause, ",") if CONDITION.search(c)] if conditional else []
        return head, [re.sub(r"«[^«»]*»", "", c).strip() for c in stated], []
    return text, [], []


def _without_conditions(text: str) -> tuple[str, list[str]]:
    """Without conditions after a comma on variables of what stands before it."""
    parts = split(text, "[,;]")
    if len(parts) < 2:
        return text, []
    stated = [CONDITION.search(part) is not None for part in parts]
    if all(stated):
        rest = [part for part in parts if not REAL.fullmatch(part)]
        return (", ".join(rest), []) if rest else (text, [])
    if not any(stated) or stated[0]:
        return text, []
    cut = stated.index(True)
    if not all(stated[cut:]) or re.match("« ?(?:and|or) ?»|(?:and|or) ", parts[cut]):
        return text, []
    head = ", ".join(parts[:cut])
    known = set(VARIABLE.findall(head)) | variables(head)
    if number(head) is not None and all(ELEMENT.fullmatch(part) for part in parts[cut:]):
        return head, []
    if not all(set(VARIABLE.findall(part.partition("∈")[0])) & known for part in parts[cut:]):
        return text, []
    return head, parts[cut:]
