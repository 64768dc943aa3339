"""Finds the option of a multiple choice that a text concludes on.

Options that a text only names, weighs or denies are no conclusion. A conclusion says so: "the answer is C", "C is the
correct choice", "I choose C", "so C", "only C remains", or it is a line of its own at the end. The last one counts.
What agrees with an option ("this matches (C)") counts where nothing stronger is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from tasks.grading import wording
from tasks.grading.sentences import CONDITIONAL, DENIAL, DOUBTED, plain, sentences
from tasks.grading.tidying import squeezed, tidy
from tasks.grading.wording import AFTER, BUT, ENDS_NAMED, ONLY_IF, OPENED, REFUSED, VERB, WOULD, letters

PARENTHESIS = re.compile(r"\s*\([^()\n]{0,80}\)")
PARTING = " ).:-–—,"
MOST_LINKS = 6
"""Places behind the answer's name where it may stand."""
LONGEST = 600
"""Characters of a sentence that are looked at: its last."""


class Conclusion(NamedTuple):
    """Each a letter, letters, or an option's content."""

    claimed: str | None
    """What the text says is the answer."""
    correct: str | None
    """The only option that it calls correct, if that is said after what it claims, or it claims none."""
    fitting: str | None
    """What it finds to agree with its result, or begins with."""

    @property
    def stated(self) -> str | None:
        """The option that the text calls correct, or else says is the answer; None if it does neither."""
        return self.correct or self.claimed


class Claim(NamedTuple):
    """An answer that a sentence claims, and its place."""

    at: int
    """In its sentence."""
    answer: str


def conclusion(text: str, choices: list[str]) -> Conclusion:
    """The options that a text concludes on. Linear in the text's length."""
    found = _Reader(choices)
    told = plain(text)
    said = [sentence[-LONGEST:] for sentence in sentences(told)]
    for sentence in said:
        found.read(sentence)
    return found.result(told, said)


class _Reader:
    """Reads sentences in order and remembers what they claim."""

    def __init__(self, choices: list[str]) -> None:
        self.choices = choices
        self.contents = [_content(choice) if len(choice) <= 4 * LONGEST else "" for choice in choices]
        self.longest = min(LONGEST, max(map(len, choices), default=0) * 2 + 20)
        """Characters that may hold an option's content."""
        self.patterns = wording.patterns(min(26, max(1, len(choices))))
        self.claimed: str | None = None
        self.good: list[str] = []
        self.good_last = False
        self.fitting: str | None = None

    def read(self, sentence: str) -> None:
        if sentence.endswith("?"):
            return
        if claims := [*self._answers(sentence), *self._called(sentence), *self._right(sentence), *self._so(sentence)]:
            self.claimed = max(claims, key=lambda claim: claim.at).answer
            self.good_last = False
        for match in self.patterns.good.finditer(sentence):
            if self._holds(sentence, match) and self._subject(sentence, match):
                self.good.append(letters(match))
                self.good_last = True
        for match in self.patterns.fits.finditer(sentence):
            if self._ends(sentence, match) and not DENIAL.search(sentence):
                self.fitting = letters(match)

    def result(self, told: str, said: list[str]) -> Conclusion:
        agreed = self.good[0] if len(set(self.good)) == 1 else None
        end = self._last_line(told) or self._alone(said[-1] if said else "")
        correct = agreed if not end and (self.good_last or not self.claimed) else None
        return Conclusion(end or self.claimed, correct, self._both(said) or self.fitting or self._opening(told))

    def _both(self, said: list[str]) -> str | None:
        """The option whose content and letter the last sentence ends with: 'The process is fission (C).'"""
        last = said[-1] if said else ""
        if (match := ENDS_NAMED.search(last)) is None or DENIAL.search(last) or last.endswith("?"):
            return None
        if DOUBTED.search(last, 0, match.start()):
            return None
        at = ord(match[1]) - ord("A")
        content = self._content_at_end(last[: match.start()])
        return match[1] if content is not None and at < len(self.choices) and self.choices[at] == content else None

    def _answers(self, sentence: str) -> Iterator[Claim]:
        """The answer ... is C."""
        for cue in wording.CUE.finditer(sentence):
            if DOUBTED.search(sentence, max(0, cue.start() - 90), cue.start()):
                continue
            links = wording.LINK.finditer(sentence, cue.end(), cue.end() + wording.REACH)
            for link in islice(links, MOST_LINKS):
                between = sentence[cue.end() : link.start()].rstrip()
                if DENIAL.search(between) or not wording.OF.fullmatch(between):
                    continue
                if WOULD.search(link[0]) and CONDITIONAL.search(sentence):
                    continue
                if (answer := self._answer_at(sentence, link.end())) is not None:
                    yield Claim(cue.start(), answer)
                    break

    def _called(self, sentence: str) -> Iterator[Claim]:
        """Result: C. Ans. C"""
        for match in wording.CALLED.finditer(sentence):
            option = self.patterns.option.match(sentence, match.end())
            if option and VERB.match(sentence, option.end()):
                continue
            if (answer := self._answer_at(sentence, match.end())) is not None:
                yield Claim(match.start(), answer)

    def _answer_at(self, sentence: str, at: int) -> str | None:
        """The option that stands at a place where the answer is told, or the only one named behind it."""
        rest = sentence[at:]
        if (content := self._content_at(rest)) is not None:
            return content
        but = BUT.match(rest)
        option = self.patterns.any.match(sentence, at + (but.end() if but else 0))
        if option:
            return None if ONLY_IF.match(sentence, option.end()) else letters(option)
        return self._only_named(rest)

    def _right(self, sentence: str) -> Iterator[Claim]:
        """C is the correct answer; I choose C; only C remains; this makes C the best choice."""
        if (match := wording.RIGHT_CONTENT.match(sentence)) and self._is_content(match[1]):
            yield Claim(match.start(), match[1])
            return
        for match in self.patterns.right.finditer(sentence):
            if self._holds(sentence, match) and self._subject(sentence, match):
                yield Claim(match.start(), letters(match))
        for pattern in (self.patterns.choose, self.patterns.left, self.patterns.only, self.patterns.makes):
            for match in pattern.finditer(sentence):
                if not self._holds(sentence, match) or REFUSED.search(match[0]) or " or " in match["more"]:
                    continue
                if pattern is self.patterns.choose and VERB.match(sentence, match.end()):
                    continue
                if pattern is self.patterns.left and not self._ends(sentence, match):
                    continue
                yield Claim(match.start(), letters(match))

    def _so(self, sentence: str) -> Iterator[Claim]:
        """So C. Therefore it is C. Hence the force is 6 N (C)."""
        claimed = False
        for match in wording.CONCLUDED.finditer(sentence):
            if WOULD.search(match[0]) and CONDITIONAL.search(sentence):
                continue
            option = self.patterns.option.match(sentence, match.end())
            if option and self._ends(sentence, option) and " or " not in option["more"]:
                yield Claim(match.start(), letters(option))
                claimed = True
            elif (rest := sentence[match.end() :]) and (content := self._content_before(rest)) is not None:
                yield Claim(match.start(), content)
                claimed = True
        start = wording.CONCLUDED.match(sentence)
        if claimed or start is None or DENIAL.search(sentence, start.end()):
            return
        rest = sentence[start.end() :]
        if (one := self._only_named(rest, at_end=True) or self._content_at_end(rest)) is not None:
            yield Claim(start.start(), one)

    def _holds(self, sentence: str, match: re.Match[str]) -> bool:
        """True if a claim is neither doubted before nor made to depend on something."""
        if DOUBTED.search(sentence, max(0, match.start() - 90), match.start()) or ONLY_IF.match(sentence, match.end()):
            return False
        return not (WOULD.search(match[0]) and (CONDITIONAL.search(sentence)))

    def _subject(self, sentence: str, match: re.Match[str]) -> bool:
        """True if an option is the subject of its clause, and no letter of another noun, as in 'angle C is right'."""
        marked = match["marked"] or match["kind"] or match["kinded"]
        return bool(marked or wording.CLAUSE.search(sentence[max(0, match.start() - 14) : match.start()]))

    def _only_named(self, rest: str, at_end: bool = False) -> str | None:
        """The one option that the rest of a sentence names, as in 'the answer is 6 N, option C.'"""
        named = list(wording.NAMED.finditer(rest))
        if len(named) != 1 or DENIAL.search(rest):
            return None
        if at_end and not re.fullmatch(r"[)\s.!]*", rest[named[0].end() :]):
            return None
        option = self.patterns.option.match(rest, named[0].start())
        return letters(option) if option else None

    def _ends(self, sentence: str, match: re.Match[str]) -> bool:
        """True if what follows an option leaves it as it is: nothing, a reason, its own content."""
        rest = sentence[match.end() :].lstrip(")")
        if ONLY_IF.match(rest):
            return False
        if AFTER.match(PARENTHESIS.sub("", rest, count=1)):
            return True
        content = self._content_at(re.sub(r"^\s*[).:,-]*\s*", "", rest))
        at = ord(letters(match)[0]) - ord("A")
        return content is not None and at < len(self.choices) and content == self.choices[at]

    def _is_content(self, text: str) -> bool:
        return (bare := _content(text)) != "" and bare in self.contents

    def _content_before(self, text: str) -> str | None:
        """The text, or the part of it before a remark, if that is an option's content."""
        for said in (text, re.split(r"[,;(]", text, maxsplit=1)[0]):
            if self._is_content(said):
                return said.strip().rstrip(".!")
        return None

    def _content_at(self, text: str) -> str | None:
        """The option's content that a text begins with, the longest one; none that goes on as another word or value."""
        bare = _content(text[: self.longest])
        return self._longest(
            lambda content: bare.startswith(content) and not re.match(r"\w|[.,]\d", bare[len(content) :])
        )

    def _content_at_end(self, text: str) -> str | None:
        """The option's content that a conclusion ends with, the longest one."""
        bare = _content(text.rstrip(" .!")[-self.longest :])
        return self._longest(
            lambda content: bare.endswith(content) and not re.search(r"[\w.,/-]$", bare[: -len(content)])
        )

    def _longest(self, holds: Callable[[str], bool]) -> str | None:
        pairs = zip(self.contents, self.choices, strict=True)
        found = [(len(content), choice) for content, choice in pairs if len(content) > 1 and holds(content)]
        return max(found)[1] if found else None

    def _last_line(self, told: str) -> str | None:
        """The last line if it is an option and nothing else, and no list of options ends there."""
        lines = _lines(told[-1500:])
        if not lines or len(lines[-1]) > LONGEST:
            return None
        line = lines[-1].rstrip(".")
        if (at := self._option_of(line)) is None:
            return line if self._is_content(line) else None
        if len(lines) > 1 and at > 0 and self._lists(lines[-2], at - 1):
            return None
        return self._as_said(line)

    def _opening(self, told: str) -> str | None:
        """The first line, or sentence, if it is an option and nothing else, and no list of options begins there."""
        for parts in (_lines(told), sentences(told[: 2 * LONGEST])):
            if len(parts) > 1 and (at := self._option_of(parts[0].rstrip("."))) is not None:
                return None if self._lists(parts[1], at + 1) else self._as_said(parts[0].rstrip("."))
        option = self.patterns.option.match(told)
        return letters(option) if option and not option["more"] and OPENED.match(told, option.end()) else None

    def _alone(self, sentence: str) -> str | None:
        """The letter of a sentence that is an option's letter and nothing else."""
        option = self.patterns.option.match(sentence)
        return letters(option) if option and not sentence[option.end() :].strip(" ).!") else None

    def _lists(self, line: str, at: int) -> bool:
        """True if a line gives the option of this index, as a list of options does."""
        if at >= len(self.choices):
            return False
        content = self.contents[at]
        return self._option_of(line) == at or (content != "" and _content(line[-LONGEST:]).endswith(content))

    def _as_said(self, line: str) -> str:
        option = self.patterns.option.match(line)
        return line if option is None or line[option.end() :].strip(PARTING) else letters(option)

    def _option_of(self, line: str) -> int | None:
        """Which option a line is: its letter, or letter and content."""
        option = self.patterns.option.match(line)
        if option is None or option["more"]:
            return None
        rest = line[option.end() :].lstrip(PARTING)
        at = ord(letters(option)[0]) - ord("A")
        return at if at < len(self.choices) and (not rest or self.contents[at] == _content(rest)) else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@lru_cache(4096)
def _content(text: str) -> str:
    return squeezed(tidy(plain(text).strip())).lower()
