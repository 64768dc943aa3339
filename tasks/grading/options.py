"""Which option of a multiple choice a text concludes on.

Options that a text only names, weighs or denies are no conclusion. A conclusion says so: "the answer is C", "C is the
correct choice", "I choose C", "so C", "only C remains", or it is a line of its own at the end. The last one counts.
What agrees with an option ("this matches (C)") counts where nothing stronger is said.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tasks.grading.sentences import CONDITIONAL, DENIAL, DOUBTED, plain, sentences
from tasks.grading.tidying import squeezed, tidy

IS = (
    r"(?:is|['’]s|are|equals|would\s+be|must\s+be|should\s+be|will\s+be|has\s+to\s+be|can\s+only\s+be|ought\s+to\s+be|"
    r"turns\s+out\s+to\s+be|comes\s+(?:out\s+)?to(?:\s+be)?|remains|seems\s+to\s+be|appears\s+to\s+be)(?!\w|n't)"
)
ADVERB = (
    r"(?:\s*,?\s*\b(?:therefore|thus|hence|then|indeed|so|simply|just|exactly|actually|clearly|most\s+likely|likely|"
    r"probably|definitely|obviously|still|again|in\s+fact|of\s+course|given\s+by|found\s+to\s+be|both|only|represented\s+by|"
    r"best\s+described\s+by|number|labell?ed)\b,?){0,3}"
)
KIND = r"(?:option|choice|answer|letter|statement|alternative|response|item)s?"
GOOD = r"(?:correct|right|best|most\s+(?:appropriate|accurate|likely|suitable|plausible)|appropriate|accurate|proper|suitable)"
ANSWER = (
    rf"(?:\b(?:answers?|solution)|\b(?:{GOOD}|final|chosen|selected|only|remaining|matching|closest|desired|required)\s+"
    rf"(?:{GOOD}\s+|possible\s+|remaining\s+|answer\s+)?(?:{KIND}|one|selection|pick|match|candidate)"
    rf"|\bthe\s+(?:only\s+)?(?:{KIND}|one)\s+(?:that|which)\b[^.:;\n]{{1,60}}?"
    r"|\b(?:my|our)\s+(?:final\s+)?(?:choice|pick|selection)|答案|正确选项)"
)
OF = r"(?:\s*\([^()\n]{1,30}\)|\s+(?:to|for|of|among|from|here|in|that|which|left|would|choice|option|letter)\b[^.:;\n]{0,80}?)?"
LINKED = rf"(?:{ADVERB}\s*\b{IS}|\s*(?:'s|是|为|应为))(?!\s+(?:not|n't)\b){ADVERB}\s*[:：]?|\s*[:：=]|\s+[-–—]+(?=\s)|\s+therefore\b"
LABEL = (
    r"(?:\b(?:ans|result|conclusion|final|choice|option|selected|selection|decision|verdict|solution|correct|response|output|"
    r"prediction|letter)\b(?:\s+(?:choice|option|answer|letter))?\s*[:=])"
)
CHOOSE = (
    r"(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)?\s+(?:with|for)|opt(?:ing)?\s+for|settle\s+on|answer(?:\s+with)?|"
    r"chose|picked|selected|went\s+with|mark|conclude(?:\s+that)?\s+(?:the\s+answer\s+is|it\s+is|it's))"
)
WE = (
    r"(?:\b(?:I|we)(?:'(?:d|ll|m|re|ve))?(?:\s+(?:would|will|should|can|must|then|therefore|thus|hence|have\s+to|need\s+to|"
    r"am|are|also|now|finally|safely|confidently|go\s+ahead\s+and)){0,3}\s+|\b(?:let's|let\s+us|you\s+should)\s+|^\s*(?:please\s+)?|"
    r"\b(?:so|thus|hence|then|therefore|and)\s*,?\s+)"
)
THEN = (
    r"(?:so|thus|hence|therefore|consequently|accordingly|that\s+is|namely|in\s+conclusion|to\s+conclude|in\s+summary|ultimately|"
    r"finally|overall|no|wait|actually|rather|instead|yes|but)\b[\s,:.]{0,4}"
)
SO = (
    rf"(?:^(?=(?:it|this)(?:'s|\s+{IS}))|(?:^|(?<=[\s,;:.(—–-])){THEN}|(?<=[\s,;:.(—–-])i\.\s?e\.[\s,:]{{0,4}})"
    r"(?:(?:then|again|indeed|clearly|finally|only|so|therefore|we\s+(?:get|have|conclude))\b[\s,]{0,3}){0,2}"
    rf"(?:(?:it|this|that|which|the\s+(?:result|{KIND}))(?:'s|\s+{IS}){ADVERB}\s*)?"
)
CHINESE = r"(?:(?:故|因此|所以|应|应该)\s*选(?:择)?|选择?(?=\s*[:：(A-Z]))\s*[:：]?"
FITS = (
    r"\b(?:match(?:es|ing)?|correspond(?:s|ing)?\s+to|agree(?:s|ing)?\s+with|consistent\s+with|equals?(?:\s+to)?|closest\s+to|"
    r"points?\s+to|which\s+is|which\s+gives|this\s+is|that\s+is|identical\s+to|in\s+line\s+with|described\s+(?:in|by)|fits|"
    r"supports|gives|yields|leads\s+(?:us\s+)?to|found\s+in|listed\s+as)(?:\s+(?:exactly|precisely|well|best|most\s+closely|"
    r"only|with|the)){0,2}\s*"
)
LEFT = r"\b(?:leav(?:es|ing)|left\s+with|narrows?\s+(?:it\s+)?down\s+to)(?:\s+us)?(?:\s+with)?(?:\s+(?:only|just))?\s+"
REMAINS = (
    r"(?:remains|is\s+left|fits?|match(?:es)?|works?|satisf(?:y|ies)|is\s+(?:consistent|possible|valid)|meets?|holds?|agrees?|"
    r"is\s+the)\b"
)
AFTER = re.compile(r"\s*(?:[.!;,(—–]|-\s|$|(?:because|since|as|given|due|which|where|and\s+not|not|by)\b)")
PARENTHESIS = re.compile(r"\s*\([^()\n]{0,80}\)")
RIGHT = re.compile(rf"(?i)(?:so|thus|hence|therefore)?[\s,]*(.{{2,200}}?)\s+{IS}\s+(?:the|our|my)\s+(?:{GOOD}|answer)\b")
PARTING = " ).:-–—,"
LONGEST = 600
"""Characters of a sentence that are looked at."""


class Claim(NamedTuple):
    at: int
    """In its sentence."""
    answer: str
    """A letter, several of them, or an option's content."""


def _reference(count: int) -> str:
    """An option by its letter, and others that are joined to it. Of letters that may be words (A, I) only those count
    that cannot be one where they stand."""
    last = chr(ord("A") + count - 1)
    capital = r"(?![\w'°^])(?!\s*[=+*/<>≤≥≈×·])"
    word = r"(?=\s*(?:[).;:!?,\]}—–(]|-\s|$|(?:because|since|and|or|which|is|but|not)\b))"
    small = rf"[a-{last.lower()}]"
    more = (
        rf"(?:\s*(?:,\s*(?:and|or)?|and|or|&|/)\s*(?:{KIND}\s+)?(?:\([A-Z]\)|[A-Z](?!\w))(?=\s*(?:[.:;,)!(]|$|(?:and|or|are)\b))){{0,9}}"
    )
    return (
        rf"(?:(?i:{KIND})\s+(?P<kinded>{small})(?=\s+is\b)|(?:(?i:the\s+)?(?i:{KIND}(?:\s+{KIND})?)\s*:?\s*)?(?:\(\s*(?P<marked>[A-Z]|{small})\s*\)|(?P<bare>[B-HJ-Z]{capital}|[AI]{capital}{word})|"
        rf"(?P<small>{small}(?=\s*(?:[).;:!]|$)))))(?P<more>{more})"
    )


class Patterns(NamedTuple):
    answer: re.Pattern[str]
    """The answer is ..."""
    option: re.Pattern[str]
    """The option itself, at a place."""
    right: re.Pattern[str]
    """C is the correct answer."""
    good: re.Pattern[str]
    """C is correct: so may be several, where a text weighs them."""
    choose: re.Pattern[str]
    so: re.Pattern[str]
    left: re.Pattern[str]
    fits: re.Pattern[str]
    named: re.Pattern[str]
    """(C), or option C."""


@lru_cache(32)
def _patterns(count: int) -> Patterns:
    option = _reference(count)
    gap = (
        r"(?:\s*\([^()\n]{1,80}\)|[).:]\s(?:(?!\b(?:is|are|and|or|but|so|option|choice|[A-Z])\b)[^.,;:()\n]){1,60}?|,\s+(?:and\s+)?not\s+[^,.;\n]{1,40},)?,?"
    )
    seems = rf"(?:\s+(?i:{IS})|'s)(?!\s+not\b)(?i:{ADVERB})\s*"
    return Patterns(
        answer=re.compile(
            rf"(?:(?i:{ANSWER}{OF}(?:{LINKED}))|^\s*(?i:{LABEL})|\b(?i:ans\b\.?\s*[:=]?)|(?i:{CHINESE})|"
            r"^\s*(?i:(?:the\s+|final\s+|correct\s+){0,2}answer)(?=\s+\(?[A-Z]\)?\s*[.!]?$))\s*"
        ),
        option=re.compile(option),
        right=re.compile(
            rf"{option}{gap}(?:{seems}(?i:(?:the|our|my|indeed)\s+(?:only\s+|single\s+|one\s+)?(?:{GOOD}\b|answer\b|one\s+(?:that|we))|what\s+we)"
            r"|\s+(?i:it\s+is)\b(?=\s*[.!]?$))"
        ),
        good=re.compile(rf"{option}{gap}{seems}(?i:{GOOD})\b"),
        choose=re.compile(rf"(?i:{WE}{CHOOSE})\s+{option}"),
        so=re.compile(rf"(?i:{SO})"),
        left=re.compile(rf"(?:(?i:{LEFT}){option})|(?i:\bonly)\s+{option.replace('?P<', '?P<only_')}\s+(?i:{REMAINS})"),
        fits=re.compile(rf"(?i:{FITS}){option}"),
        named=re.compile(rf"(?:(?i:{KIND})\s+[A-Z](?!\w)|\(\s*[A-Z]\s*\))"),
    )


class Conclusion(NamedTuple):
    """A letter, letters, or an option's content."""

    stated: str | None
    """What the text says is the answer."""
    fitting: str | None
    """What it finds to agree with its result."""


def conclusion(text: str, choices: list[str]) -> Conclusion:
    """The options that a text concludes on. Linear in the text's length."""
    found = _Reader(choices)
    told = plain(text)
    for sentence in sentences(told):
        found.read(sentence[:LONGEST] if len(sentence) > LONGEST else sentence)
    return found.result(told)


class _Reader:
    """Reads sentences in order and remembers what they claim."""

    def __init__(self, choices: list[str]) -> None:
        self.choices = choices
        self.contents = [_content(choice) for choice in choices]
        self.patterns = _patterns(min(26, max(1, len(choices))))
        self.claimed: str | None = None
        self.good: list[str] = []
        self.good_last = False
        self.fitting: str | None = None

    def read(self, sentence: str) -> None:
        if sentence.endswith("?"):
            return
        strong = [*self._answers(sentence), *self._right(sentence), *self._chosen(sentence), *self._concluded(sentence)]
        if strong:
            self.claimed = max(strong, key=lambda claim: claim.at).answer
            self.good_last = False
        for match in self.patterns.good.finditer(sentence):
            if not _doubted(sentence, match.start()):
                self.good.append(_answer(match))
                self.good_last = True
        for match in self.patterns.fits.finditer(sentence):
            if self._ends(sentence, match) and not DENIAL.search(sentence):
                self.fitting = _answer(match)

    def result(self, told: str) -> Conclusion:
        agreed = self.good[0] if len(set(self.good)) == 1 else None
        line = self._last_line(told)
        return Conclusion(line or (agreed if self.good_last else None) or self.claimed or agreed, self.fitting)

    def _answers(self, sentence: str) -> list[Claim]:
        found = []
        for match in self.patterns.answer.finditer(sentence):
            if _doubted(sentence, match.start()) or DENIAL.search(match[0]) or (
                re.search(r"(?i)would\s+be\W*$", match[0]) and CONDITIONAL.search(sentence[: match.start()])
            ):
                continue
            if (content := self._content_at(sentence[match.end() :])) is not None:
                found.append(Claim(match.start(), content))
            elif option := self.patterns.option.match(sentence, match.end()):
                if not sentence[option.end() :].lstrip(" )").startswith("?"):
                    found.append(Claim(match.start(), _answer(option)))
            elif denied := re.match(r"(?i)not\b[^.;]{1,80}?\bbut\s+(?:rather\s+)?", sentence[match.end() :]):
                if option := self.patterns.option.match(sentence, match.end() + denied.end()):
                    found.append(Claim(match.start(), _answer(option)))
            elif (one := self._only_named(sentence[match.end() :])) is not None:
                found.append(Claim(match.start(), one))
        return found

    def _right(self, sentence: str) -> list[Claim]:
        if (match := RIGHT.match(sentence)) and self._is_content(match[1]):
            return [Claim(match.start(), match[1])]
        return [
            Claim(match.start(), _answer(match))
            for match in self.patterns.right.finditer(sentence)
            if not _doubted(sentence, match.start())
        ]

    def _chosen(self, sentence: str) -> list[Claim]:
        return [
            Claim(match.start(), _answer(match))
            for match in self.patterns.choose.finditer(sentence)
            if not _doubted(sentence, match.start()) and not re.search(r"(?i)\b(?:not|n't|never)\b|n't\b", match[0])
        ]

    def _concluded(self, sentence: str) -> list[Claim]:
        found = []
        for match in self.patterns.so.finditer(sentence):
            if (option := self.patterns.option.match(sentence, match.end())) and self._ends(sentence, option):
                found.append(Claim(match.start(), _answer(option)))
            elif match.end() > match.start() and self._is_content(sentence[match.end() :]):
                found.append(Claim(match.start(), sentence[match.end() :].rstrip(" .!")))
        if found:
            return found
        for match in self.patterns.left.finditer(sentence):
            if not _doubted(sentence, match.start()) and " or " not in _answer(match):
                found.append(Claim(match.start(), _answer(match)))
        if not found and (start := self.patterns.so.match(sentence)) and not DENIAL.search(sentence, start.end()):
            one = self._only_named(sentence[start.end() :], at_end=True) or self._content_at_end(sentence[start.end() :])
            if one is not None:
                found.append(Claim(start.start(), one))
        return found

    def _only_named(self, rest: str, at_end: bool = False) -> str | None:
        """The one option that the rest of a sentence names, as in 'the answer is 6 N, option C.'"""
        if DENIAL.search(rest):
            return None
        named = list(self.patterns.named.finditer(rest))
        if len(named) != 1 or (at_end and not re.fullmatch(r"[)\s.!]*", rest[named[0].end() :])):
            return None
        option = self.patterns.option.match(rest, named[0].start())
        return _answer(option) if option else None

    def _ends(self, sentence: str, match: re.Match[str]) -> bool:
        """Does what follows an option leave it as it is: nothing, a reason, its own content?"""
        rest = sentence[match.end() :].lstrip(")")
        if rest.lstrip().startswith("?"):
            return False
        if AFTER.match(PARENTHESIS.sub("", rest, count=1)):
            return True
        content = self._content_at(re.sub(r"^\s*[).:,-]*\s*", "", rest))
        at = ord(_answer(match)[0]) - ord("A")
        return content is not None and at < len(self.choices) and content == self.choices[at]

    def _is_content(self, text: str) -> bool:
        return (bare := _content(text)) != "" and bare in self.contents

    def _content_at(self, text: str) -> str | None:
        """The option's content that a text begins with, the longest one; none that goes on as another word or value."""
        bare = squeezed(tidy(text[:LONGEST])).lower() if len(text) > 1 else ""
        found = [
            (len(content), choice)
            for content, choice in zip(self.contents, self.choices, strict=True)
            if len(content) > 1 and bare.startswith(content) and not re.match(r"\w|[.,]\d", bare[len(content) :])
        ]
        return max(found)[1] if found else None

    def _content_at_end(self, text: str) -> str | None:
        """The option's content that a conclusion ends with, the longest one."""
        bare = _content(text.rstrip(" .!"))
        found = [
            (len(content), choice)
            for content, choice in zip(self.contents, self.choices, strict=True)
            if len(content) > 1 and bare.endswith(content) and not re.search(r"[\w.,/-]$", bare[: -len(content)])
        ]
        return max(found)[1] if found else None

    def _last_line(self, told: str) -> str | None:
        """The last line where it is an option and nothing else, and no list of options ends there."""
        lines = [line.strip() for line in told.rstrip()[-1500:].splitlines() if line.strip()]
        if not lines or len(lines[-1]) > LONGEST:
            return None
        line = lines[-1].rstrip(".")
        if (at := self._option_of(line)) is None:
            return line if self._is_content(line) else None
        if len(lines) > 1 and at > 0 and _content(lines[-2][-LONGEST:]).endswith(self.contents[at - 1]):
            return None
        option = self.patterns.option.match(line)
        return line if option is None or line[option.end() :].strip(PARTING) else _answer(option)

    def _option_of(self, line: str) -> int | None:
        """Which option a line is: its letter, or letter and content."""
        option = self.patterns.option.match(line)
        if option is None or option["more"]:
            return None
        rest = line[option.end() :].lstrip(PARTING)
        at = ord(_answer(option)[0]) - ord("A")
        return at if at < len(self.choices) and (not rest or self.contents[at] == _content(rest)) else None


@lru_cache(4096)
def _content(text: str) -> str:
    return squeezed(tidy(plain(text).strip())).lower()


def _doubted(sentence: str, at: int) -> bool:
    return DOUBTED.search(sentence, max(0, at - 90), at) is not None


def _answer(match: re.Match[str]) -> str:
    """Letter and letters of a match, whichever groups they are in."""
    groups = match.groupdict()
    first = next(
        groups[prefix + name]
        for prefix in ("", "only_")
        for name in ("marked", "bare", "small", "kinded")
        if groups.get(prefix + name)
    )
    more = groups.get("more") or groups.get("only_more") or ""
    return f"{first.upper()}{more}"
