"""What a run can do and is hardly meant to: told by check and by the run, without ending it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.check import check, lines
from flows.terminal import summary
from schemas.config import Config
from tasks.errors import UserError
from tasks.generation import one_step

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]


def warnings(config: Config) -> list[str]:
    report = check(config)
    text = lines(report)
    assert all(any(warning in line for line in text) for warning in report["warnings"])
    return report["warnings"]


def test_models_in_each_others_place(job: Job, models: Path, tmp_path: Path) -> None:
    draft, target = f"models.draft.model={models}/target", f"models.target.model={models}/draft"
    assert "are models.draft and models.target swapped?" in "\n".join(warnings(job(draft, target)))
    speculative = ["decoding.method=speculative", "decoding.samples=1", "decoding.temperature=0"]
    swapped = [draft, target, *speculative, "models.target.engine={kind: vllm, max_model_len: 512}"]
    assert "swapped?" in "\n".join(warnings(job(*swapped)))
    assert "draft and target are the same model" in "\n".join(warnings(job(draft)))
    (tmp_path / "link").symlink_to(models / "target")
    assert "draft and target are the same model" in "\n".join(warnings(job(f"models.draft.model={tmp_path}/link")))
    alone = job("decoding.method=target", draft, target)
    assert warnings(alone) == []


def test_a_judge_that_costs_more_than_what_it_spares(job: Job, models: Path) -> None:
    assert "the PRM has 2.59e+06 parameters, more than the target's 1.75e+06" in "\n".join(warnings(job()))
    assert warnings(job("models.prm.params=1e6")) == []
    assert warnings(job("models.prm={same_as: target, format: judge}")) == []
    assert warnings(job("models.prm={format: confidence}")) == []
    assert warnings(job("decoding.method=best_of_n")) == []


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        (["decoding.max_tokens=2040"], "draft (2,048), target (2,048), prm (2,048)"),
        (["models.draft.engine.max_model_len=128"], "draft (128)"),
        (["models.prm.engine.max_model_len=128"], "prm (128)"),
        (["decoding.method=target", "models.target.engine.max_model_len=100"], "target (100)"),
    ],
)
def test_contexts_that_hold_no_whole_solution(job: Job, changes: list[str], short: str) -> None:
    told = [line for line in warnings(job("models.prm.params=1e6", *changes)) if "decoding.max_tokens" in line]
    assert len(told) == 1
    assert f"into the context of {short}: such a solution ends there" in told[0]


def test_the_longest_prompt_counts(job: Job, problem_set: Callable[..., str]) -> None:
    path = problem_set({"problem": ["1 + 1?", "What is 2 + 3? " * 40]}, "long.parquet")
    changes = [f"input.path={path}", "models.prm.params=1e6", "decoding.max_tokens=1800"]
    told = [line for line in warnings(job(*changes)) if "decoding.max_tokens" in line]
    assert len(told) == 1
    assert "beside the longest prompt (" in told[0]
    assert "as max_tokens, after 1," in told[0]
    assert not any("decoding.max_tokens" in line for line in warnings(job(*changes, "input.limit=1")))


@pytest.mark.parametrize(
    ("gpus", "placed", "idle"),
    [
        (1, [], None),
        (2, [], "GPU 1 is used by no role"),
        (4, ["models.prm.engine.device_ids=[2]"], "GPUs 1, 3 are used by no role"),
        (4, ["models.target.engine.replicas=4"], None),
        (4, ["models.target.engine.pipeline_parallel_size=2"], "GPUs 2, 3 are used by no role"),
        (3, ["models.draft.engine={kind: scripted}", "models.prm.engine.device_ids=[1]"], "GPU 2 is used by no role"),
    ],
)
def test_cards_that_nobody_uses(job: Job, gpus: int, placed: list[str], idle: str | None) -> None:
    vllm = [f"models.{role}.engine={{kind: vllm, max_model_len: 2048}}" for role in ("draft", "target", "prm")]
    told = [line for line in check(job(*vllm, *placed), [24 << 30] * gpus)["warnings"] if "no role" in line]
    assert [line.partition(":")[0] for line in told] == ([idle] if idle else [])


def test_a_system_message_that_no_prompt_holds(job: Job, models: Path, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    shutil.copytree(models / "draft", deaf)
    (deaf / "chat_template.jinja").write_text(
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}\n"
    )
    of_draft = [f"models.draft.model={deaf}", "models.prm.params=1e6"]
    assert warnings(job(*of_draft)) == ["prompt.system: the chat template of draft leaves it out"]
    assert warnings(job(*of_draft, "prompt.system=null")) == []
    assert warnings(job(*of_draft, "prompt.template={system} {user}")) == []


def test_typed_new_lines(job: Job) -> None:
    told = warnings(job("models.prm.params=1e6", r"prompt.system=Think.\nAnswer."))
    assert told == [
        "prompt.system: holds a backslash and an n, which models read as they are: a new line is \\n in double quotes"
    ]


def test_a_day_that_no_prompt_tells(job: Job, models: Path, tmp_path: Path) -> None:
    few = ["models.prm.params=1e6", "prompt.date=2026-02-03"]
    assert warnings(job(*few)) == [
        "prompt.date: 2026-02-03: no prompt of the run shows a date, so this changes nothing"
    ]
    dated = tmp_path / "dated"
    shutil.copytree(models / "draft", dated)
    template = (dated / "chat_template.jinja").read_text()
    (dated / "chat_template.jinja").write_text(template + "{{ strftime_now('%d %b %Y') }}")
    assert warnings(job(*few, f"models.draft.model={dated}")) == []


def test_an_output_below_a_file_is_told(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/out"):
        with pytest.raises(UserError, match="lies below a file, which is no folder"):
            check(job(output=str(tmp_path / path)))


def test_the_run_tells_them_too(job: Job, generate: Generate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        generate(job("input.limit=3", "decoding.samples=1"))
    assert [r.message for r in caplog.records if "more than the target's" in r.message]


# --- solutions of one step


def words(problem_set: Callable[..., str], count: int) -> str:
    return problem_set({"problem": [f"How many are {n} and 1?" for n in range(count)]})


def test_a_separator_that_never_occurs_is_told_early_and_once(
    job: Job, problem_set: Callable[..., str], generate: Generate, caplog: pytest.LogCaptureFixture
) -> None:
    """Scripted engines write the separator; one that they never get to write is as one that there is not."""
    short = "models.draft.engine={kind: scripted, max_model_len: 2048, steps: 1}"
    few = ["decoding.samples=1", "decoding.accept={rule: constant, probability: 1}", "run={shard_size: 64}"]
    with caplog.at_level(logging.WARNING):
        manifest = generate(job(short, *few, input=words(problem_set, 80)))
    told = [r.message for r in caplog.records if "solutions are a single step" in r.message]
    assert len(told) == 1
    assert r"the models hardly ever write prompt.separator '\n\n'" in told[0]
    assert manifest["counts"]["one_step"] == 80
    assert "80 of 80 solutions are a single step" in json.dumps(summary.table(manifest))


def test_solutions_of_several_steps_are_not(
    job: Job, problem_set: Callable[..., str], generate: Generate, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        manifest = generate(job("decoding.samples=1", "run={shard_size: 64}", input=words(problem_set, 80)))
    assert not [r for r in caplog.records if "single step" in r.message]
    assert 0 <= manifest["counts"]["one_step"] < 60
    assert "single step" not in json.dumps(summary.table(manifest))


def test_solutions_that_go_on_may_have_one_step_left(
    job: Job, problem_set: Callable[..., str], generate: Generate, caplog: pytest.LogCaptureFixture
) -> None:
    short = "models.draft.engine={kind: scripted, max_model_len: 2048, steps: 1}"
    begun = problem_set({"problem": [f"{n}?" for n in range(50)], "begun": [["So."]] * 50}, "begun.parquet")
    few = ["decoding.samples=1", "decoding.accept={rule: constant, probability: 1}", "run={shard_size: 64}"]
    with caplog.at_level(logging.WARNING):
        manifest = generate(job(short, *few, f"input={{path: {begun}, prefix: begun}}"))
    assert not [r for r in caplog.records if "single step" in r.message]
    assert "one_step" not in manifest["counts"]


@pytest.mark.parametrize(
    ("ended", "solutions", "said"), [(5, 5, True), (4, 4, False), (9, 10, True), (8, 10, False), (0, 0, False)]
)
def test_when_it_is_told(ended: int, solutions: int, said: bool) -> None:
    assert (one_step.told(ended, solutions, "\n\n", one_step.AT_ALL) is not None) == said


def test_a_tokenizer_with_more_ids_than_its_model_has(job: Job, models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "draft", tmp_path / "draft")
    path = tmp_path / "draft" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 648}))
    changes = [f"models.draft.model={tmp_path}/draft", "models.prm.params=1e6"]
    (told,) = warnings(job(*changes))
    assert told.startswith("models.draft.model: its tokenizer has ids up to 649, but the model's vocab_size is 648")
    assert warnings(job("models.prm.params=1e6")) == []


def test_folders_that_say_what_their_files_say(job: Job, problem_set: Callable[..., str], tmp_path: Path) -> None:
    for level in (1, 2):
        problem_set({"problem": [f"{level} + 1?"], "level": ["easy"]}, f"set/level={level}/source=x/p.parquet")
    (told,) = warnings(job(f"input.path={tmp_path}/set", "models.prm.params=1e6"))
    assert told.startswith("input.path: folders are called level=..., and files in them have columns of that name")
