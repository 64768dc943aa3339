"""How a text names an option of a multiple choice, and how it says that one is the answer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

IS = (
    r"(?:is|are|equals|would\s+be|must\s+be|should\s+be|will\s+be|has\s+to\s+be|can\s+only\s+be|ought\s+to\s+be|"
    r"turns\s+out\s+to\s+be|comes\s+(?:out\s+)?to(?:\s+be)?|remains|seems\s+to\s+be|appears\s+to\s+be)(?!\w|n't)"
)
ADVERB = (
    r"(?:\s*,?\s*\b(?:therefore|thus|hence|then|indeed|so|simply|just|exactly|actually|clearly|most\s+likely|likely|"
    r"probably|definitely|obviously|still|again|in\s+fact|in\s+this\s+case|of\s+course|given\s+by|found\s+to\s+be|"
    r"only|represented\s+by|best\s+described\s+by|number|labell?ed)\b,?){0,3}"
)
KIND = r"(?:option|choice|answer|letter|statement|alternative|response|item)s?"
GOOD = (
    r"(?:correct|right|best|most\s+(?:appropriate|accurate|likely|suitable|plausible)|appropriate|accurate|proper|"
    r"suitable)"
)
ANSWER = (
    rf"(?:\b(?:answers?|(?:the|correct|final)\s+solution)|\b(?:{GOOD}|final|chosen|selected|only|remaining|"
    rf"matching|closest|desired|required)\s+"
    rf"(?:{GOOD}\s+|possible\s+|remaining\s+|answer\s+)?(?:{KIND}|one|selection|pick|match|candidate)"
    rf"|\bthe\s+letter(?=\s+is\b)|\bthe\s+(?:only\s+)?(?:{KIND}|one)(?=\s+(?:that|which|with|whose|corresponding|matching|representing|"
    rf"containing|showing)\b)|\b(?:my|our)\s+(?:final\s+)?(?:choice|pick|selection)"
    r"|答案|正确选项)"
)
OF = re.compile(
    rf"(?i){ADVERB}(?:\s*\([^()]{{1,30}}\)|\s+(?:to|for|of|among|from|here|in|that|which|with|whose|corresponding|"
    rf"matching|representing|containing|showing|left|would|choice|option|letter|"
    r"based|according)\b[^.;]*)?"
)
"""What may stand between the answer's name and 'is'."""
LINK = re.compile(
    rf"(?i)(?:\b{IS}|'s\b|是|为|应为)(?!\s+(?:not|n't)\b){ADVERB}\s*[:：]?\s*|\s*[:：=]\s*|\s+[-–—]+\s|\s+therefore\b\s*"
    r"|,\s*(?=\(?[A-Z]\)?\s*,)"
)
REACH = 110
"""Characters between the answer's name and the answer."""
LABEL = (
    r"(?:(?:my|our|the|final|best|selected)\s+){0,2}(?:ans|result|conclusion|final|choice|option|selected|"
    r"selection|decision|verdict|solution|correct|response|output|"
    r"prediction|letter)(?:\s+(?:choice|option|answer|letter))?\s*[:=]"
)
"""What a line begins with that gives the answer."""
CHINESE = r"(?:(?:故|因此|所以|应|应该)\s*选(?:择)?|选择?(?=\s*[:：(A-Z]))\s*[:：]?"
CHOOSE = (
    r"(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)?\s+(?:with|for)|opt(?:ing)?\s+for|settle\s+on|"
    r"answer(?:\s+with)?|say|vote\s+for|chosen|chose|picked|selected|went\s+with|mark)"
)
WE = (
    r"(?:\b(?:I|we)(?:'(?:d|ll|m|re|ve))?(?:\s+(?:would|will|should|can|must|then|therefore|thus|hence|have\s+to|"
    r"need\s+to|"
    r"am|are|have|going\s+to|also|now|finally|safely|confidently|go\s+ahead\s+and)){0,3}\s+|\b(?:let's|let\s+us|"
    r"you\s+should)\s+|"
    r"^\s*(?:please\s+)?|\b(?:so|thus|hence|then|therefore|and)\s*,?\s+)"
)
THEN = (
    r"(?:(?:(?<!\bif )so|thus|hence|therefore|consequently|accordingly|that\s+is|namely|in\s+conclusion|to\s+conclude|"
    r"in\s+summary|"
    r"ultimately|finally|overall|by\s+(?:process\s+of\s+)?elimination|"
    r"(?<!anything )(?<!all )(?<!everything )but)\b[\s,:.]{0,4}|"
    r"I\s+(?:think|believe)\b(?=\s+(?:it|the|this)\b)[\s,:.]{0,4}|"
    r"(?:no|wait|actually|rather|instead|yes)\b(?=[,:.]|\s+it)[\s,:.]{0,4})"
)
SO = (
    rf"(?:^(?=(?:it|this|that)(?:'s|\s+{IS}))|(?<=[;—–]\s)(?=(?:it|this|that)(?:'s|\s+{IS}))|"
    rf"(?<=,\s)(?=(?:this\s+is|that's)\b)"
    rf"|(?:^|(?<=[\s,;:.(—–-])){THEN}|(?<=[\s,;:.(—–-])i\.\s?e\.[\s,:]{{0,4}})"
    r"(?:(?:then|again|indeed|clearly|finally|only|so|therefore|we\s+(?:get|have|conclude|"
    r"can\s+say))\b[\s,]{0,3}){0,2}"
    rf"(?:(?:it|this|that|which|the\s+(?:result|{KIND}))(?:'s|'d\s+be|\s+{IS}){ADVERB}\s*)?"
)
FITS = (
    r"(?:\b(?:match(?:es|ing)?|correspond(?:s|ing)?\s+to|agree(?:s|ing)?\s+with|consistent\s+with|equals?(?:\s+to)?|"
    r"closest\s+to|points?\s+to|which\s+is|which\s+gives|this\s+is|that\s+is|identical\s+to|in\s+line\s+with|"
    r"described\s+(?:in|by)|fits|supports|gives(?:\s+us)?|yields|get|arrive\s+at|end\s+up\s+with|"
    r"leads\s+(?:us\s+)?to|found\s+in|given\s+(?:in|by|as)|listed\s+(?:as|in))"
    rf"(?:\s+(?:exactly|precisely|well|best|most\s+closely|only|with|the)){{0,2}}\s*|\bis\s+(?={KIND}\s)|"
    rf"\((?={KIND}\s))"
)
LEFT = r"\b(?:leav(?:es|ing)|left\s+with|narrows?\s+(?:it\s+)?down\s+to)(?:\s+us)?(?:\s+with)?(?:\s+(?:only|just))?\s+"
REMAINS = (
    r"(?:remains|is\s+left|fits?|match(?:es)?|works?|satisf(?:y|ies)|is\s+(?:consistent|possible|valid)|meets?|holds?|"
    r"agrees?|is\s+the)\b"
)
MAKES = r"\b(?:mak(?:es|ing)|confirm(?:s|ing)|identif(?:y|ies|ying)|giv(?:es|ing))\s+"
CLAUSE = re.compile(
    r"(?i)(?:^|[,;:.(—–-]|\b(?:so|that|why|thus|hence|therefore|and|but|while|since|because|as|then|only|is|both|means|"
    r"although|"
    r"though|conclude|believe|think))\s*$"
)
"""What may stand before a bare letter that is the subject of a clause: not 'angle', 'point', 'vitamin'."""
RIGHT_CONTENT = re.compile(
    rf"(?i)(?:so|thus|hence|therefore)?[\s,]*(.{{2,200}}?)\s+{IS}\s+(?:the|our|my)\s+(?:{GOOD}|answer)\b"
)


ENDS_NAMED = re.compile(r"\s*\(\s*(?:(?:option|choice)\s+)?([A-Z])\s*\)[\s.!]*$")
AFTER = re.compile(
    r"\s*(?:[.!;,(—–]|-\s|$|(?:because|since|as|given|due|though|then|after\s+all|which|where|and\s+not|not|by)\b|"
    r"(?:holds|works|fits|applies|is\s+true)\s*[.!]?$)"
)
"""What may follow an option that is concluded on."""
ONLY_IF = re.compile(
    r"\)?\s*(?:\?|,?\s*which\s+is\s+(?:wrong|incorrect|false|not|too)\b|,\s*being\b|(?:only\s+)?(?:if|when|unless)\b)"
)
VERB = re.compile(
    r"\)?\s+(?:is|are|was|were|would|says?|states?|gives|has|does|can|cannot|could|might|may|will|must)\b|"
    r"\)?\s+as\s+(?!(?:the|our|my)\s+(?:final\s+)?(?:answer|correct|best|right|solution|choice)\b|it\b|that\b)"
)
"""With which an option that was to be an object is the subject of something else."""
REFUSED = re.compile(r"(?i)\b(?:not|never)\b|n't\b")
WOULD = re.compile(r"(?i)\bwould\s+be\b")
BUT = re.compile(r"(?i)not\b[^.;]{1,80}?\bbut\s+(?:rather\s+)?")
OPENED = re.compile(r"\)?[.,!]?\s*(?:\(|(?:because|since|as)\b)")
"""What follows an option that a text begins with as its answer."""


class Patterns(NamedTuple):
    """How options are written and spoken of, for one set of choices."""

    any: re.Pattern[str]
    """An option, of those there are or beyond."""
    option: re.Pattern[str]
    right: re.Pattern[str]
    """C is the correct answer."""
    good: re.Pattern[str]
    """C is correct: so may be several, where a text weighs them."""
    choose: re.Pattern[str]
    left: re.Pattern[str]
    only: re.Pattern[str]
    makes: re.Pattern[str]
    fits: re.Pattern[str]


CUE = re.compile(rf"(?i){ANSWER}")
CALLED = re.compile(
    rf"^\s*(?i:{LABEL})\s*|\b(?i:ans)\b\.?\s*[:=]?\s*|(?i:{CHINESE})\s*|"
    r"^\s*(?i:(?:the\s+|final\s+|correct\s+){0,2}answer)\s+(?=\(?[A-Z]\)?\s*[.!]?$)"
)
CONCLUDED = re.compile(rf"(?i){SO}")
NAMED = re.compile(rf"(?:(?i:{KIND})\s+[A-Z](?!\w)|\(\s*[A-Z]\s*\))")
"""(C), or option C."""


@lru_cache(32)
def patterns(count: int) -> Patterns:
    """For so many options."""
    option = _option(count, count)
    letter = f"[A-{chr(ord('A') + count - 1)}]"
    plain = rf"(?:(?!\b(?:is|are|and|or|but|so|option|choice|{letter})\b)[^.,;:()\n])"
    gap = (
        rf"(?:\s*\([^()\n]{{1,80}}\)|[).:]\s{plain}{{1,60}}?|,\s+(?:and\s+)?not\s+[^,.;\n]{{1,40}},|"
        rf",\s{plain}{{1,40}},)?,?"
    )
    is_ = rf"(?:\s+(?i:{IS})|'s)(?!\s+not\b)(?i:{ADVERB})\s*"
    the = (
        rf"(?i:(?:the|our|my|indeed)\s+(?:only\s+|single\s+|one\s+|final\s+)?"
        rf"(?:{GOOD}\b|answer\b|choice\b|pick\b|one\s+(?:that|we|which|to\s+(?:pick|choose|select))))"
    )
    return Patterns(
        any=re.compile(_option(count, 26)),
        option=re.compile(option),
        right=re.compile(
            rf"{option}{gap}(?:{is_}(?:{the}|(?i:what\s+we))|\s+(?i:it\s+is)\b(?=\s*[.!]?$)|\s+(?i:as\s+){the})"
        ),
        good=re.compile(rf"{option}{gap}{is_}(?i:{GOOD})\b(?!\s+(?:angle|side|triangle|hand)\b)"),
        choose=re.compile(rf"(?i:{WE}{CHOOSE})\s+{option}"),
        left=re.compile(rf"(?i:{LEFT}){option}"),
        only=re.compile(rf"(?i:\b(?:only|conclude\s+that))\s+{option}\s+(?i:{REMAINS}|is\s+true\b)"),
        makes=re.compile(rf"(?i:{MAKES}){option}\s+(?i:(?:as\s+)?(?:the\s+)?(?:only\s+)?(?:{GOOD}|answer|choice))\b"),
        fits=re.compile(rf"(?i:{FITS}){option}"),
    )


def _option(count: int, most: int) -> str:
    """An option by its letter, and others that are joined to it. Of letters that may be words (A, I) only those count
    that cannot be one where they stand."""
    last = chr(ord("A") + most - 1)
    capital = r"(?![A-Za-z0-9_'°^])(?!\s*[=+*/<>≤≥≈×·])"
    word = (
        r"(?=\s*(?:[).;:!?,\]}—–(]|-\s|$|(?:because|since|and|or|which|is|but|not|it|the|as\s+(?:the|our|my)|"
        r"remains|fits|matches|works|satisfies|holds|agrees|must|has\s+to|would)\b))"
    )
    small = rf"[a-{chr(ord('a') + count - 1)}]"
    more = (
        rf"(?:\s*(?:,\s*(?:and|or)?|and|or|&|/)\s*(?:{KIND}\s+)?(?:\([A-{last}]\)|[A-{last}](?!\w))"
        r"(?=\s*(?:[.:;,)!(]|$|(?:and|or|are)\b))){0,9}+"
    )
    return (
        rf"(?:(?i:{KIND})\s+(?P<kinded>{small})(?=\s+is\b)|"
        rf"(?:(?i:the\s+)?(?P<kind>(?i:{KIND}(?:\s+{KIND})?))\s*:?\s*)?"
        rf"(?:\(\s*(?P<marked>[A-{last}]|{small})\s*\)|(?<![A-Za-z0-9_'-])(?:(?P<bare>(?![AI])[A-{last}]{capital}|"
        rf"(?=[A-{last}])[AI]{capital}{word})|"
        rf"(?P<small>{small}(?=\s*(?:[).;:!]|$))))))(?P<more>{more})"
    )


def letters(match: re.Match[str]) -> str:
    """The letter of a match, and those that are joined to it."""
    first = match["marked"] or match["bare"] or match["small"] or match["kinded"]
    return f"{first.upper()}{match['more'] or ''}"
