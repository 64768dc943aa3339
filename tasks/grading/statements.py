"""Reads the answer that a text without a box states, if that is a value: a number, a formula, words."""

from __future__ import annotations

import re

from tasks.grading.sentences import CONDITIONAL, DOUBTED

ADVERB = (
    r"(?:,?\s*\b(?:therefore|thus|hence|then|indeed|so|simply|just|exactly|actually|clearly|about|approximately|"
    r"roughly|"
    r"most\s+likely|likely|probably|of\s+course|still|again|equal\s+to|given\s+by|found\s+to\s+be|option|choice)\b,?)*"
)
IS = (
    r"(?:is|equals|would\s+be|must\s+be|should\s+be|will\s+be|has\s+to\s+be|turns\s+out\s+to\s+be|"
    r"comes\s+(?:out\s+)?to)"
)
STATED = re.compile(
    rf"(?i)\b(?:answer|(?:correct|right|best)\s+(?:option|choice|letter))(?:\s+(?:to|for|of)\s+[^.:\n]{{1,60}}?)?(?:\**{ADVERB}\s+{IS}\b(?!\s+not\b){ADVERB}\s*[:：]?|"
    rf"\**\s*[:：=]|\**\s+[-–—](?=\s))"
    r"\s*\**\s*|(?m:^\s*(?:#{1,6}\s+|\*\*)?(?:(?:the\s+)?final\s+)?answer\s*\**\s*$)\s*|####\s*|"
    r"\bans\b\.?\s*[:=]?\s*(?=[-+$\\\d(*])"
    r"|答案\s*(?:是|为|[:：])\s*"
)
MATH = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]|\*\*(.+?)\*\*", re.DOTALL)
JOINED = re.compile(r"\s*(?:,\s*(?:and|or)?|and|or)\s*(?=\$|\\\()")
HEADED = re.compile(r"(?!\(?[\da-z]+[.)]\s+\S)(?:[-+$\\({\[.\d]|[A-Za-z](?:\s*[=<>≤≥(]|$))")
"""What follows #### where that is no heading."""
LONGEST = 300
"""Characters of a statement that are looked at."""
SENTENCE_END = re.compile(
    r"(?<!\bi\.e)(?<!\be\.g)[.!?](?:\s|$)|;\s(?!and\b|or\b)(?=[A-Za-z]{2,}\s)|\s(?:because|since|which|where|so)\s|"
    r"\*\*"
)
AMOUNT = (
    r"(?:(?:US|C|A)?\\?[$£€¥₹]\s?)?[-+−]?\s?(?:(?:US|C|A)?\\?[$£€¥₹]\s?)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|"
    r"\d+)(?:\.\d+)?|\.\d+)(?:(?:\s\d+)?\s?/\s?\d+)?"
    r"(?:\s?\\?%)?"
)
HEAD = re.compile(rf"({AMOUNT})(?![\d\w^*/+=×·\\{{(])((?:[ -][^\W\d_]+(?:['’]s)?|\s?/\s?[^\W\d_]+)*)")
"""An amount, and words."""
STOP = frozenset(
    re.findall(
        r"\w+",
        """a an in on at from for by with when after before since because that which who as altogether total overall
        left remaining remain remains more is are was were will to if of each every only exactly all together now so and
        but he she it they we you then there apiece respectively does do can has have had would""",
    )
)
"""Words behind an amount with which it is told what of, and no unit any more."""
TELLING = re.compile(
    r"(?i)\b(?:half|halves|third|thirds|quarters?|fourths?|fifths?|tenths?|hundred|thousand|million|billion|"
    r"trillion|dozen|times|plus|minus|"
    r"squared|cubed|power|divided|less|than|mod|modulo|root|factorial|choose|not|none|zero|rounded|nearest|percent|"
    r"lakh|crore|one|two|"
    r"three|four|five|six|seven|eight|nine|ten)\b|\b(?:and|or|to|over)\s+\W?[a-z]\b|[\d\\$^=<>+*/%]"
)
"""What in a text behind an amount may make it another one."""
NAME = re.compile(r"[A-Za-z]\w?\s*=\s*")
LIST_MARK = re.compile(r"^(?:>\s*|=\s*|[-*•]\s+(?=\*\*|\\?[$£€¥₹(\[]))+")
SUM = re.compile(r"^[\d\s.,+*/×·÷()−-]*\d[\d\s.,+*/×·÷()−-]*=\s*(?=[^=]+$)")
"""What a line computes, of numbers alone, before its result."""
ONE_DOT = re.compile(r"(?<!\.)\.$")
"""At a sentence's end; three of them belong to a decimal that goes on."""
NONE = re.compile(
    r"(?i)(?:(?:therefore|thus|indeed|also|still|hence|now|then|already|clearly)\s+)*(?:(?:in)?correct|right|wrong|"
    r"obtained|found|"
    r"derived|verified|checked|confirmed|computed|calculated|reasonable|clear|obvious|complete|consistent|rounded|"
    r"expressed|written|simplified|"
    r"as\s+(?:follows|above|below|before)|the\s+same|in\s+(?:its\s+|the\s+)?(?:simplest|lowest|reduced|form|terms)|"
    r"what|that|how|why|below|above|unknown|unclear|uncertain|"
    r"here|to\s+\w{2,})\b(?!\s+(?:angle|triangle|side|hand))"
)
"""What is said of an answer without giving it."""
REMARK = re.compile(
    r"^\s*\((?=[^()]*[A-Za-z]{3})(?!\s*(?:mod|(?:in\s+)?(?:hundred|thousand|million|billion|dozen)s?\b))[^()]*\)"
)
PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}[,;]?\s+[A-Za-z]{2,}")
SO = re.compile(
    r"(?i)^(?:[-*#>\s]*)(?:so(?!\s+far\b)|thus|hence|therefore|consequently|∴|\$?\\therefore\$?|altogether|in\s+total|in\s+all|"
    r"in\s+conclusion|overall|"
    r"finally|this\s+means(?:\s+that)?|we\s+conclude(?:\s+that)?)\b[\s,:]*|^∴\s*"
)
NUMBERS = re.compile(rf"(?<![\w.,\\$^_{{])({AMOUNT})(?![\w^]|,\d|\.\d)")
OF = re.compile(
    r"(?i)\b(?:step|part|case|question|problem|equation|figure|table|line|item|rule|lemma|theorem|option|choice|"
    r"page|day|chapter|row|column|number|twice|thrice|double|triple|"
    r"half(?:\s+of)?|thirds?\s+of|quarters?\s+of|fourths?\s+of|fifths?\s+of|than|over|under|above|below|by|times|"
    r"plus|minus|divided|up\s+to|"
    r"nearly|almost)\s*$"
)
"""What before an amount makes another one of it."""
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
DENIED = re.compile(
    r"(?i)\b(?:not|no|never|cannot|neither|nor|if|whether|suppose|might|(?-i:may)|could|maybe|perhaps|too|wrong|"
    r"incorrect|fails?|let|try|suppose|assume|between|at\s+least|at\s+most)\b|n['’]t\b"
)
SUBJECT = re.compile(rf"{AMOUNT}\s+(?:is|are|was|were)\s+(?!the\b|our\b|what\b|left\b|sold\b|needed\b)")
"""How a sentence begins that says something of a number."""
DOTS = re.compile(r"[.!?]+(?=\s+[A-Z\\$*(]|\s*$)|\n")


def stated(text: str) -> str | None:
    """The last answer that is stated; one that is a number or a formula, if there is one."""
    found = []
    for match in STATED.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()][-120:]
        clause = re.split(r"[.!?]\s", line)[-1]
        if DOUBTED.search(clause) or (re.search(r"(?i)would\s+be\W*$", match[0]) and CONDITIONAL.search(clause)):
            continue
        if answer := _answer(text[match.end() :][:LONGEST], heading=match[0].startswith("####")):
            found.append(answer)
    return next((answer for answer in reversed(found) if _tells(answer)), found[-1] if found else None)


def _tells(answer: str) -> bool:
    return re.search(r"\d|\$|\\", answer) is not None or not re.search("[A-Za-z]{2,}", answer)


def _answer(text: str, heading: bool = False) -> str | None:
    """Of the text after 'answer is': the formulas that it begins with, or all up to the sentence's end."""
    if "\\boxed" in text[:12] or "\\fbox" in text[:12]:
        return None  # a box that is whole has been read before
    if formulas := formulas_at(text):
        return formulas[0]
    text = text.partition("\n")[0]
    if re.match(r"(?i)not\b", text):
        return None
    if heading and not HEADED.match(text):
        return None
    end = SENTENCE_END.search(text)
    if end and "?" in end[0]:
        return None
    found = (text[: end.start()] if end else text).strip().strip('*`"“”_ ').strip()
    return value(found) if found and not NONE.match(found) else None


def formulas_at(text: str) -> tuple[str, int] | None:
    """The formulas, or the emphasized text, that a text begins with, joined as a list, and where they end."""
    match = MATH.match(text)
    if match is None:
        return None
    found, end = [inner_of(match)], match.end()
    while (joint := JOINED.match(text, end)) and (match := MATH.match(text, joint.end())):
        found.append(inner_of(match))
        end = match.end()
    answer = ", ".join(found) if len(found) > 1 else value(found[0])
    return None if answer is None else (answer, end)


def inner_of(match: re.Match[str]) -> str:
    """The first group of a match that holds anything, without blanks around it."""
    return next(group for group in match.groups() if group).strip()


def value(text: str) -> str | None:
    """The answer in a statement: the amount that it begins with, without what is told of it behind; the only amount in
    a sentence; else all of it. None for a sentence with several amounts."""
    if HEAD.match(text):
        return _amount(text) or text
    return only_value(text) if PROSE.search(text) and re.search(r"\d", text) and _is_clause(text) else text


def _amount(text: str) -> str | None:
    """The amount, with its unit, that a text begins with; None if what stands behind may make it another."""
    match = HEAD.match(text)
    if match is None:
        return None
    unit = _unit(match[2])
    told = match[2][len(unit) :] + text[match.end() :]
    if not told.strip():
        return text.strip()
    return f"{match[1]}{unit}".strip() if _is_told(told) else None


def _unit(words: str) -> str:
    kept = ""
    for match in re.finditer(r"([\s/-]+)([^\W\d_]+(?:['’]s)?)", words):
        if match[2].lower() in STOP:
            break
        kept += match[0]
    return kept


def _is_told(rest: str) -> bool:
    """True if a text behind an amount is a remark that changes nothing: words, with no amount in them."""
    rest = REMARK.sub("", rest)
    if not re.match(r"\s*$|\s*[,;(–—-]|\s+\w", rest):
        return False
    return TELLING.search(re.sub(r"(?i)\b(?:in|of)\s+(?:total|all|the|them|course)\b", " ", rest)) is None


def _is_clause(text: str) -> bool:
    return re.match(r"(?i)(?:there|he|she|it|they|we|you|the|a|an|this|that|in|[A-Z][a-z]+)\s", text) is not None and (
        re.search(
            r"(?i)\b(?:is|are|was|were|be|has|have|had|will|would|can|must|should|needs?|gets?|got|takes?|took|"
            r"costs?|makes?|made|"
            r"pays?|paid|earns?|[a-z]{2,}ed|saves?|spends?|spent|sells?|sold|leaves?|buys?|bought|eats?|ate|reads?|"
            r"runs?|ran|"
            r"walks?|drives?|drove|weighs?|lasts?|uses?|receives?|gives?|gave|owes?|equals?|requires?|holds?|"
            r"contains?|travels?)\b",
            text,
        )
        is not None
    )


def only_value(sentence: str) -> str | None:
    """The one amount or formula of a sentence, with its unit; of an equation in it, the last side."""
    sentence = sentence.strip().rstrip(".!").replace("**", "").strip()
    if DENIED.search(sentence) or SUBJECT.match(sentence) or "?" in sentence or "\\boxed" in sentence:
        return None
    formulas = [m for m in FORMULA.finditer(sentence) if re.search(r"\d|[=<>]|\\frac|\\sqrt", m[0])]
    bare = FORMULA.sub(" ", sentence)
    if formulas:
        if len(formulas) > 1 or NUMBERS.search(bare):
            return None
        return inner_of(formulas[0])
    if "=" in bare:
        before, _, bare = bare.rpartition("=")
        if re.search(r"=.*(?:\band\b|\bor\b|[,;])", before):
            return None
        match = HEAD.match(bare.strip())
        return _amount(bare.strip()) if match and not NUMBERS.search(bare.strip(), match.end()) else None
    found = list(NUMBERS.finditer(bare))
    if len(found) != 1 or re.search("[<>≤≥^]", bare) or OF.search(bare[: found[0].start()]):
        return None
    match = HEAD.match(bare, found[0].start())
    return None if match is None or re.search(r"\d", bare[match.end() :]) else _amount(bare[match.start() :])


def amount_alone(line: str) -> str | None:
    """A line that is an amount, with a unit, a name or a remark at most."""
    bare = ONE_DOT.sub("", LIST_MARK.sub("", line.strip())).strip("*` ")
    if (formula := MATH.fullmatch(bare)) is not None:
        bare = inner_of(formula)
    name = NAME.match(bare) or SUM.match(bare)
    start = name.end() if name else 0
    match = HEAD.match(bare, start)
    if match is None or len(bare) > LONGEST:
        return None
    unit = _unit(match[2])
    if unit and SUM.match(bare):
        bare, start = bare[start:], 0
        match = HEAD.match(bare) or match
    told = match[2][len(unit) :] + bare[match.end() :]
    if told.strip() and not (re.match(r"\s*[,(]", told) and _is_told(told)):
        return None
    return f"{bare[:start]}{match[1]}{unit}".strip()
