"""The resolved form of a configuration reads back as the same."""

from __future__ import annotations

import pytest
import yaml
from configuration.parsed import LEAST, parsed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.config import Clip, Config, PromptConfig, Threshold
from tasks.configuration.parsing import dump_config, parse_config


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["decoding.accept={rule: logistic, threshold: 0.5, alpha: 3}", "decoding.temperature=0.7"],
        ["decoding.accept={rule: constant, probability: 0.25}", "input.limit=3"],
        ["models.draft.engine={kind: vllm, max_model_len: 99, device_ids: [0, 1], x: {y: null}}"],
        ["decoding.method=draft", "models.target=null", "models.prm=null", "models.draft.params=1.5e9"],
        ['prompt={separator: "\\r\\n\\x85\\u2028---", system: " é: # \'\\"\\n", user: "{problem} 🦀\\t"}'],
        ['prompt.system="no"', 'prompt.separator="null"', 'prompt.template="{user}: 012"'],
        ["decoding.seed=123456789012345678901234567890", "decoding.temperature=1e-07"],
        ["output.path=s3://b/x y", "storage={endpoint_url: 'http://h:1', region: r, anonymous: true}"],
    ],
)
def test_the_resolved_form_reads_back_as_the_same(changes: list[str]) -> None:
    config = parsed(*changes)
    assert parse_config(dump_config(config), [], "config.yaml") == config


odd = st.sampled_from(" \n\r\t\x85\u2028\u2029\ufeff'\"\\:#-{}[]&*!|>%@`,?\x00\x07\x1b\x7f\xa0\uffff🦀")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(odd | st.characters(exclude_categories=["Cs"]), max_size=200))
@example(text="ends with a line end that only YAML knows:\x85")
def test_any_text_reads_back_as_the_same(text: str) -> None:
    prompt = PromptConfig(system=text, user=text + "{problem}" + text, separator=text or " ")
    config = parsed().model_copy(update={"prompt": prompt})
    assert parse_config(dump_config(config), [], "config.yaml") == config


def test_the_resolved_form_writes_every_default() -> None:
    values = yaml.safe_load(dump_config(parsed()))
    assert values["decoding"]["accept"] == {"rule": "threshold", "threshold": 0.7, "target_share": None}
    assert set(values) == set(Config.model_fields)
    assert values.pop("drift") is None
    for name in values:
        annotation = Config.model_fields[name].annotation
        assert set(values[name]) == set(getattr(annotation, "model_fields", values[name])), name


def test_every_field_is_documented() -> None:
    from pydantic import BaseModel

    from schemas import config

    for kind in vars(config).values():
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == config.__name__:
            undocumented = [name for name, field in kind.model_fields.items() if not field.description]
            allowed = {"rule", "input", "output", "storage", "prompt", "models", "decoding", "run", "model"}
            assert set(undocumented) <= allowed, kind


def test_another_rule_leaves_the_old_ones_parameters_behind() -> None:
    text = yaml.safe_dump({**LEAST, "decoding": {"accept": {"rule": "threshold", "threshold": 0.9}}})
    config = parse_config(text, ["decoding.accept.rule=clip"], "job.yaml")
    assert config.decoding.accept == Clip(rule="clip")
    same = parse_config(text, ["decoding.accept.rule=threshold"], "job.yaml")
    assert same.decoding.accept == Threshold(threshold=0.9)
