"""What engines are started for holds every prompt and solution, and no more than models have positions for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.check import check, lines
from schemas.config import Config
from tasks.planning.plan import Plan, Seen, make_plan, survey_key
from tasks.problems.reader import Problem

Job = Callable[..., Config]
ROLES = ("draft", "target", "prm")


FREE = [f"models.{role}.engine={{kind: scripted}}" for role in ROLES]
"""Nothing is said of contexts."""


def plan_of(config: Config, seen: Seen | None = None) -> Plan:
    return make_plan(config, seen=seen, here=False)


@pytest.mark.parametrize(
    ("changes", "role", "window"),
    [
        (["decoding.max_tokens=2000"], "target", 2048),
        (["models.target.engine.max_model_len=1024"], "target", 1024),
        (["models.target.engine.max_model_len=2048"], "target", 2048),
        (["models.prm={same_as: target, format: judge}", "models.target.engine.max_model_len=1500"], "target", 1500),
    ],
)
def test_what_is_said_or_needed_stays(job: Job, changes: list[str], role: str, window: int) -> None:
    assert plan_of(job(*FREE, *changes)).roles[role].engine.window == window


@pytest.mark.parametrize("method", ["rsd", "target", "best_of_n", "majority", "beam"])
def test_short_solutions_need_short_contexts(job: Job, method: str) -> None:
    samples = ["decoding.samples=4", "decoding.temperature=0.7"] if method == "majority" else []
    candidates = ["decoding.candidates=4"] if method == "beam" else []
    plan = plan_of(job(*FREE, f"decoding.method={method}", "decoding.max_tokens=100", *samples, *candidates))
    for role, of in plan.roles.items():
        assert of.engine.window < 2048 or role == "prm"
        assert plan.limits.windows[role] == of.engine.window - (role == "prm")


def test_more_tokens_or_a_longer_prompt_need_more(job: Job, problem_set: Callable[..., str]) -> None:
    def window(*changes: str) -> int:
        return plan_of(job(*FREE, *changes)).roles["draft"].engine.window

    few = window("decoding.max_tokens=100")
    assert window("decoding.max_tokens=600") >= few + 400
    path = problem_set({"problem": ["1 + 1?", "What is 2 + 3? " * 40]}, "long.parquet")
    assert window("decoding.max_tokens=100", f"input.path={path}") >= few + 128


TEXTS = st.text(min_size=1, max_size=60).filter(str.strip)
COUNTER = iter(range(1 << 30))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=4, unique=True), st.lists(TEXTS, max_size=3))
def test_every_prompt_leaves_room_for_a_whole_solution(
    job: Job, problem_set: Callable[..., str], seen: Seen, texts: list[str], begun: list[str]
) -> None:
    texts = [text.encode("utf-8", "ignore").decode() or "x" for text in texts]
    begun = [step.encode("utf-8", "ignore").decode() or "x" for step in begun]
    path = problem_set({"problem": texts, "begun": [begun] * len(texts)}, f"{next(COUNTER)}.parquet")
    plan = plan_of(job(*FREE, f"input.path={path}", "input.prefix=begun", "decoding.max_tokens=100"), seen)
    problems = [Problem(str(n), text, None, None, None, begun) for n, text in enumerate(texts)]
    for role, prompts in plan.prompts(problems).items():
        assert max(map(len, prompts)) + 100 <= plan.limits.windows[role]


@pytest.fixture
def seen() -> Seen:
    return Seen()


FACTORS = {"long_factor": [1.0] * 8, "short_factor": [1.0] * 8}


@pytest.mark.parametrize("kind", ["longrope", "su", "dynamic"])
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_angles_that_depend_on_the_context_keep_it(
    job: Job, models: Path, tmp_path: Path, field: str, kind: str
) -> None:
    copy = shutil.copytree(models / "target", tmp_path / "scaled")
    about = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(about | {field: {"rope_type": kind, "factor": 2.0} | FACTORS}))
    plan = plan_of(job(*FREE, f"models.target.model={copy}", "decoding.max_tokens=100"))
    assert plan.roles["target"].engine.window == 2048
    assert plan.roles["draft"].engine.window < 2048


def test_which_rows_are_too_long_does_not_depend_on_it(job: Job) -> None:
    few, many = plan_of(job(*FREE, "decoding.max_tokens=50")), plan_of(job(*FREE, "decoding.max_tokens=700"))
    assert survey_key(few) == survey_key(many)
    assert few.survey.rejected() == many.survey.rejected()


def test_check_tells(job: Job) -> None:
    report = check(job(*FREE, "decoding.max_tokens=100"))
    draft: dict[str, Any] = report["models"]["draft"]
    assert draft["positions"] == 2048
    told = f"context of {draft['window']:,} tokens (of 2,048: no prompt and solution is longer)"
    assert any(told in line for line in lines(report))
    assert not any(
        "no prompt and solution is longer" in line for line in lines(check(job(*FREE, "decoding.max_tokens=2000")))
    )
