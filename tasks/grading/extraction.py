"""The answer that a solution gives, as text. Linear in the solution's length."""

from __future__ import annotations

import re

from tasks.grading.statements import MATH, STATED, letter, stated

BOX = re.compile(
    r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\(?:boxed|fbox) *(?=-? ?[\d\\]|[A-Za-z](?![A-Za-z]))"
    r"(?P<bare>(?:(?!\\[)\]])[^\s${}]|\{[^{}]{0,100}\})+)|\\.|[{}]",
    re.DOTALL,
)
TAIL = 4000
"""Characters at a solution's end in which an answer without a box is looked for."""
TAG = re.compile(r"<answer>\s*([^<>]{1,300}?)\s*</answer>")
HASHES = re.compile(r"(?m)^.*####\s*((?:[-+]\s?)?(?:\\?\$\s?)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)\s?(?:\\?%|[a-z]+)?)\s*\.?$")
"""How GSM8K ends: an amount and nothing else."""
LEAD = re.compile(
    r"(?i)^(\\text\s*\{)?\s*(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:(?:final|correct)\s+)?"
    r"answer\s*(?:is\b\s*:?|:|=)\s*(?=\S)"
)
BARE = re.compile(r"[^\n]{1,200}")
SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}")
ONE_LETTER = re.compile(r"[\s*_`\"'“”.(\[$]*([A-Z])[\s*_`\"'“”.:)\]$]*")
SHOWN = re.compile(r"(?:#{1,6}\s+)?\*\*([^*\n]{1,200})\*\*\.?|#{1,6}\s+([^\n]{1,200})|`([^`\n]{1,200})`")
"""A line that is emphasized as a whole."""
VALUE = re.compile(r"(?!\(?[\da-z]+[.)]\s+\S)[-+$\\({\[.\d]")
"""How a line begins that is a value, and not the heading of a section."""


def extract(solution: str, choices: list[str] | None) -> str | None:
    """The answer of a solution: its last box; else what it states as its answer; else itself, if that is all it is."""
    if (box := last_box(solution)) is not None:
        return LEAD.sub(lambda match: match[1] or "", box)
    tail = solution[-TAIL:]
    if tags := TAG.findall(tail):
        return str(tags[-1])
    if choices and (chosen := letter(tail)):
        return chosen
    if not choices and (amounts := HASHES.findall(tail)):
        return str(amounts[-1]).strip()
    return stated(tail) or _last_line(tail, choices) or _itself(solution.strip())


def _last_line(tail: str, choices: list[str] | None) -> str | None:
    """The last line where that is a letter of a multiple choice, or an emphasized value."""
    line = tail.rstrip()[-250:].rpartition("\n")[2].strip()
    if choices and (match := ONE_LETTER.fullmatch(line)):
        return match[1]
    if match := SHOWN.fullmatch(line):
        value = next(group for group in match.groups() if group).strip()
        if VALUE.match(value) and not _says_more(value):
            return value
    return None


def _itself(bare: str) -> str | None:
    if not BARE.fullmatch(bare) or "\\boxed" in bare or _says_more(bare) or STATED.search(bare):
        return None
    if math := MATH.fullmatch(bare):
        return bare if bare.startswith("$") else next(group for group in math.groups() if group)
    return bare


def _says_more(text: str) -> bool:
    return SENTENCE.search(re.sub(r"\\text\s*\{[^{}]*\}", "", text)) is not None


def last_box(text: str) -> str | None:
    """Content of the last complete \\boxed{...} or \\fbox{...} with something in it, or of one without braces."""
    opened: list[int | None] = []
    last: tuple[int, int] | None = None
    for match in BOX.finditer(text):
        token = match[0]
        if match["box"]:
            opened.append(match.end())
        elif match["bare"]:
            last = match.span("bare")
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is None or (last is not None and start < last[0]):
                continue
            if last is None or text[start : match.start()].strip():
                last = start, match.start()
    return None if last is None else text[slice(*last)].strip()
