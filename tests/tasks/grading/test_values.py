"""What values mean and when two are equal: a table by group (values.tsv), and what holds for all values."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.grading import Grader
from tasks.grading.algebra import Sympy
from tasks.grading.characters import in_latex
from tasks.grading.judging import judged
from tasks.grading.numbers import number
from tasks.grading.ratios import clock
from tasks.grading.tidying import tidy

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "values.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
GROUPS = sorted({row[0] for row in ROWS})
WHOLE = st.integers(2, 9999)


def verdict(reference: str, answer: str) -> str:
    return judged(reference, answer, Sympy())


@pytest.mark.parametrize("group", GROUPS)
def test_values_are_graded_as_by_hand(group: str, grader: Grader) -> None:
    rows = [row for row in ROWS if row[0] == group]
    grades = grader.grade([(f"So we get \\boxed{{{answer}}}.", reference, None) for _, _, reference, answer in rows])
    found = [(row, grade.verdict or "bad") for row, grade in zip(rows, grades, strict=True)]
    assert [(row, verdict) for row, verdict in found if verdict == "correct" != row[1]] == []  # no false 'correct'
    assert [(row, verdict) for row, verdict in found if verdict != row[1]] == []


DRESSES: list[Callable[[str], str]] = [
    lambda x: rf"\color{{red}}{x}",
    lambda x: rf"\textcolor{{blue}}{{{x}}}",
    lambda x: rf"\underline{{\underline{{{x}}}}}",
    lambda x: rf"\boldsymbol{{{x}}}",
    lambda x: rf"{{\rm {x}}}",
    lambda x: rf"\displaystyle {x}",
    lambda x: rf"\Large {x}",
    lambda x: rf"\hspace{{3pt}}{x}\;",
    lambda x: rf"\begin{{aligned}}{x}\end{{aligned}}",
    lambda x: rf"\begin{{array}}{{c}}{x}\end{{array}}",
    lambda x: f"${x}$",
    lambda x: f"**{x}**",
    lambda x: rf"\phantom{{=}}{x}.",
    lambda x: rf"\text{{Answer: }}{x}",
    lambda x: rf"{x} \text{{ (the only one)}}",
]
PLAIN = [
    row
    for row in ROWS
    if row[0] in ("scale", "function", "sign", "ratio", "undefined")
    and row[1] in ("correct", "wrong")
    and not re.search(r"text|[a-zA-Z]{3}.* |[;,$]", row[3].replace("\\", ""))
]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from(PLAIN), st.sampled_from(DRESSES))
def test_dress_changes_no_verdict(row: list[str], dress: Callable[[str], str]) -> None:
    _, expected, reference, answer = row
    assert verdict(reference, dress(answer)) == expected


SCALES = {
    "tenths": Fraction(1, 10), "hundredths": Fraction(1, 100), "halves": Fraction(1, 2), "dozen": Fraction(12),
    "dozens": Fraction(12), "hundred": Fraction(100), "thousand": Fraction(1000), "lakh": Fraction(10**5),
    "million": Fraction(10**6), "millions": Fraction(10**6), "crores": Fraction(10**7), "bn": Fraction(10**9),
}  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=50)
@given(WHOLE, st.sampled_from(sorted(SCALES)))
def test_a_word_that_scales_is_no_unit(value: int, word: str) -> None:
    answer = rf"{value} \text{{ {word}}}"
    assert verdict(str(value), answer) == "wrong"
    assert verdict(str(value * SCALES[word]), answer) == "correct"
    assert verdict(rf"{value * SCALES[word]} \text{{ people}}", rf"{value} \text{{ {word} people}}") == "correct"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.sampled_from(["sin", "cos", "exp", "ln", "sqrt", "arctan", "sinh", "floor", "sgn", "erf", "f", "P"]),
    st.lists(st.integers(2, 30), min_size=2, max_size=2, unique=True),
)
def test_an_argument_is_no_factor(name: str, factors: list[int]) -> None:
    a, b = factors
    assert verdict(f"{a}{name}({b}x)", f"{b}{name}({a}x)") == "wrong"
    assert verdict(f"{a}{name}({b}x)", f"{name}(x*{b})*{a}") == "correct"


TIMES = st.tuples(st.integers(1, 12), st.integers(0, 59)).map(lambda time: f"{time[0]}:{time[1]:02d}")


@settings(deadline=None, derandomize=True, max_examples=50)
@given(TIMES, TIMES)
def test_times_are_equal_only_to_themselves(time: str, other: str) -> None:
    assert verdict(time, other) == ("correct" if time == other else "wrong")


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=4), st.integers(2, 9))
def test_ratios_are_equal_when_their_members_are_proportional(members: list[int], factor: int) -> None:
    reference, scaled = (":".join(str(f * member) for member in members) for f in (1, factor))
    assume(clock(reference) is None)
    assert verdict(reference, scaled) == "correct"
    other = ":".join(str(member) for member in [*members[:-1], members[-1] + 1])
    assert verdict(reference, other) == "wrong"


NO_VALUES = [
    r"\frac{1}{0}", r"\frac{0}{0}", r"\log 0", r"\infty-\infty", r"\tan 90^\circ", "0/0", r"\ln(0)",
    r"\frac{\infty}{\infty}", r"\frac{x}{0}", r"0 \cdot \infty",
]  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.sampled_from(NO_VALUES), min_size=2, max_size=2, unique=True), st.integers(-3, 3))
def test_what_has_no_value_equals_nothing(pair: list[str], value: int) -> None:
    assert verdict(*pair) == "wrong"
    assert verdict(str(value), pair[0]) == "wrong"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(WHOLE, st.sampled_from("０٠०০𝟎𝟘𝟬𝟶"))
def test_digits_of_every_script_are_digits(value: int, zero: str) -> None:
    written = "".join(chr(ord(zero) + int(digit)) for digit in str(value))
    assert number(tidy(written)) == value


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 99), st.integers(1, 99))
def test_raised_and_lowered_digits_are_powers_and_indices(power: int, index: int) -> None:
    raised, lowered = (
        str(n).translate(str.maketrans("0123456789", s)) for n, s in ((power, "⁰¹²³⁴⁵⁶⁷⁸⁹"), (index, "₀₁₂₃₄₅₆₇₈₉"))
    )
    assert in_latex(f"x{raised}") == f"x^{{{power}}}"
    assert in_latex(f"x{lowered}") == f"x_{{{index}}}"


ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def spelled(value: int) -> str:
    """A number below a million in English."""
    ones = [*ONES.split(), "eighteen", "nineteen"]
    if value < 20:
        return ones[value]
    if value < 100:
        return TENS.split()[value // 10 - 2] + (f"-{ones[value % 10]}" if value % 10 else "")
    by, word = (100, "hundred") if value < 1000 else (1000, "thousand")
    rest = value % by
    joint = " and " if by == 100 else " "
    return f"{spelled(value // by)} {word}" + (f"{joint}{spelled(rest)}" if rest else "")


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_a_number_in_words_is_that_number(value: int, other: int) -> None:
    assert verdict(str(value), rf"\text{{{spelled(value)}}}") == "correct"
    if value != other:
        assert verdict(str(value), rf"\text{{{spelled(other)}}}") == "wrong"


CONVERSIONS = [("km", "m", 1000), ("hours", "minutes", 60), ("kJ", "J", 1000), ("kg", "g", 1000), ("L", "mL", 1000)]
CONVERSIONS += [("N·m", "J", 1), ("m/s", "m s^{-1}", 1), ("kg·m/s^2", "N", 1), ("days", "hours", 24)]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(WHOLE, st.sampled_from(CONVERSIONS))
def test_units_may_be_missing_and_convert(value: int, units: tuple[str, str, int]) -> None:
    large, small, factor = units
    answer = rf"{value} \text{{ {large}}}"
    assert verdict(str(value), answer) == "correct"
    assert verdict(rf"{value * factor} \text{{ {small}}}", answer) == "correct"
    assert verdict(rf"{value * factor + 1} \text{{ {small}}}", answer) == "wrong"
    assert verdict(rf"{value} \text{{ {large}}}", rf"{value} \text{{ V}}") == "wrong"


@pytest.mark.parametrize(
    "answer", [r"\foo{12}", "12 +", r"\frac{12}", "12_", r"\begin{foo}12\end{foo}", "(12", "12 ? 3"]
)
def test_what_cannot_be_read_is_not_wrong(answer: str) -> None:
    assert verdict("12", answer) == "unparsed"
