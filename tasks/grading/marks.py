r"""Answers that are marked as such: in \boxed{}, between tags, in JSON."""

from __future__ import annotations

import json
import re
from itertools import chain

from tasks.grading.boxes import Box, last_boxes

TAG = re.compile(r"(?i)<(answer|final_answer|final answer)>\s*(.{1,300}?)\s*</\1>", re.DOTALL)
KEY = (
    r"(?:final_?\s?|correct_?\s?|predicted_?\s?|selected_?\s?)?(?:answer|choice|option|prediction|result|solution)"
    r"(?:_?\s?(?:letter|choice|option|key|value))?"
)
JSON = re.compile(
    rf"""(?i)(?P<quote>["']){KEY}(?P=quote)\s*:\s*(?:"(?P<text>(?:[^"\\\n]|\\.){{1,300}})"|'(?P<other>(?:[^'\\\n]|"
    rf"\\.){{1,300}})'"""
    r"""|(?P<bare>-?[\d.]{1,40}(?:[eE][-+]?\d+)?|true|false)(?=\s*[,}\n]|$)|\[(?P<list>[^\[\]\n]{1,300})\])"""
)
BRACKETED = re.compile(r"(?i)\[(answer|final[ _]answer)\]\s*(.{1,300}?)\s*\[/\1\]", re.DOTALL)
DRESS = re.compile(r"[*`\s]*(.*?)[*`\s]*", re.DOTALL)


def last_mark(text: str, tail: int) -> Box | None:
    """The last marked answer with its place; tags and JSON count among the last `tail` characters. A box in a tag is
    the answer itself."""
    found = last_boxes(text)
    start = max(len(text) - tail, found.end if found else 0)
    for match in JSON.finditer(text, start):
        found = Box(_value(match), match.start(), match.end(), True)
    near = max(0, len(text) - tail)
    for match in chain(TAG.finditer(text, near), BRACKETED.finditer(text, near)):
        if found is None or match.start() > found.end:
            content = DRESS.fullmatch(match[2])
            found = Box(content[1] if content else match[2], match.start(), match.end(), True)
    return found


def _value(match: re.Match[str]) -> str:
    if match["list"]:
        return ", ".join(part.strip(" \"'") for part in match["list"].split(","))
    text = match["text"]
    if text is None:
        return str(match["other"] or match["bare"])
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
