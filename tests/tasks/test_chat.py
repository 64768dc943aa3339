"""Chat templates say the same whenever and wherever they are rendered."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from schemas.config import ModelConfig, PromptConfig
from tasks.chat import Chat, now, steady
from tasks.config_file import dump_config, parse_config
from tasks.errors import UserError
from tasks.formats import FORMATS
from tasks.formats.chat import around_turns
from tasks.vocabulary import ModelVocabulary

DAY = date(2024, 2, 3)
CHAT = [{"role": "user", "content": "Q"}]


@pytest.fixture
def tokenizer(models: Any) -> Any:
    return AutoTokenizer.from_pretrained(models / "draft")


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of transformers, and draws, that never stand still."""
    ticks = itertools.count(1)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2026, 1, 1 + next(ticks) % 28, next(ticks) % 24)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    monkeypatch.setattr("random.choice", lambda items: items[next(ticks) % len(items)])


@pytest.mark.parametrize(
    ("template", "expected", "dated"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "03 Feb 2024", True),
        (
            "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now("
            "'%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}{{ date_string }}",
            "03 Feb 2024",
            True,
        ),
        ("{% set clock = strftime_now %}{{ clock('%H:%M:%S.%f %Z%z') }}", "00:00:00.000000 ", True),
        ("{% macro day() %}{{ strftime_now('%A') }}{% endmacro %}{{ day() }}", "Saturday", True),
        ("{% for n in range(strftime_now('%d') | int) %}.{% endfor %}", "...", True),
        ("{{ ['a', 'b', 'c'] | random }}{{ [[3, 4], [5]] | map('random') | list }}", "a[3, 5]", False),
        ("{{ [] | random }}{{ lipsum() }}", "Lorem ipsum.", False),
        ("{{ messages[0].content }}", "Q", False),
    ],
)
def test_the_clock_stands_and_draws_come_out_the_same(
    tokenizer: Any, moving: None, template: str, expected: str, dated: bool
) -> None:
    tokenizer.chat_template = template
    for _ in range(5):
        of_day = Chat(tokenizer, DAY)
        assert of_day.render([CHAT, CHAT], answer=True) == [expected] * 2
        assert of_day.dated == dated


@given(st.dates(date(1971, 1, 1), date(2200, 1, 1)), st.sampled_from(["%s", "%%s", "%d%s%%", "%Y-%j", "%", "%Q%s"]))
def test_times_are_those_of_utc(day: date, form: str) -> None:
    seconds = str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))
    told = now(day, form)
    assert (seconds in told) == ("%s" in form.replace("%%", "")) or seconds in day.strftime(form.replace("%s", ""))


def test_without_a_day_it_is_today_in_utc(tokenizer: Any) -> None:
    before = datetime.now(UTC).date()
    assert before <= Chat(tokenizer, None).day <= datetime.now(UTC).date()


def test_what_never_comes_out_the_same_is_refused() -> None:
    ticks = itertools.count()
    with pytest.raises(UserError, match=r"models\.draft\.model: its chat template writes another prompt each time"):
        steady(lambda: [str(next(ticks))], "models.draft.model")


@pytest.mark.parametrize("name", [*FORMATS, "writer"])
def test_every_roles_prompts_are_of_the_day(models: Any, tmp_path: Any, name: str, moving: None) -> None:
    shutil.copytree(models / "prm", tmp_path / "model")
    path = tmp_path / "model" / "chat_template.jinja"
    path.write_text("{{ strftime_now('%d %b %Y') }}" + path.read_text())
    own: list[Callable[[Chat], str | None]] = [FORMATS[name].template] if name in FORMATS else []
    model = ModelConfig(model=str(tmp_path / "model"))
    by_day = [ModelVocabulary("prm", model, PromptConfig(date=day), *own) for day in (DAY, DAY, date(2024, 2, 4))]
    frames = [vocabulary.frame for vocabulary in by_day]
    told = [vocabulary.prompt_parts for vocabulary in by_day]
    assert told[0] == told[1]
    uses = name not in ("shepherd", "skywork")
    assert ("03 Feb 2024" in frames[0]) == uses
    assert (told[0] != told[2]) == uses
    assert ("date" in told[0]) == ("chat template" in told[0]) == uses


def test_turns_are_of_the_day(tokenizer: Any, moving: None) -> None:
    tokenizer.chat_template = "{{ strftime_now('%d') }}" + tokenizer.chat_template
    assert around_turns(Chat(tokenizer, DAY), 2)[0].startswith("03")


JOB = "{input: {path: /p}, output: {path: /o}, models: {draft: {model: m}, target: {model: m}, prm: {model: m}}}"


@pytest.mark.parametrize("given", ["2024-02-03", "'2024-02-03'"])
def test_a_day_is_kept_as_it_is_given(given: str) -> None:
    config = parse_config(JOB, [f"prompt.date={given}"], "job.yaml")
    assert config.prompt.date == DAY
    assert parse_config(dump_config(config), [], "again") == config


@pytest.mark.parametrize(
    "given", ["20240203", "'2024-02-30'", "yesterday", "2024-02-03 10:00:00", "1.5", "true", "[]", "'2024-2-3'"]
)
def test_what_is_no_day_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"prompt\.date: must be a day, such as 2026-01-31"):
        parse_config(JOB, [f"prompt.date={given}"], "job.yaml")
