"""What a text without a box states as its answer."""

from __future__ import annotations

import re

ADVERB = (
    r"(?:,?\s*\b(?:therefore|thus|hence|then|indeed|so|simply|just|exactly|actually|clearly|about|approximately|roughly|"
    r"equal\s+to|given\s+by|option|choice)\b,?)*"
)
IS = r"(?:is|equals|would\s+be|must\s+be|should\s+be|will\s+be|comes\s+(?:out\s+)?to)"
STATED = re.compile(
    rf"(?i)\banswer(?:\s+to\s+[^.:\n]{{1,60}}?)?(?:\**\s+{IS}\b(?!\s+not\b){ADVERB}\s*:?|\**\s*[:=]|\**\s+[-–—](?=\s))"
    r"\s*\**\s*|(?m:^\s*(?:#{1,6}\s+|\*\*)(?:final\s+)?answer\s*\**\s*$)\s*|####\s*"
)
ORNAMENT = r"[\s*_`\"'“”$]*"
LETTER = (
    rf"{ORNAMENT}(?:\\\(\s*)?(?:\\(?:text|mathrm|mathbf|textbf|boldsymbol)\s*\{{\s*)?"
    r"(?:[(\[]\s*\**([A-Z])\**\s*[)\]]|([A-Z])(?=\s*(?:[).:,;*`\"'”$}\\\]]|$|\n|(?:because|since|as|and|or)\b)))"
    r"((?:\s*(?:,\s*(?:and|or)?|and|or|&)\s*(?:\([A-Z]\)|[A-Z])(?=\s*(?:[.:;,*)$]|$|\n|(?:and|or)\b)))*)"
)
LETTER_STATED = re.compile(
    rf"(?:(?i:\b(?:answer|(?:correct|right|best)\s+(?:option|choice)))"
    rf"(?i:\**\s+{IS}\b(?!\s+not\b){ADVERB}|\**\s+[-–—](?=\s))?\**\s*:?\s*){LETTER}"
)
LETTER_CORRECT = re.compile(
    r"(?i:\b(?:option|choice))\s*\**\s*(?:\(([A-Z])\)|([A-Z]))\**\s+is\s+(?:therefore\s+|thus\s+)?(?:the\s+)?"
    r"(?:correct|right|best)\b"
)
LETTER_NAMED = re.compile(
    rf"(?:(?i:\b(?:option|choice)(?:\s+is)?)\s*:?\s*){LETTER}(?!\**\)?\s+(?:is|are)\s+(?:wrong|incorrect|false|not)\b)"
)
MATH = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]|\*\*(.+?)\*\*", re.DOTALL)
JOINED = re.compile(r"\s*(?:,\s*(?:and|or)?|and|or)\s*(?=\$|\\\()")
LONGEST = 300
"""Characters of a statement that are looked at."""
SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\s(?:because|since|which|where|so)\s|\*\*")


def letter(text: str) -> str | None:
    """The letter, or letters, of a multiple choice: that of its answer, or of an option where none is called so."""
    found = [(m.start(), m[1] or m[2], m[3]) for m in LETTER_STATED.finditer(text)]
    found += [(m.start(), m[1] or m[2], "") for m in LETTER_CORRECT.finditer(text)]
    if not found:
        found = [(m.start(), m[1] or m[2], m[3]) for m in LETTER_NAMED.finditer(text)]
    if not found:
        return None
    _, first, more = max(found)
    return f"{first}{more}" if more else str(first)


def stated(text: str) -> str | None:
    """The last answer that is stated; one that is a number or a formula, if there is one."""
    found = [answer for match in STATED.finditer(text) if (answer := _answer(text[match.end() :][:LONGEST]))]
    return next((answer for answer in reversed(found) if _tells(answer)), found[-1] if found else None)


def _tells(answer: str) -> bool:
    return re.search(r"\d|\$|\\", answer) is not None or not re.search("[A-Za-z]{2,}", answer)


def _answer(text: str) -> str | None:
    """Of the text after 'answer is': the formulas that it begins with, or all up to the sentence's end."""
    if match := MATH.match(text):
        formulas = [next(group for group in match.groups() if group).strip()]
        while (joint := JOINED.match(text, match.end())) and (match := MATH.match(text, joint.end())):
            formulas.append(next(group for group in match.groups() if group).strip())
        return ", ".join(formulas)
    text = text.partition("\n")[0]
    if re.match(r"(?i)not\b", text):
        return None
    end = SENTENCE_END.search(text)
    return (text[: end.start()] if end else text).strip().strip('*`"“”_ ').strip() or None
