"""Parts of a tidy text, found by its brackets and separators."""

from __future__ import annotations

import re

OPENING, CLOSING = "([{⦃⟨", ")]}⦄⟩"
AND_OR = re.compile(r" *,? *(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]) *")
ELEMENTS = re.compile(rf"{AND_OR.pattern}|[,;]")
THOUSANDS = re.compile(r"(?<![\d,])[1-9]\d?(?:,\d{2})+,\d{3}(?![\d,])|(?<!\d)[1-9]\d{0,2}(?:,\d{3})+(?!\d)")
MATRIX = re.compile(r"\\begin ?\{([pbB]?matrix|array)\}(?: ?\{[lcr| ]*\})?(.*)\\end ?\{\1\}", re.DOTALL)
DEEPEST = 60


def balanced(text: str) -> bool:
    """True if each bracket closes the one that it should, and not too many are in each other."""
    opened: list[str] = []
    for c in text:
        if c in OPENING:
            opened.append(CLOSING[OPENING.index(c)])
            if len(opened) > DEEPEST:
                return False
        elif c in CLOSING and (not opened or opened.pop() != c):
            return False
    return not opened


def depths(text: str) -> list[int]:
    """For each character how many brackets are open around it; an opening and its closing one have the same depth."""
    found, depth = [], 0
    for match in re.finditer(r"\\begin|\\end|.", text, re.DOTALL):
        token = match[0]
        if token in CLOSING or token == "\\end":
            depth -= 1
        found += [depth] * len(token)
        if token in OPENING or token == "\\begin":
            depth += 1
    return found


def split(text: str, pattern: str) -> list[str]:
    """The text's parts between separators that stand outside of all brackets."""
    found = list(re.finditer(pattern, text))
    if not found:
        return [text.strip()]
    level, parts, start = depths(text), [], 0
    for match in found:
        if level[match.start()] == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    return [*parts, text[start:].strip()]


def joined(text: str, mark: str) -> str:
    """With `mark` for the commas of numbers such as 10,000. Where other commas have a space, all that have none must be
    of such numbers: in 1,7,103, 105 there are four."""
    found = THOUSANDS.sub(lambda m: m[0].replace(",", mark), text)
    return text if re.search(", ", text) and re.search(r"\d,\d", found) else found


def elements(text: str, thousands: bool) -> list[str]:
    """The answers of a list: between commas, semicolons, 'and', 'or'. `thousands`: are commas in 1,234 part of it?"""
    if thousands:
        text = joined(text, "\x00")
    found = list(ELEMENTS.finditer(text))
    if not found:
        return [text.strip().replace("\x00", ",")] if text.strip() else []
    level, parts, start = depths(text), [], 0
    for match in found:
        if match.start() >= start and level[match.start()] == 0 and (match[0] in ",;" or " " in match[0]):
            parts.append(text[start : match.start()])
            start = match.end()
    parts = [part.strip().replace("\x00", ",") for part in [*parts, text[start:]]]
    return [part for part in parts if part]


def brackets(text: str) -> tuple[str, str, str] | None:
    """Opening, content and closing if one pair of brackets encloses the whole; ( and ] may pair."""
    if len(text) < 2 or text[0] not in OPENING or text[-1] not in CLOSING or text[0] == "{":
        return None
    return (text[0], text[1:-1].strip(), text[-1]) if 0 not in depths(text)[1:-1] else None


def unwrapped(text: str) -> str:
    """Without parentheses and braces that enclose all of one expression."""
    while True:
        if text[:1] == "{" and text[-1:] == "}" and 0 not in depths(text)[1:-1]:
            text = text[1:-1].strip()
            continue
        pair = brackets(text)
        if pair is None or pair[0] + pair[2] != "()" or len(split(pair[1], "[,;]")) > 1 or not pair[1]:
            return text
        text = pair[1]


BRANCH = "\x02"
CASES = re.compile(r"\\begin ?\{([rd]?cases)\}(.*)\\end ?\{\1\}", re.DOTALL)
IF = re.compile(r"(?i)«? ?(?:if|when|for|where|as)(?![a-z]) ?»? ?")


def cases(text: str) -> list[str] | None:
    """Branches of a definition by cases, each with BRANCH between its value and its condition."""
    match = CASES.fullmatch(text)
    if match is None:
        return None
    rows = [[IF.sub("", cell.strip(" ,;."), count=1) for cell in row.split("&")] for row in match[2].split("\\\\")]
    return [BRANCH.join(row) for row in rows if any(row)]


ROW = re.compile(r"\\\\(?: ?\[ ?-?[\d.]+ ?(?:pt|mm|cm|ex|em) ?\])?")
TRANSPOSED = re.compile(r"(.+[)\]}⟩]) ?\^ ?(?:T|\\top|\\intercal|\{ ?(?:T|«T»|\\top|\\intercal) ?\})", re.DOTALL)


def entries(text: str) -> list[str]:
    """Coordinates of a vector that is written as a tuple; empty if it is none."""
    pair = brackets(text)
    return split(pair[1], ",") if pair and pair[0] + pair[2] in ("()", "[]", "⟨⟩") else []


def matrix(text: str) -> list[list[str]] | None:
    """Rows of cells if the text is one matrix."""
    if turned := TRANSPOSED.fullmatch(text):
        rows = matrix(turned[1]) or ([row] if len(row := entries(turned[1])) > 1 else None)
        square = rows is not None and len({len(row) for row in rows}) == 1
        return [list(column) for column in zip(*rows, strict=True)] if rows and square else None
    pair = brackets(text)
    if pair is not None and pair[0] + pair[2] == "[]" and pair[1].startswith("["):
        rows = [entries(row) for row in split(pair[1], ",")]
        return rows if len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 else None
    if pair is not None and pair[0] + pair[2] in ("()", "[]"):
        text = pair[1]
    match = MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    return [[cell.strip() for cell in row.split("&")] for row in map(str.strip, ROW.split(match[2])) if row]
