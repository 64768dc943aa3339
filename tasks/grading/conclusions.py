"""Reads what a text's last sentence concludes on, or says that its subject is."""

from __future__ import annotations

import re

from tasks.grading.statements import (
    DENIED,
    DOTS,
    HEAD,
    IS,
    LONGEST,
    MATH,
    PROSE,
    SO,
    amount_alone,
    formulas_at,
    inner_of,
    only_value,
    value,
)

LABELLED = re.compile(
    r"(?i)^(?:[-•>#*\s]*)(?:(?:the\s+)?(?:final|total|end)\s+)?(?:result|total|solution|conclusion|value|"
    r"output)\**\s*[:=]\s*\**\s*"
)
"""How a last line may call its value."""
TO_BE = re.compile(
    r"(?i)\b(?:is|are|equals?|will\s+be|must\s+be)\b(?:\s+(?:given\s+by|equal\s+to|exactly|simply|just|then))?\s*:?\s*(?=\$|\\\(|\\\[|\*\*)"
)
SUBJECTS = re.compile(r"(?i)(?:the|our|its|his|her|their|all|only|this|it|that)\b")
BEHIND = re.compile(
    r"(?i)(?!.*\b(?:(?:is|are)\s+(?:not|too|wrong|incorrect|impossible|absurd|false)|contradict\w*|or|but)\b)"
    r"(?:\s*,?\s*(?:attained|achieved|reached|occurring|obtained|which|when|at|where|for|because|since|as)\b.*)?"
)
"""What may follow a value that a sentence tells."""


def concluded(text: str) -> str | None:
    """The value that the last sentence concludes on ('So she paid $5 in all.'), or that the last line is."""
    lines = [line.strip() for line in text.rstrip().splitlines()[-12:] if line.strip()]
    if not lines or len(lines[-1]) > LONGEST * 2:
        return None
    line = lines[-1]
    if (label := LABELLED.match(line)) and (rest := line[label.end() :].strip()):
        return _labelled(rest)
    parts, start = [], 0
    for dot in DOTS.finditer(line):
        parts.append(line[start : dot.end()].strip())
        start = dot.end()
    if last := line[start:].strip():
        return (_whole(last[match.end() :]) or said_to_be(last[match.end() :])) if (match := SO.match(last)) else None
    if not parts or not (match := SO.match(parts[-1])):
        return None
    rest = parts[-1][match.end() :]
    return _whole(rest) or only_value(rest) or said_to_be(rest)


def said_to_be(sentence: str) -> str | None:
    """The formulas that a sentence says its subject is, whatever else stands in the subject: 'The range of $a$ is $[2,
    3]$.' None if it says so of several."""
    sentence = sentence.strip().rstrip(".!").strip()
    found = [
        (match.start(), match.end(), formulas)
        for match in TO_BE.finditer(sentence)
        if (formulas := formulas_at(sentence[match.end() :]))
    ]
    if len(found) != 1 or "?" in sentence or "\\boxed" in sentence:
        return None
    start, at, (answer, end) = found[0]
    if not SUBJECTS.match(sentence) or DENIED.search(sentence[:start]) or not BEHIND.fullmatch(sentence, at + end):
        return None
    return answer


def _whole(rest: str) -> str | None:
    """A conclusion that is a value and nothing else."""
    rest = rest.strip().rstrip(".!").strip("* ").strip()
    rest = re.sub(rf"(?i)^(?:it|this|that|the\s+(?:result|total|sum|value))\s+{IS}\s+", "", rest)
    if formulas := formulas_at(rest):
        return formulas[0] if formulas[1] == len(rest) else None
    return amount_alone(rest)


def _labelled(rest: str) -> str | None:
    rest = rest.rstrip(".").strip("* ")
    if match := MATH.fullmatch(rest):
        return inner_of(match)
    found = value(rest) if HEAD.match(rest) else None
    return found if found is not None and not PROSE.search(found) else None
