r"""Answers in \boxed{}."""

from __future__ import annotations

import re
from typing import NamedTuple

OPEN = re.compile(
    r"(?P<box>(?P<slashes>\\{1,4})(?:boxed|fbox|framebox)\s*\{|(?<![A-Za-z\\])boxed\{)"
    r"|\\{1,4}(?:boxed|fbox|framebox) *(?=-? ?[\d\\]|[A-Za-z](?![A-Za-z]))"
    r"(?P<bare>(?:(?!\\[)\]])[^\s${}]|\{[^{}]{0,100}\})+)|\\.|[{}]",
    re.DOTALL,
)
JOINT = re.compile(
    r"(?:[\s$,;:.]|\\[()\[\],;:!]|\\q?quad\b|\\ |\\text\s*\{|\\(?:approx|implies|Rightarrow)\b|[{}=≈]"
    r"|\b(?:and|or)\b|&|\*|(?<=\n)[ \t]*(?:[-•+]|\d\.)[ \t]+)*"
    r"(?P<name>[A-Za-z](?:_\{?\w+\}?)?'?\s*=\s*\$?\s*)?"
)
"""What stands between boxes of one answer: separators, 'and', 'or', a sign of equality, perhaps a variable's name."""
ITEM = re.compile(r"[\s$.)*\]\\]*\n[ \t]*(?:[-*•+]|\d\.)[ \t]+[\s$(*\[\\]*")
"""What stands between boxes that are each an item of one list."""
NAMED = re.compile(r"(?<![A-Za-z\\])([A-Za-z](?:_\{?\w+\}?)?'?)\s*=\s*\$?\s*$")
DENIED = re.compile(r"(?i)(?:\bnot|n['’]t\s+be|\bthan|\binstead\s+of|\bunlike)\s+(?:equal\s+to\s+)?[\s$*(\\\[]*$")
ASKED = re.compile(r"[\s$*)\]\\]{0,6}\?")
MOST = 100
"""Boxes of one answer."""
NEAR = 40
"""Characters around a box that say what it is."""


class Box(NamedTuple):
    """A box: its content and its place in the text."""

    content: str
    start: int
    """Of the command."""
    end: int
    """Behind its closing brace."""
    told: bool = False
    """Is it of a tag or of JSON, where a sentence may stand?"""


def boxes(text: str) -> list[Box]:
    """Each complete \\boxed{...}, \\fbox{...} or \\framebox{...} with something in it, or one without braces, in order;
    of boxes in boxes the inner ones."""
    opened: list[tuple[int, int, bool] | None] = []
    found: list[Box] = []
    for match in OPEN.finditer(text):
        token = match[0]
        if match["box"]:
            opened.append((match.start(), match.end(), len(match["slashes"] or "") > 1))
        elif match["bare"]:
            found.append(Box(match["bare"].strip(), match.start(), match.end()))
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            box = opened.pop()
            if box is None or (found and box[0] < found[-1].start):
                continue
            content = text[box[1] : match.start()].strip()
            if content:
                found.append(Box(content.replace("\\\\", "\\") if box[2] else content, box[0], match.end()))
    return found


def last_boxes(text: str) -> Box | None:
    """The answer in boxes: the last box that is neither denied nor a question, with those that it is joined to."""
    found = boxes(text)
    while found and _refused(text, found[-1]):
        found.pop()
    if not found:
        return None
    group = [found.pop()]
    joints: list[re.Match[str]] = []
    while found and len(group) < MOST and group[0].start - found[-1].end <= NEAR:
        joint = JOINT.fullmatch(text, found[-1].end, group[0].start)
        if joint is None or not _joins(joint) or _refused(text, found[-1]):
            break
        group.insert(0, found.pop())
        joints.insert(0, joint)
    return Box(_together(text, group, joints), group[0].start, group[-1].end)


def _refused(text: str, box: Box) -> bool:
    before, after = text[max(0, box.start - NEAR) : box.start], text[box.end : box.end + NEAR]
    return DENIED.search(before) is not None or ASKED.match(after) is not None


def _joins(joint: re.Match[str]) -> bool:
    """Blank lines and full stops part answers, unless a word or a comma joins them."""
    between = joint[0]
    if ITEM.fullmatch(between):
        return True
    return re.search(r"\b(?:and|or)\b|[,;&=≈]|\\(?:quad|qquad|approx)", between) is not None or not re.search(
        r"\n|\.|\\(?:implies|Rightarrow)", between
    )


def _together(text: str, group: list[Box], joints: list[re.Match[str]]) -> str:
    """One answer of several boxes. Names count where they differ: of x = 1 or x = 2 both are values of one."""
    contents = [box.content for box in group]
    first = NAMED.search(text[max(0, group[0].start - NEAR) : group[0].start])
    names = [
        first[1] if first else None,
        *((re.split("=", j["name"])[0].strip() if j["name"] else None) for j in joints),
    ]
    if len(group) > 1 and None not in names and len(set(names)) == len(names):
        contents = [c if "=" in c else f"{name} = {c}" for name, c in zip(names, contents, strict=True)]
    answer = contents[0]
    for joint, content in zip(joints, contents[1:], strict=True):
        between = joint[0][: joint.start("name") - joint.start()] if joint["name"] else joint[0]
        if content == answer:
            continue
        sign = " \\approx " if re.search(r"≈|\\approx", between) else " = " if "=" in between else ", "
        if re.search(r"\bor\b", between):
            sign = " \\text{ or } "
        answer += sign + content
    return answer
