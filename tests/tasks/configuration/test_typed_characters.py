"""Characters that were typed as two: separators and prompts that spell them are refused."""

from __future__ import annotations

import pytest
from configuration.configured import MODELS, made, told
from hypothesis import given
from hypothesis import strategies as st

from tasks.configuration.ineffective import ESCAPED_NEWLINE, remarks


@pytest.mark.parametrize(
    "typed",
    [
        *(
            r"\n",
            r"\n\n",
            r"\t",
            r"\r\n",
            r"\\n\\n",
            r"Step\n",
            r"\n\nStep",
            r"\x0a",
            r"\u000a",
            "/n",
            "/n/n",
            r"\r",
            r"\0",
        ),
        *("&#10;", "&#10;&#10;", "&#x0A;", "&NewLine;", "&lt;br&gt;", "%0A", "%0d%0a"),
    ],
)
def test_a_separator_that_only_spells_its_characters_is_refused(typed: str) -> None:
    message = told({}, prompt={"separator": typed})
    assert "prompt.separator: spells a character, such as a line's end, and models write" in message
    assert "prompt.separator" in told({}, f"prompt.separator={typed}")
    tagged = {"draft": MODELS["draft"], "target": MODELS["target"]}
    prm = {"model": "a/prm", "format": "skywork", "tag": typed}
    assert "models.prm.tag" in told({}, models=tagged | {"prm": prm})


@pytest.mark.parametrize(
    "meant",
    [
        "\n\n",
        "\n",
        "\t",
        "---",
        r"\newline",
        r"\\",
        r"\text",
        ". ",
        "/",
        "<step>",
        r"\neq",
        "&",
        "&&",
        "100%",
        "% 0",
        "R&D;",
    ],
)
def test_other_separators_are_taken(meant: str) -> None:
    assert made({}, prompt={"separator": meant}).prompt.separator == meant


@given(st.text(alphabet="\\nabt {}/", min_size=1, max_size=8))
def test_a_separator_without_a_backslash_or_slash_is_never_refused(text: str) -> None:
    if "\\" not in text and "/" not in text and text.strip():
        assert made({}, prompt={"separator": text}).prompt.separator == text


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ({"system": r"Reason step by step.\nThen answer."}, ["system"]),
        ({"user": r"Solve:\n{problem}", "template": r"{user}\n\n"}, ["user", "template"]),
        ({"system": r"Never write \nabla or \neq; \boxed{} the answer."}, []),
        ({"system": "Lines\nare fine."}, []),
    ],
)
def test_prompts_that_spell_a_new_line_are_told_of(prompt: dict[str, str], named: list[str]) -> None:
    said = remarks(made({}, prompt=prompt))
    assert [line.partition(":")[0] for line in said] == [f"prompt.{name}" for name in named]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ({"user": "{problem} {answer}"}, "prompt.user: models read {answer} as it stands: only {problem} and"),
        ({"user": "Q: {problem}\n({question}, {level})"}, "models read {question} and {level} as it stands"),
        ({"user": "{problem}", "template": "{user} {problem}"}, "prompt.template: models read {problem} as it stands"),
        ({"system": "Solve {problem}."}, "prompt.system: models read {problem} as it stands: nothing is filled in"),
        ({"user": "Solve: {{problem}}"}, "prompt.user: models read the outer braces of {{problem}} as they stand"),
        ({"template": "{{user}}"}, "prompt.template: models read the outer braces of {{user}}"),
        ({"user": r"{problem} in \boxed{answer} or \frac{a}{b}, x^{n}, a_{i}, $\sum_{i}$"}, None),
        ({"user": 'As JSON: {"answer": 3}, or {}. {problem} {choices}'}, None),
        ({"template": "{system}\n\n{user}"}, None),
    ],
)
def test_what_only_looks_like_a_placeholder_is_told_of(prompt: dict[str, str], told: str | None) -> None:
    said = remarks(made({}, prompt=prompt))
    assert [told in line for line in said] == [True] if told else said == []


def test_latex_is_no_escape() -> None:
    assert not ESCAPED_NEWLINE.search(r"\neg \nu \notin \newcommand{} \nonumber \ni")
    assert ESCAPED_NEWLINE.search(r"a\nb")
