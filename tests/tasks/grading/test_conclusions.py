"""Which answer texts conclude on: a table made by hand (conclusions.tsv), and what must never change an answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.grading import Grader
from tasks.grading.extraction import extract
from tasks.grading.thinking import said

steady = settings(max_examples=150, deadline=None, derandomize=True)
LENGTHS = ["3 m", "6 m", "9 m", "12 m"]
DISCUSSIONS = {
    "dashes": "- Option A: too short.\n- Option B: too short.\n- Option C: as computed.\n- Option D: too long.\n\n",
    "parentheses": "(A) is too short. (B) is still too short. (C) matches. (D) is too long.\n\n",
    "bold": "**A) 3 m** - too short.\n**B) 6 m** - too short.\n**C) 9 m** - as computed.\n**D) 12 m** - too long.\n\n",
    "yes and no": "**Choice A:** no.\n\n**Choice B:** no.\n\n**Choice C:** yes.\n\n**Choice D:** no.\n\n",
    "questions": "Is it A? Then t = 1. Could it be B? Hardly. What about D? If it were D, t would be 4.\n\n",
}


class Row(NamedTuple):
    group: str
    verdict: str
    reference: str
    solution: str
    choices: list[str] | None


def _rows() -> list[Row]:
    lines = (Path(__file__).parent / "conclusions.tsv").read_text(encoding="utf-8").splitlines()
    fields = [[_cell(cell) for cell in line.split("\t")] for line in lines if not line.startswith("#")]
    return [Row(*f[:4], f[4].split(" | ") if len(f) > 4 else None) for f in fields]


def _cell(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


ROWS = _rows()
CONCLUSIONS = [row for row in ROWS if row.group in ("conclusion", "last-said")]


def test_every_row_is_graded_as_by_hand(grader: Grader) -> None:
    grades = grader.grade([(row.solution, row.reference, row.choices) for row in ROWS])
    found = [(row, grade.answer, grade.verdict) for row, grade in zip(ROWS, grades, strict=True)]
    assert [one for one in found if one[2] == "correct" != one[0].verdict] == []  # no false 'correct'
    assert [one for one in found if one[0].verdict not in ("other", one[2])] == []
    assert len(ROWS) > 1000


def test_no_other_letter_is_correct(grader: Grader) -> None:
    others = [(row, letter) for row in CONCLUSIONS for letter in "ABCD" if letter != row.reference]
    grades = grader.grade([(row.solution, letter, row.choices) for row, letter in others])
    assert [one for one, grade in zip(others, grades, strict=True) if grade.verdict == "correct"] == []


@pytest.mark.parametrize("discussion", DISCUSSIONS)
def test_a_discussion_before_it_changes_no_conclusion(discussion: str, grader: Grader) -> None:
    rows = [row for row in CONCLUSIONS if row.group == "conclusion"]
    grades = grader.grade([(DISCUSSIONS[discussion] + row.solution, "C", row.choices) for row in rows])
    assert [(row, g.answer) for row, g in zip(rows, grades, strict=True) if g.verdict != "correct"] == []
    grades = grader.grade([(DISCUSSIONS[discussion] + row.solution, "D", row.choices) for row in rows])
    assert [(row, g.answer) for row, g in zip(rows, grades, strict=True) if g.verdict != "wrong"] == []


@pytest.mark.parametrize("discussion", DISCUSSIONS)
def test_a_discussion_alone_is_no_answer(discussion: str) -> None:
    assert extract(DISCUSSIONS[discussion], LENGTHS) is None


def test_what_is_read_is_read_again_as_the_same(grader: Grader) -> None:
    """A reference that was a solution's answer, as where answers are compared with each other."""
    read = [(answer, row.choices) for row in ROWS if (answer := extract(row.solution, row.choices))]
    grades = grader.grade([(f"\\boxed{{{answer}}}", answer, choices) for answer, choices in read])
    assert [one for one, grade in zip(read, grades, strict=True) if grade.verdict not in ("correct", None)] == []


MARKS = ["</think>", "</thought>", "</THINKING>", "</ think >", "[/THINK]", "<|end_of_thought|>", "◁/think▷"]
ENDS = [
    ("The answer is **5**.", None),
    ("\\boxed{5}", None),
    ("So (B).", LENGTHS),
    ("", None),
    ("Hm, who knows?", None),
]
WORDS = st.lists(
    st.sampled_from(
        [
            "\\boxed{4}",
            "The answer is 4.",
            "#### 4",
            "<answer>4</answer>",
            "<think>",
            "So it is A.",
            "**4**",
            "{",
            "\\",
            "\n\n",
        ]
    )
    | st.text(max_size=12)
)


@steady
@given(words=WORDS, mark=st.sampled_from(MARKS), end=st.sampled_from(ENDS))
def test_what_is_thought_never_changes_the_answer(
    words: list[str], mark: str, end: tuple[str, list[str] | None]
) -> None:
    text, choices = end
    assert extract(" ".join(words) + mark + text, choices) == extract(text, choices)


@steady
@given(words=WORDS, mark=st.sampled_from(["<think>", "<thought>", "[THINK]", "<|channel|>analysis<|message|>"]))
def test_thinking_without_an_end_says_nothing(words: list[str], mark: str) -> None:
    assert said(mark + " ".join(words)) == ""


def test_only_the_last_of_several_thoughts_is_followed_by_the_answer() -> None:
    assert extract("<think>\\boxed{1}</think>\\boxed{2}<think>\\boxed{3}</think>\\boxed{4}", None) == "4"
    assert extract("<think>\\boxed{1}</think>\\boxed{2}<think>\\boxed{3}", None) == "2"
    assert extract("<think>\\boxed{1}</think>\\boxed{2}<think>\\boxed{3}</think>", None) is None


WEIGHED = [
    "Option {0} is too long.", "Consider {0}.", "({0}) does not fit.", "Could it be {0}?",
    "If it were {0}, t would be 1.",
    "{0}: no.", "- **Option {0}**: too short", "So it is not {0}.", "We rule out {0}.", "The answer is not {0}.",
    "It might be {0}.", "Is ({0}) right? No.", "One may be tempted to choose {0}.", "A reader could take {0} for it.",
    "I see that {0} is wrong.",
]  # fmt: skip
CONCLUDING = [
    "So it is {0}.", "The answer is {0}.", "Hence ({0}).", "{0} is the correct answer.", "I choose {0}.",
    "**Answer: {0}**",
    "∴ {0}", "\\boxed{{{0}}}", "Therefore, option {0} is correct.", "That leaves {0}.", "The right one is {0}.",
    '{{"answer": "{0}"}}', "<answer>{0}</answer>", "Only {0} remains.", "({0})",
]  # fmt: skip
LETTERS = st.sampled_from("ABCDEFGHIJ")


@steady
@given(
    weighed=st.lists(st.tuples(st.sampled_from(WEIGHED), LETTERS), max_size=12),
    end=st.sampled_from(CONCLUDING),
    letter=LETTERS,
    joint=st.sampled_from(["\n", "\n\n"]),
)
def test_options_that_are_weighed_change_no_conclusion(
    weighed: list[tuple[str, str]], end: str, letter: str, joint: str
) -> None:
    choices = [f"{i} m" for i in range(10)]
    text = joint.join([*(template.format(one) for template, one in weighed), end.format(letter)])
    assert extract(text, choices) == letter
    assert extract(joint.join(template.format(one) for template, one in weighed) + joint, choices) is None


@steady
@given(letter=LETTERS, end=st.sampled_from(CONCLUDING), beyond=st.sampled_from(["A long way.", "I know.", "I see."]))
def test_an_article_and_a_pronoun_are_no_options(letter: str, end: str, beyond: str) -> None:
    choices = [f"{i} m" for i in range(10)]
    assert extract(beyond, choices) is None
    if "{0}" in end[:20] and not end.startswith(("\\", "<", "(", "{")):
        assert extract(f"{beyond}\n{end.format(letter)}", choices) == letter
