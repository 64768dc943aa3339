"""A text in plain sentences: without emphasis and dress, to see what it asserts."""

from __future__ import annotations

import re

DRESS = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|mathit|boldsymbol|bm|operatorname|mbox)\s*\{([^{}]*)\}"
)
MARKS = re.compile(r"\*{1,3}|`{1,3}(?:\w+\n)?|\$|\\[()\[\],;:! ]|[“”\"‘«»]|(?<!\w)_{1,2}(?=\S)|(?<=\S)_{1,2}(?!\w)")
SIGNS = [
    (re.compile(r"(?m)^[ \t]*(?:[✅✓✔☑👉🎯]\ufe0f?[ \t]*)+"), ""),
    (re.compile(r"[✅✓✔☑]\ufe0f?"), " is correct"),
    (re.compile(r"[❌✗✘❎]\ufe0f?"), " is wrong"),
    (re.compile(r"[\U0001F300-\U0001FAFF\ufe0f]"), ""),
    (re.compile(r"\\therefore\b|∴"), " therefore "),
    (re.compile(r"\\(?:Rightarrow|implies|Longrightarrow|to|rightarrow)\b|[⇒⟹→➡]|[-=]+>"), " therefore "),
    (re.compile(r"\[{1,2}\s*([A-Za-z])\s*\]{1,2}"), r"(\1)"),
    (re.compile(r"’"), "'"),
    (re.compile(r"(?<![A-Za-z])'([A-Za-z])'"), r"\1"),
    (re.compile(r"(?m)^[ \t]*(?:[-*+•>]|#{1,6}|\d{1,2}[.)])[ \t]+"), ""),
    (
        re.compile(
            r"(?im)^[ \t]*((?:the\s+)?(?:final\s+|correct\s+)?(?:answer|conclusion|choice|result))[ \t]*:?[ \t]*\n\s*"
        ),
        r"\1: ",
    ),
    (re.compile(r"([:=]|\bis)[ \t]*\n\s*"), r"\1 "),
]
END = re.compile(r"[.!?]+(?=[\s)]|$)|\n")
ABBREVIATED = re.compile(r"(?i)\b(?:i\.e|e\.g|vs|cf|ans|approx|resp|eq|fig)\.$")
LABEL = re.compile(r"(?i)\W*(?:(?:option|choice|answer)\s+)?\(?[a-z]\.")
GOES_ON = re.compile(r"[ \t]+[^\sA-Z(]")
DENIAL = re.compile(
    r"(?i)\b(?:not|no|never|neither|nor|none|cannot|without|unlike|except|wrong|incorrect\w*|false|invalid|impossible|"
    r"inconsistent|fails?|failed|too|eliminat\w*|exclud\w*|reject\w*|discard\w*|contradict\w*|violat\w*|rul(?:es?|"
    r"ed|ing)"
    r"\s+out|rather\s+than|instead\s+of|mistak\w*|tempt\w*|distractor\w*|if|whether|suppose|might|(?-i:may)|could|"
    r"maybe|perhaps|"
    r"possibly|consider|first|start)\b|n't\b"
)
"""Words of a sentence that may say the opposite of a conclusion, or only weigh it."""
DOUBTED = re.compile(
    r"(?i)(?:\b(?:if|whether|suppose|supposing|assum\w+|unless|not|never|neither|nor|cannot|wrong|incorrect|mistak\w+|"
    r"false|tempt\w+|might|could|(?<!\bis\s)(?<!'s\s)why|claim\w*|thought|guess\w*\s+at\s+first|initially|at\s+first|would\s+mean|perhaps|"
    r"maybe|possibly|doubt\w*|unsure|unclear|uncertain|no|says|to\s+(?:see|show|prove|check|verify)|"
    r"(?<!\bI\s)(?<!\bwe\s)(?<!'d\s)(?<!would\s)(?:say|think|believe))\b|n't\b)[^,;:]{0,60}$"
    r"|(?i:\b(?:check\w*|verify\w*|verif\w+|test\w*)\s+(?:(?:our|my|the|this|that|your)\s+)?(?:final\s+)?$)|"
    r"\b(?:second|next|least|worst)[\s-]*(?:best\s+)?$"
)
"""What, before a statement in its clause, makes it none."""
CONDITIONAL = re.compile(r"(?i)\b(?:if|were|had|unless|otherwise)\b")


def plain(text: str) -> str:
    """Without emphasis, quotation marks, mathematical delimiters, list marks; with a heading's answer on its line."""
    text = DRESS.sub(r"\1", DRESS.sub(r"\1", text))
    text = MARKS.sub("", text)
    for pattern, new in SIGNS:
        text = pattern.sub(new, text)
    return text


def sentences(text: str) -> list[str]:
    """The sentences of a plain text, each with the mark at its end. A letter that labels what follows ends none."""
    found, start = [], 0
    for match in END.finditer(text):
        before = text[max(start, match.start() - 8) : match.end()]
        label = LABEL.fullmatch(text, start, match.end())
        if ABBREVIATED.search(before) or (label and GOES_ON.match(text, match.end())):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    return [sentence for sentence in [*found, text[start:].strip()] if sentence]
