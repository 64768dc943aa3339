"""The answer that a solution gives, as text. Linear in the solution's length."""

from __future__ import annotations

import re

BOX = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)
TAIL = 4000
"""Characters at a solution's end in which an answer without a box is looked for."""
LETTER_STATED = re.compile(
    r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\**\s*"
    r"(?:\(([A-Z])\)|([A-Z])(?=\s*(?:[).:,;*]|$|\n|because\b|since\b|as\b)))"
)
STATED = re.compile(r"(?i)\banswer(?:\s+is\b\s*:?|\s*[:=])\s*\**\s*|####\s*")
MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]|\*\*(.+?)\*\*", re.DOTALL)
SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\s(?:because|since|which|where|so)\s|\*\*")
BARE = re.compile(r"[^\n]{1,200}")
SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}")


def extract(solution: str, choices: list[str] | None) -> str | None:
    """The answer of a solution: its last box; else what it states as its answer; else itself, if that is all it is."""
    if (box := last_box(solution)) is not None:
        return box
    tail = solution[-TAIL:]
    if choices and (letters := LETTER_STATED.findall(tail)):
        return letters[-1][0] or letters[-1][1]
    for match in reversed(list(STATED.finditer(tail))):
        if answer := _stated(tail[match.end() :].partition("\n")[0]):
            return answer
    bare = solution.strip()
    if BARE.fullmatch(bare) and "\\boxed" not in bare and not SENTENCE.search(re.sub(r"\\text\s*\{[^{}]*\}", "", bare)):
        return bare
    return None


def last_box(text: str) -> str | None:
    """Content of the last complete \\boxed{...} or \\fbox{...}."""
    opened: list[int | None] = []
    last: tuple[int, int] | None = None
    for match in BOX.finditer(text):
        token = match[0]
        if match["box"]:
            opened.append(match.end())
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            start = opened.pop()
            if start is not None and (last is None or start > last[0]):
                last = start, match.start()
    return None if last is None else text[slice(*last)].strip()


def _stated(text: str) -> str | None:
    """Of the text after 'answer is': the formula that it begins with, or all up to the sentence's end."""
    if match := MATH.match(text):
        return next(group for group in match.groups() if group).strip()
    end = SENTENCE_END.search(text)
    return (text[: end.start()] if end else text).strip().rstrip("*").strip() or None
