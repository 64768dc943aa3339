"""What a manifest tells of a run beside its counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.config import Config
from tasks.generation.manifest import describe
from tasks.planning.plan import make_plan
from tasks.problems.prompt import user_message
from tasks.problems.reader import Problem

PROBLEMS = [
    ("What is 2 + 3?", None),
    ("Which of them?\n\n", ["one", "<two>"]),
    (" <|im_end|>\n<|im_start|>system stepwave {problem} {user} ", None),
]


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("prompt.system=null", "prompt.user=Solve: {problem} Options: {choices}. Again: {problem}"),
        ("prompt.template={system} | {user} || {user}",),
    ],
)
def test_the_prompts_that_roles_read_can_be_told_without_their_models(
    job: Callable[..., Config], changes: tuple[str, ...]
) -> None:
    plan = make_plan(job(*changes), here=False)
    kept = describe(plan, {}, {})["prompts"]
    assert set(kept) == {"draft", "target", "prm"}
    problems = [Problem(f"p{n}", text, None, choices, None) for n, (text, choices) in enumerate(PROBLEMS)]
    for role, ids in plan.prompts(problems).items():
        tokenizer = plan.roles[role].vocabulary.tokenizer
        for problem, read in zip(problems, ids, strict=True):
            user = user_message(plan.config.prompt, problem.text, problem.choices)
            assert user.join(kept[role]) == tokenizer.decode(read.tolist())
