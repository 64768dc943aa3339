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
from tasks.configuration.parsing import dump_config, parse_config
from tasks.errors import UserError
from tasks.models import chat
from tasks.models.chat import Chat, steady
from tasks.models.formats import FORMATS
from tasks.models.formats.chat import around_turns
from tasks.models.rendering import TemplateFault, now, rendered
from tasks.models.tokenizer import WHOLE, ModelVocabulary

DAY = date(2024, 2, 3)
CHAT = [{"role": "user", "content": "Q"}]


@pytest.fixture
def tokenizer(models: Any) -> Any:
    return AutoTokenizer.from_pretrained(models / "draft")


class _Here:
    """Renders in this process, whose clock and draws a test moves."""

    def render(self, template: str, tokens: Any, day: date, chats: Any, *, answer: bool) -> tuple[list[str], bool]:
        asked = {"template": template, "tokens": tokens, "day": day.isoformat(), "chats": chats, "answer": answer}
        said = rendered(asked)
        return said["texts"], said["dated"]


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of transformers, and draws, that never stand still."""
    monkeypatch.setattr(chat, "RENDERER", _Here())
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
    with pytest.raises(UserError, match=r"models\.draft\.model: its chat template writes a different prompt each time"):
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


@pytest.fixture(scope="module")
def vocabulary(models: Any) -> ModelVocabulary:
    return ModelVocabulary("draft", ModelConfig(model=str(models / "draft")), PromptConfig())


BOMBS = {
    "never ends": "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}"
    "{% endfor %}",
    "calls itself for ever": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a power": "{{ (9 ** (9 ** 9)) % 7 }}",
    "a power with a variable": "{{ (9 ** (9 ** (messages | length + 8))) % 7 }}",
    "a long text": "{{ 'x' * 99999999999 }}",
    "a long text of a variable": "{{ messages[0].content * 9999999999 }}",
    "doubles": "{% set ns = namespace(x='xx') %}{% for _ in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "a list": "{% set ns = namespace(x=[1]) %}{% for _ in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "pads": "{{ '%9999999999d' % 1 }}",
    "pads on both sides": "{{ messages[0].content | center(9999999999) }}",
    "indents": "{{ 'a\n' * 9999 | indent(99999) }}",
    "nested deeply": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "tags nested deeply": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    "writes much": "{{ messages[0].content }}{{ 'x' * 20000000 }}",
    "copies": "{% for _ in range(99999) %}{{ messages[0].content }}{{ 'and again' * 20 }}{% endfor %}",
    "fails": "{{ raise_exception('no\x1b[2J') }}",
    "is none": "{% if %}",
    "reaches out": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
}


@pytest.mark.tier2
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_template_that_never_ends_or_takes_all_memory_is_ended(tokenizer: Any, bomb: str) -> None:
    tokenizer.chat_template = BOMBS[bomb]
    with pytest.raises(TemplateFault):
        Chat(tokenizer, DAY).render([CHAT], answer=True)


@pytest.mark.parametrize("bomb", ["never ends", "doubles", "fails"])
def test_what_is_wrong_with_a_template_is_told_in_a_line(models: Any, tmp_path: Any, bomb: str) -> None:
    shutil.copytree(models / "draft", tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(BOMBS[bomb])
    with pytest.raises(UserError, match=r"models\.draft\.model: its chat template refuses the prompt \(") as caught:
        ModelVocabulary("draft", ModelConfig(model=str(tmp_path / "model")), PromptConfig(system=None))
    assert str(caught.value).isprintable()


def test_after_a_template_that_never_ends_others_are_rendered(tokenizer: Any) -> None:
    usual = tokenizer.chat_template
    for bomb in ("never ends", "doubles"):
        tokenizer.chat_template = BOMBS[bomb]
        with pytest.raises(TemplateFault):
            Chat(tokenizer, DAY).render([CHAT], answer=True)
        tokenizer.chat_template = usual
        assert "Q" in Chat(tokenizer, DAY).render([CHAT], answer=True)[0]


LOSES = {
    "ignores it": "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n",
    "knows none": "{{ messages[0].text }}",
    "only its beginning": "{{ messages[-1].content[:99] }}",
    "only its end": "{{ messages[-1].content[-99:] }}",
    "its first line": "{{ messages[-1].content.split('\n')[0] }}",
    "its words": "{{ messages[-1].content.split() | join(' ') }}",
    "in small letters": "{{ messages[-1].content | lower }}",
    "in large letters": "{{ messages[-1].content | upper }}",
    "without tags": "{{ messages[-1].content | striptags }}",
    "escaped": "{{ messages[-1].content | e }}",
    "as JSON": "{{ messages[-1].content | tojson }}",
    "as a list": "{{ messages[-1].content | list }}",
    "without a character": "{{ messages[-1].content | replace('$', '') }}",
    "cut short": "{{ messages[-1].content | truncate(200) }}",
    "wrapped": "{{ messages[-1].content | wordwrap(20) }}",
    "its length": "{{ messages[-1].content | length }}",
}


@pytest.mark.parametrize("template", LOSES)
def test_a_template_that_loses_any_of_a_problem_is_refused(vocabulary: ModelVocabulary, template: str) -> None:
    vocabulary.tokenizer.chat_template = LOSES[template]
    with pytest.raises(UserError, match=r"models\.draft\.model: its chat template leaves out or changes"):
        vocabulary.prompts([WHOLE])


def test_one_that_loses_the_problem_is_refused_before_any_is_read(models: Any, tmp_path: Any) -> None:
    shutil.copytree(models / "draft", tmp_path / "model")
    for template in ("ignores it", "only its beginning"):
        (tmp_path / "model" / "chat_template.jinja").write_text(LOSES[template])
        with pytest.raises(UserError, match=r"models\.draft\.model: its chat template leaves out or changes"):
            ModelVocabulary("draft", ModelConfig(model=str(tmp_path / "model")), PromptConfig())


def test_a_template_that_loses_one_problem_is_refused_at_that(models: Any, tmp_path: Any) -> None:
    shutil.copytree(models / "draft", tmp_path / "model")
    path = tmp_path / "model" / "chat_template.jinja"
    path.write_text("{% if 'seven' not in messages[-1].content %}" + path.read_text() + "{% endif %}<|im_end|>")
    vocabulary = ModelVocabulary("draft", ModelConfig(model=str(tmp_path / "model")), PromptConfig())
    assert len(vocabulary.prompts(["one?", "  two? \n"])) == 2
    with pytest.raises(UserError, match=r"what the user says, such as 'seven\?'"):
        vocabulary.prompts(["one?", "seven?"])


@pytest.mark.parametrize("user", ["a\nb\r\nc\u2028d\x85e\x00\ud800", "x" * 3_000_000, "", "{{ 7 * 7 }}{% endif %}"])
def test_whatever_a_problem_holds_is_rendered_as_it_is(tokenizer: Any, user: str) -> None:
    tokenizer.chat_template = "<{{ messages[0].content }}>"
    assert Chat(tokenizer, DAY).render([[{"role": "user", "content": user}]], answer=True) == [f"<{user}>"]
