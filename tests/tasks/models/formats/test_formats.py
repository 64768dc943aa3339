"""What formats make of steps, and what they say to checkpoints that they do not read. No model is loaded."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE

from schemas.config import PrmConfig, PromptConfig
from tasks.errors import UserError
from tasks.models.formats import FORMATS
from tasks.models.formats.format import Format
from tasks.models.formats.judge import ANSWER, QUESTION
from tasks.planning.plan import make_plan

from .layouts import DEMO, make, opened, rename

WORDS = ["So", " 2", " + 2", " = 4", ".", "\n", "\n\n", " ки", "+", "-", "é", "<|im_end|>", "<extra_0>", " "]
solutions = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map("".join), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    folder = tmp_path_factory.mktemp("layouts")
    lm = make(folder / "lm", "llama")
    return {
        "qwen": opened(DEMO / "prm", "qwen"),
        "skywork": opened(make(folder / "value", "qwen2", "value"), "skywork"),
        "shepherd": opened(lm, "shepherd"),
        "rlhflow": opened(lm, "rlhflow"),
        "judge": opened(lm, "judge"),
        "outcome": opened(make(folder / "labels", "llama", "labels", num_labels=1), "outcome"),
    }


def read(format: Format, problem: str, steps: list[str]) -> array[int]:
    """As the core puts it together, without the tail."""
    return sum(format.encode_steps(steps, range(len(steps))), start=format.vocabulary.prompts([problem])[0])


def test_every_format_is_tried_here(formats: dict[str, Format]) -> None:
    assert formats.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=solutions)
def test_a_longer_solution_begins_with_the_shorter_one(formats: dict[str, Format], name: str, steps: list[str]) -> None:
    """Also where its steps are encoded one by one, as waves do it; and none can write a special token."""
    format = formats[name]
    whole = read(format, "Why?", steps)
    for number in range(len(steps)):
        assert read(format, "Why?", steps[:number]) == whole[: len(read(format, "Why?", steps[:number]))]
    one_by_one = [format.encode_steps([step], [number])[0] for number, step in enumerate(steps)]
    assert sum(one_by_one, start=format.vocabulary.prompts(["Why?"])[0]) == whole
    tame = [re.sub("<.*?>", "x", step) for step in steps]
    end = format.vocabulary.token_id("<|im_end|>")
    assert whole.count(end) == read(format, "Why?", tame).count(end)


@pytest.mark.parametrize("name", FORMATS)
def test_a_step_costs_as_many_tokens_more_as_the_format_says(formats: dict[str, Format], name: str) -> None:
    format = formats[name]
    [bare] = format.vocabulary.encode_steps(["So 2"])
    first, later = format.encode_steps(["So 2", "So 2"], [0, 1])
    assert len(later) + len(format.tail) == len(bare) + format.tag_tokens
    assert len(first) <= len(later)


def test_skywork_gives_every_line_its_tag(formats: dict[str, Format]) -> None:
    format: Any = formats["skywork"]
    tag = array("i", [format.tag_id])
    a, b = format.vocabulary.encode_steps(["A", "B"])
    steps = ["\nA\n\nB \n\n", " \n\n", "B"]
    assert format.encode_steps(steps, [0, 0, 0]) == [a + tag + tag + b + tag, tag, b + tag]
    assert format.encode_steps(steps, [1, 1, 1]) == [tag + a + tag + tag + b + tag, tag + tag, tag + b + tag]
    other: Any = opened(Path(format.checkpoint.name), "skywork", tag="=")
    [whole] = other.encode_steps(["A\nB=\n\n"], [1])
    assert list(whole) == [*format.vocabulary.encode_steps(["A\nB"])[0], other.tag_id]


@pytest.mark.parametrize("separator", ["\n", "\n\n", "\n\n\n", "\n---\n", "\n "])
def test_skywork_reads_whole_solutions_as_its_authors_do(tmp_path: Path, separator: str) -> None:
    format: Any = opened(make(tmp_path / "m", "qwen2", "value"), "skywork", PromptConfig(separator=separator))
    steps = ["First line.", "Two\n\nlines.", "Third."]
    lines = format.vocabulary.encode_steps(separator.join(steps).split("\n"))
    expected = [i for line in lines for i in (*line, format.tag_id)]
    written = [*(step + separator for step in steps[:-1]), steps[-1]]
    assert [i for ids in format.encode_steps(written, [0, 1, 2]) for i in ids] == expected
    [bare], [_, later] = format.vocabulary.encode_steps(["So"]), format.encode_steps(["So", "So"], [0, 1])
    assert len(later) - len(bare) <= format.tag_tokens <= 6


@pytest.mark.parametrize("content", ["message['content']", "message['content'] | trim"])
def test_a_classifier_reads_every_beginning_as_its_template_would_write_it(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path / "m", "llama", "labels", num_labels=1)
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ " + content + " }}<|im_end|>\n{% endfor %}"
    )
    format = opened(folder, "outcome")
    steps = ["\nSo 2.\n\n", "It\nis 4. \n\n", "\n\n", "4."]
    for number, whole in enumerate(["So 2.", "So 2.\n\nIt\nis 4.", "So 2.\n\nIt\nis 4.\n\n\n\n4."]):
        upto = steps[: number + 1 if number < 2 else 4]
        chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": whole}]
        expected = format.vocabulary.tokenizer.apply_chat_template(chat, tokenize=False)
        assert format.vocabulary.tokenizer.decode(list(read(format, "Why?", upto) + format.tail)) == expected


@pytest.mark.parametrize("name", ["judge", "shepherd", "rlhflow"])
def test_a_model_that_shapes_its_logits_scores_only_as_it_writes(tmp_path: Path, name: str) -> None:
    """vLLM takes rows of the head and nothing behind it."""
    folder = make(tmp_path / "m", "llama")
    written = json.loads((folder / "config.json").read_text())
    for key, plain, shaped in [
        ("logits_scaling", 1.0, 8.0),
        ("logit_scale", 1, 0.0625),
        ("final_logit_softcapping", None, 30.0),
    ]:
        (folder / "config.json").write_text(json.dumps(written | {key: plain}))
        assert opened(folder, name).engine_arguments()["runner"] == "pooling"
        (folder / "config.json").write_text(json.dumps(written | {key: shaped}))
        format = opened(folder, name)
        with pytest.raises(UserError, match=f"m has {key}, which vLLM .* see models.prm.same_as$"):
            format.engine_arguments()


def test_the_judge_is_asked_in_a_turn_of_its_own_or_where_there_is_no_chat_in_plain_text(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "llama")
    plain = PromptConfig(template="{user}\n\n")
    asked = [opened(folder, "judge"), opened(folder, "judge", plain)]
    in_chat, in_plain = [format.vocabulary.tokenizer.decode(list(format.tail)) for format in asked]
    assert in_chat == f"<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n{ANSWER}"
    assert in_plain == f"\n\n{QUESTION}\n\n{ANSWER}"
    assert asked[0].tokens == tuple(asked[0].vocabulary.token_id(digit) for digit in "0123456789")


def sentencepiece(folder: Path) -> Path:
    """A tokenizer of Mistral's make: blanks are letters, a text begins with one, line ends are bytes."""
    text = "Why is it so? Step 1: 2 + 2 - 1 = 3. ки + - Step 2: It is 3. ки"
    words = Tokenizer(BPE(unk_token="<unk>"))
    words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    words.train_from_iterator([text] * 9, trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"], vocab_size=400))
    found = json.loads(words.to_str())
    found["pre_tokenizer"] = None
    model = found["model"] | {"byte_fallback": True, "fuse_unk": True}
    model["vocab"] |= {f"<0x{byte:02X}>": len(model["vocab"]) + byte for byte in range(256)}
    words = Tokenizer.from_str(json.dumps(found | {"model": model}))
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    words.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    (folder / "chat_template.jinja").unlink()
    words.save(str(folder / "tokenizer.json"))
    of_model = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(of_model))
    return folder


def test_shepherd_reads_what_a_sentencepiece_tokenizer_makes_of_the_whole_text(tmp_path: Path) -> None:
    format: Any = opened(sentencepiece(make(tmp_path / "m", "mistral")), "shepherd")
    tokenizer = format.vocabulary.tokenizer
    steps = ["Step 1: 2 + 2 - 1 = 3.", "Step 2: It is 3.", "2 + 2."]
    whole = tokenizer("Why is it so? " + "\n".join(step + " ки" for step in steps))["input_ids"]
    assert list(read(format, "Why is it so?", [step + "\n\n" for step in steps])) == whole
    assert tokenizer.convert_ids_to_tokens([format.tag, *format.tokens]) == ["▁ки", "▁-", "▁+"]
    assert format.engine_arguments()["hf_overrides"] == {
        "architectures": ["MistralForSequenceClassification"],
        "classifier_from_token": ["▁-", "▁+"],
        "method": "no_post_processing",
    }


def refused(folder: Path, name: str, **settings: Any) -> str:
    with pytest.raises(UserError) as told:
        opened(folder, name, **settings)
    assert str(told.value).startswith("models.prm.")
    return str(told.value)


def test_a_checkpoint_of_another_layout_is_told_with_what_was_found(tmp_path: Path) -> None:
    lm, value = make(tmp_path / "lm", "qwen2"), make(tmp_path / "value", "qwen2", "value")
    assert refused(lm, "skywork").endswith(
        "lm is Qwen2ForCausalLM with lm_head.weight; format skywork reads Qwen2ForPrmModel (a Qwen2 with "
        "v_head.summary.weight); shepherd, rlhflow, judge may read it"
    )
    assert refused(value, "qwen").endswith(
        "value is Qwen2ForPrmModel with lm_head.weight, v_head.summary.bias, v_head.summary.weight; format qwen reads "
        "Qwen2ForProcessRewardModel; skywork may read it"
    )
    rename(lm, "Unheard")
    assert refused(lm, "outcome").endswith(
        "lm is Unheard with lm_head.weight; format outcome reads sequence classifiers (*ForSequenceClassification); "
        "no format reads that"
    )


def test_what_a_checkpoint_lacks_is_told(tmp_path: Path) -> None:
    lm = make(tmp_path / "lm", "llama")
    assert "models.prm.tag: 'abc xyz' is " in refused(lm, "shepherd", tag="abc xyz")
    assert "models.prm.good: '++-' is " in refused(lm, "shepherd", good="++-")
    (lm / "chat_template.jinja").unlink()
    assert "has no chat template" in refused(lm, "rlhflow")
    (lm / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert "does not write every turn once" in refused(lm, "rlhflow")
    labels = make(tmp_path / "labels", "llama", "labels", num_labels=5)
    assert refused(labels, "outcome").endswith("labels has 5 labels; format outcome reads one or two")


@pytest.mark.parametrize(
    "settings", [{"tag": "x"}, {"format": "skywork", "good": "+"}, {"format": "rlhflow", "bad": "x"}]
)
def test_settings_of_another_format_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"is for format (skywork and )?shepherd"):
        PrmConfig.model_validate({"model": "m", **settings})


def test_a_plan_leaves_room_for_what_the_format_adds_and_says_how_a_server_is_started(
    tmp_path: Path, configured: Callable[..., Any], problem_set: Callable[..., str]
) -> None:
    folder = make(tmp_path / "m", "llama")
    path = problem_set({"problem": ["Why?", "How? " * 40]})
    [served, scripted] = [
        make_plan(configured(f"models.prm={{model: {folder}, format: rlhflow, engine: {engine}}}", input=path))
        for engine in ("{kind: openai, endpoints: [http://a:1]}", "{kind: scripted, max_model_len: 100}")
    ]
    assert scripted.format is not None
    assert scripted.limits.tag_tokens == scripted.format.tag_tokens > 10
    assert (served.survey.usable, scripted.survey.usable) == (2, 1)
    assert served.roles["prm"].engine.scoring is not None
    assert served.roles["prm"].engine.scoring.server == (
        "--runner pooling --convert classify --hf-overrides '"
        '{"architectures": ["LlamaForSequenceClassification"], "classifier_from_token": ["-", "+"], '
        '"method": "no_post_processing"}\''
    )
