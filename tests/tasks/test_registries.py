"""What a method, a rule, a PRM format, a kind of engine and a grader take: a record, their code, and a line for it.

Each is added here while tests run and then used as a configuration's are, by parts that have never heard of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from decoding.fakes import VOCABULARIES
from decoding.worlds import World, run, steps_rows

from flows.calibrate import check_method
from schemas.config import Config, DecodingConfig, PromptConfig, Rule
from schemas.engine_kinds import ENGINE_KINDS, EngineRecord
from schemas.evaluation import MethodConfig
from schemas.methods import METHODS, MethodRecord, readers
from schemas.prm_formats import PRM_FORMATS, FormatRecord
from tasks.configuration.identity import differences, identity
from tasks.decoding import DECODERS, Decoder, acceptance, rsd
from tasks.engines import KINDS, Kind, open_engines, scripted
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError
from tasks.grading import GRADERS, Grade, Grader, GraderRules, Question, reads_at_a_look
from tasks.grading.equivalence import alike
from tasks.grading.formulas import NeedsAlgebra, NoAlgebra
from tasks.grading.judging import BAD
from tasks.models.checkpoint import inspect
from tasks.models.formats import FORMATS, open_format
from tasks.models.formats.qwen import QwenFormat
from tasks.models.tokenizer import ModelVocabulary
from tasks.planning.plan import check_engine_arguments
from tasks.planning.threshold import decided

Configured = Callable[..., Config]


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method that rejects by an acceptance rule, as rsd does, and reads no `candidates`."""
    record = MethodRecord(roles=("draft", "target", "prm"), settings=("accept",), rewrites=True)
    monkeypatch.setitem(METHODS, "added", record)
    monkeypatch.setitem(DECODERS, "added", Decoder(rsd.step))
    return "added"


def world(**decoding: Any) -> World:
    settings = DecodingConfig(max_steps=5, max_tokens=200, **decoding)
    roles = ("draft", "target", "prm")
    return World(
        {"p": "ab", "q": "b"}, settings, dict.fromkeys(roles, 500), dict.fromkeys(roles, min(VOCABULARIES)), 0.02, 0.0
    )


def test_a_method_is_decoded_and_told_from_others_by_its_record(method: str, configured: Configured) -> None:
    config = configured("decoding.method=added", "decoding.accept.threshold=0.4")
    assert config.roles == ("draft", "target", "prm")
    assert decided(config, None) == 0.4
    assert "decoding.candidates" not in identity(config)
    assert "decoding.accept.threshold" in identity(config)
    assert differences(configured(), config)[0] == 'decoding.method: "rsd" there, "added" here'
    check_method(config)
    assert MethodConfig(name="mine", method="added", thresholds=(0.5,)).judges_by_threshold
    assert configured("decoding.method=added", "drift={target_share: [0.1, 0.3]}").drift is not None
    assert not configured("decoding.method=added", "decoding.accept.rule=clip").decoding.greedy
    assert steps_rows(run(world(method="added", seed=3))) == steps_rows(run(world(seed=3)))


def test_a_method_is_named_where_settings_are_refused(method: str, configured: Configured) -> None:
    with pytest.raises(UserError, match=r"decoding\.candidates: is for method rsd, process_best_of_n or beam; added"):
        configured("decoding={method: added, candidates: 2, temperature: 1.0}")
    with pytest.raises(UserError, match=r"decoding\.accept: is for method rsd or added; target does not read it"):
        configured("decoding={method: target, accept: {threshold: 0.5}}")
    with pytest.raises(UserError, match="'beam' or 'added'"):
        configured("decoding.method=adedd")
    assert readers("accept") == ("rsd", "added")


def test_a_rule_decides_and_says_whether_it_tosses_coins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cubic(Rule):
        rule: Literal["cubic"] = "cubic"

    monkeypatch.setitem(acceptance.RULES, Cubic, lambda reward, rule: reward**3)
    usual = world(seed=3)
    decoding = usual.settings.model_copy(update={"accept": Cubic()})
    assert not decoding.greedy
    assert not decoding.auto
    rows = steps_rows(run(replace(usual, settings=decoding)))
    judged = [row for row in rows if row["role"] == "draft" and row["reward"] is not None]
    assert judged
    assert all(row["probability"] == pytest.approx(row["reward"] ** 3, abs=1e-6) for row in judged)
    assert not MethodConfig(name="r", method="rsd").model_copy(update={"accept": Cubic()}).judges_by_threshold


def test_a_format_is_read_by_its_record_and_its_code(monkeypatch: pytest.MonkeyPatch, configured: Configured) -> None:
    class Added(QwenFormat):
        """Reads what `qwen` reads."""

    monkeypatch.setitem(PRM_FORMATS, "added", FormatRecord(settings=("tag",), shares=True))
    monkeypatch.setitem(FORMATS, "added", Added)
    prm = configured("models.prm.format=added", "models.prm.tag=x").models.prm
    assert prm is not None
    assert isinstance(open_format(prm, inspect("prm", prm), ModelVocabulary("prm", prm, PromptConfig())), Added)
    shared = configured("models.prm={same_as: target, format: added}")
    assert shared.host("prm") == "target"
    with pytest.raises(UserError, match=r"good is for format shepherd, not added"):
        configured("models.prm.format=added", "models.prm.good=x")


def test_a_kind_of_engine_is_checked_and_started(monkeypatch: pytest.MonkeyPatch, configured: Configured) -> None:
    def check(role: str, engine: Any, here: bool) -> None:
        if "oops" in engine.arguments:
            raise UserError(f"models.{role}.engine.oops: not for this kind")

    monkeypatch.setitem(ENGINE_KINDS, "added", EngineRecord(same_as="scripted"))
    monkeypatch.setitem(KINDS, "added", Kind(scripted.open_engine, check))
    config = configured("models.draft.engine.kind=added")
    assert config.model("draft").engine.record.plays
    check_engine_arguments(config)
    assert identity(config) == identity(configured())
    with pytest.raises(UserError, match=r"models\.draft\.engine\.oops"):
        check_engine_arguments(configured("models.draft.engine={kind: added, oops: 1}"))

    draft = config.model("draft")
    vocabulary = ModelVocabulary("draft", draft, PromptConfig())
    said: list[str] = []

    async def start() -> list[str]:
        spec = EngineSpec("draft", draft.model, "added", 2048)
        async with open_engines([spec], {"draft": vocabulary}, said.append, said.append, 0, 60.0) as engines:
            return list(engines)

    assert asyncio.run(start()) == ["draft"]


class Said(GraderRules):
    """References that begin with `=` are compared letter by letter; `slow` ones in a process, as others' code is."""

    def takes(self, question: Question) -> bool:
        return not question.choices

    def answer(self, question: Question, solution: str) -> str | None:
        return solution.rpartition(":")[2].strip() or None

    def judge(self, question: Question, answer: str | None) -> str:
        reference = question.reference or ""
        if not reference.startswith("="):
            return BAD
        if "slow" in reference and isinstance(self.algebra, NoAlgebra):
            raise NeedsAlgebra
        return "correct" if reference == f"={answer}" else "wrong"

    def equal(self, question: Question, one: str, other: str) -> bool:
        return one[:1] == other[:1]


@pytest.fixture
def graders(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[GraderRules]]:
    """One more, asked before the others."""
    found = {"said": Said, **GRADERS}
    monkeypatch.setattr("tasks.grading.graders.GRADERS", found)
    monkeypatch.setattr("tasks.grading.grader.GRADERS", found)
    return found


def test_graders_are_asked_in_turn_until_one_has_a_verdict(graders: dict[str, Any]) -> None:
    with Grader() as grader:
        grades = grader.grade(
            [
                ("so: a b", "=a b", None),
                ("so: ab", "=a b", None),
                ("so: slow", "=slow", None),
                (r"so: \boxed{0.5}", r"\frac12", None),
                (r"so: \boxed{B}", "B", ["5", "6"]),
                ("so: nothing", None, None),
            ]
        )
    assert [grade.verdict for grade in grades] == ["correct", "wrong", "correct", "correct", "correct", None]
    assert grades[3] == Grade("0.5", "correct")  # by the one that had a verdict
    assert reads_at_a_look(Question("=x")) is reads_at_a_look(Question("5")) is True


def test_answers_are_equal_by_their_graders_notion(graders: dict[str, Any]) -> None:
    with Grader() as grader:
        assert alike([(["12", "1", "2"], None), (["B", "six", "A"], ["five", "six"])], grader) == [[0, 0, 1], [0, 0, 1]]
