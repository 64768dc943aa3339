"""Reads the value that a solution's last sentence tells without saying that it concludes: 'That makes 64.', 'He paid
$64 for 4 shirts.'"""

from __future__ import annotations

import re

from tasks.grading.conclusions import said_to_be
from tasks.grading.numerals import in_words
from tasks.grading.statements import AMOUNT, DENIED, DOTS, LONGEST, NUMBERS, SO, amount_alone, only_value

SIGNS = re.compile(r"(?:\s*(?:[✅✓✔☑🎉]\ufe0f?|:-?\)))+\s*$")
WORD = r"(?:[A-Za-z][\w'’-]*|\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\))"
OF_ALL = re.compile(
    rf"(?i)(?<!each )\bof\s+(?:the|these|those|all(?:\s+the)?|his|her|its|their|our)\s+{AMOUNT}(?=\s+[a-z])"
)
BEHIND = re.compile(
    rf"(?i)\s+(?:after|for|in|within|from|over|at|on|during|by|with|among|out\s+of|to\s+(?:make|fill|buy|get|finish))\s+"
    rf"(?:(?!\d){WORD}\s+){{0,2}}{AMOUNT}(?:[\s-]+{WORD}){{0,3}}$"
)
"""Circumstances at a sentence's end, with an amount of their own."""
ASIDE = re.compile(
    r"(?i)\s*\((?!\s*(?:or|and|not|in|mod|base)\b)(?![^()]*\b(?:hundred|thousand|million|billion|dozen)s?\b)[^()]*[a-z]{2}[^()]*\)$"
)
WHOLE = re.compile(r"[.!]$|\*\*[^*]+\*\*$|(?:\${1,2}[^$]+\${1,2}|\\\(.+\\\)|\\\[.+\\\])$")
"""How a sentence ends that is not broken off: with a full stop, or with a formula or an emphasis that is whole."""
CLAUSE = re.compile(
    r"(?i)(?:,\s*|(?<!of)\s+)(?:which|since|because|where|more\s+than|less\s+than|as\s+expected)\b.*$|,\s*then$"
)
VERB = (
    r"(?:is|are|was|were|has|have|had|"
    r"will(?:\s+(?:be|have|need|take|get|pay|make|cost|earn|save))?|makes?|gives?|gets?|"
    r"costs?|paid|pays?|takes?|took|needs?|earns?|earned|saves?|saved|spends?|spent|sold|sells?|equals?|bought|left|"
    r"[a-z]{2,}(?:s|ed)|walks?|walked|arrives?|arrived|leaves|starts?|ends?|begins|finish(?:es)?|lasts?|reads?|ate|eats?|used?|uses|received?|receives|weighs?|made|gave|owes?|remain|were\s+sold|passed)"
)
TELLS = re.compile(
    rf"(?i)(?:(?:(?:after|by|upon|when)\s+)?[a-z]+ing\b[^,.\d]{{0,40}},\s*)?"
    rf"(?:(?:altogether|in\s+total|in\s+all|overall|finally|now)\s*,?\s+)?"
    rf"(?:(?:it|that|this|he|she|they|we|you|there|(?:each|every|[a-z]+ing)(?:\s+{WORD}){{1,4}}|[A-Z][a-z]+|(?:the|our|his|her|their)(?:\s+{WORD}){{1,6}}|[a-z])\s+"
    rf"(?:now\s+|then\s+|also\s+|still\s+|only\s+|therefore\s+)?{VERB}\b|"
    rf"(?:we\s+)?(?:find|get|obtain|have)\b|{AMOUNT}\s+(?:of\s+the\s+)?{WORD}\s+{VERB})"
)
TIME = re.compile(r"(?<![\d:.])\d{1,2}:\d\d(?::\d\d)?(?:\s?[ap]\.?\s?m\b\.?)?(?![\d:])", re.IGNORECASE)
AFTER = re.compile(r"(?i)(?:(?!of|or|and|than|times|more|less|out)[a-z]+ ?){0,3}")
PARTLY = re.compile(
    r"(?i)\b(?:first|second|third|next|previous)\s+(?:step|part|case|row|box|term)|\b(?:so\s+far|at\s+this\s+point|for\s+now)\b|"
    r"\bthe\s+(?:problem|question|exercise|hint|statement|table|figure)\b|\b(?:impossible|contradict\w*|absurd|unlikely)\b"
)
"""What is told on the way, or in order to be rejected."""
RATE = re.compile(r"(?i)\b(?:per|each|every|apiece)\b")
WORDED = re.compile(rf"(?i)\b{VERB}\s+(?:(?:equal\s+)?to\s+)?([a-z]+(?:[ -][a-z]+){{0,8}})$")


def told(text: str) -> str | None:
    """The value that a whole last sentence tells; None where the text breaks off, or the sentence has several."""
    line = text.rstrip()[-2 * LONGEST :].rpartition("\n")[2].strip()
    if sign := SIGNS.search(line):
        line = line[: sign.start()].rstrip(".!") + "."
    start = 0
    for dot in DOTS.finditer(line[:-1]):
        start = dot.end()
    sentence = line[start:].strip()
    if not WHOLE.search(sentence) or len(sentence) > LONGEST:
        return None
    sentence = sentence.rstrip(".!").strip()
    bare = sentence[match.end() :] if (match := SO.match(sentence)) else sentence
    bare = OF_ALL.sub("of the", bare)
    if PARTLY.search(sentence) or (match is None and not TELLS.match(bare)):
        return None
    bare = _without_more(bare)
    if (worded := WORDED.search(bare)) and not NUMBERS.search(bare):
        said = in_words(worded[1])
        return worded[1].removesuffix(said[1]).strip() if said and AFTER.fullmatch(said[1]) else None
    if len(times := TIME.findall(bare)) == 1 and not re.search(r"\d", TIME.sub("", bare)):
        return str(times[0])
    return amount_alone(bare) or only_value(bare) or said_to_be(bare)


def _without_more(sentence: str) -> str:
    """Without the amounts that are told beside the one."""
    for pattern in (ASIDE, CLAUSE, BEHIND):
        shorter = pattern.sub("", sentence)
        if DENIED.search(sentence[len(shorter) :]) or (pattern is BEHIND and RATE.search(shorter)):
            continue  # 'which is too large'; what is 12 per hour for 3 hours is not told
        if NUMBERS.search(shorter):
            sentence = shorter
    return sentence
