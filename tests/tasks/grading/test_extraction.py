"""Which answer a solution gives."""

from __future__ import annotations

import pytest

from tasks.grading.boxes import last_boxes
from tasks.grading.extraction import extract

CHOICES = ["red", "dark blue", "$x^2$", "None of the above"]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ \{1, \{2\}\} }", r"\{1, \{2\}\}"),
        (r"\boxed{\{1, 2)}", r"\{1, 2)"),
        (r"\boxed{\begin{matrix}1\\{2}\end{matrix}}", r"\begin{matrix}1\\{2}\end{matrix}"),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"{ never closed \boxed{3}", "3"),
        (r"closed too often } \boxed{3}", "3"),
        (r"\fbox{7}", "7"),
        (r"\boxed {8}", "8"),
        (r"\boxed{}", None),
        (r"\boxed{1} and \boxed{}", "1"),
        (r"$\boxed 2$", "2"),
        (r"\boxed{a\boxed{b}}", "b"),
        ("\\boxed{a\nb}", "a\nb"),
        ("no box", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        ("", None),
    ],
)
def test_the_last_whole_box(text: str, box: str | None) -> None:
    found = last_boxes(text)
    assert (found and found.content) == box


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{B}", "B"),
        ("The answer is (C).", "C"),
        ("the Answer: D", "D"),
        ("The answer is **B**.", "B"),
        ("Option A is wrong. The answer is B", "B"),
        ("The answer is B because it is.", "B"),
        ("The answer is A common one", "A common one"),
        ("A long time ago", None),
        ("the answer is Apple", "Apple"),
        ("The answer is C.\n\nOption A is wrong: no.\nOption B: no friction.", "C"),
        ("### Answer\n\n**D**", "D"),
        ("It is the third.\n\n(C)", "C"),
    ],
)
def test_a_multiple_choices_answer(text: str, answer: str | None) -> None:
    assert extract(text, CHOICES) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is $12$.", "12"),
        ("The answer is 11. No: the final answer is \\(12\\), I hope.", "12"),
        ("Answer:\n\n12", "12"),
        ("The answer is 3.5.", "3.5"),
        ("12 - 2 = 10\n#### 10", "10"),
        ("12", "12"),
        ("12 - 2 = 10\n#### 10\n\nThe answer is correct.", "10"),
        ("### Final Answer\n\n$3$", "3"),
        ("The answer is\n\\[\n12\n\\]", "12"),
        ("It is the sum.\n\n**18**", "18"),
        ("It is the sum.\n\n### 2. The rest", None),
        (r"$x = \frac{1}{2}$", r"$x = \frac{1}{2}$"),
        ("So 12 apples are left and 3 are gone", None),
        ("I do not know.", None),
        ("The answer is", None),
        (r"The sum is 12, so \boxed{", None),
    ],
)
def test_an_answer_that_is_stated(text: str, answer: str | None) -> None:
    assert extract(text, None) == answer


@pytest.mark.parametrize(
    "part",
    ["\\boxed{", "{", "\\", "$", "#", " ", "\n", "answer is ", "\\boxed{5} ", "\\boxed{5} and ", "Option A: ",
     "A, ", "so A ",
     "<think>", "</think>", "<answer>", '"answer": "', "the option that ", "\\text{", "**", "1,", "12 apples "],
)  # fmt: skip
@pytest.mark.parametrize("choices", [CHOICES, None])
def test_a_megabyte_is_read_once(part: str, choices: list[str] | None) -> None:
    """Anything worse than linear would last for minutes here."""
    answer = extract(part * (1_000_000 // len(part)), choices)
    assert answer is None or len(answer) < 4000
