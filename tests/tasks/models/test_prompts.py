"""Prompts, with the tokenizer of the demo models, and user messages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models.vocabularies import SPECIAL, _copy, steady, texts, vocabulary

from schemas.config import Config, PromptConfig
from tasks.errors import UserError
from tasks.models.tokenizer import ModelVocabulary
from tasks.planning.plan import make_plan
from tasks.problems.prompt import user_message

# --- prompts


def test_a_prompt_is_the_chat_template(demo: ModelVocabulary) -> None:
    ids = demo.prompts(["What is 1 + 1?"])[0]
    system = demo.prompt.system
    assert demo.tokenizer.decode(ids) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    )


def specials(vocabulary: ModelVocabulary, ids: list[int]) -> list[str]:
    return [token for i in ids for token in SPECIAL if vocabulary.token_id(token) == i]


FRAME = ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|im_start|>"]


@pytest.mark.parametrize("token", SPECIAL)
def test_a_special_token_in_a_problem_is_plain_text(demo: ModelVocabulary, token: str) -> None:
    user = f"Say {token} twice: {token}"
    plain, hostile = demo.prompts(["What is 1 + 1?", user])
    assert specials(demo, plain) == specials(demo, hostile) == FRAME
    assert user in demo.tokenizer.decode(hostile)


@settings(steady, max_examples=40)
@given(
    user=st.lists(st.sampled_from(["a", "\n", *SPECIAL, "<|", "im_end", "|>", "<extra_", "0>"]), max_size=8).map(
        "".join
    )
)
def test_no_problem_can_end_its_turn(demo: ModelVocabulary, user: str) -> None:
    ids = demo.prompts([user])[0]
    assert specials(demo, ids) == FRAME
    before, after = demo.frame.split("stepwave-problem-goes-here")
    assert demo.tokenizer.decode(ids) == before + user + after


def of_another_kind(to: Path, kind: str) -> Path:
    """The demo's tokenizer with a change that makes more or less of a prompt hang together."""
    _copy(to)
    tokenizer = json.loads((to / "tokenizer.json").read_text())
    if kind == "takes blanks along":
        for token in tokenizer["added_tokens"]:
            token["lstrip"] = token["rstrip"] = True
    if kind == "begins a text with a blank":
        tokenizer["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True
    (to / "tokenizer.json").write_text(json.dumps(tokenizer))
    if kind == "trims the user's message":
        template = (to / "chat_template.jinja").read_text()
        (to / "chat_template.jinja").write_text(template.replace("m['content']", "m['content'] | trim"))
    return to


KINDS = ["as it is", "takes blanks along", "begins a text with a blank", "trims the user's message"]


@pytest.fixture(scope="module", params=KINDS)
def any_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelVocabulary:
    return vocabulary(of_another_kind(tmp_path_factory.mktemp("kind") / "model", request.param))


@settings(steady, max_examples=60)
@given(users=st.lists(texts, min_size=1, max_size=4))
@example(users=[" a", "a ", "\n", ""])
def test_what_prompts_share_is_tokenized_once_and_as_ever(any_kind: ModelVocabulary, users: list[str]) -> None:
    users = [user for user in users if not any(token in user for token in SPECIAL)]
    whole = any_kind.tokenizer(any_kind._render(users), add_special_tokens=False)["input_ids"] if users else []
    assert [ids.tolist() for ids in any_kind.prompts(users)] == whole


def test_the_demos_prompts_share_their_ends(demo: ModelVocabulary) -> None:
    assert demo.ends is not None
    assert demo.ends.head.endswith("<|im_start|>")
    assert demo.ends.tail.startswith("<|im_end|>")


def test_hostile_neighbours_do_not_change_a_prompt(demo: ModelVocabulary) -> None:
    users = ["one", "two <|im_end|>", "three"]
    assert demo.prompts(users) == [demo.prompts([user])[0] for user in users]


@steady
@given(user=texts)
@example(user="\u0958" * 10)  # NFC writes each as two characters of six bytes, of three
def test_a_prompt_is_longer_than_what_it_is_longer_than(demo: ModelVocabulary, user: str) -> None:
    length = len(demo.prompts([user])[0])
    assert [demo.longer_than([user], n)[0] for n in (length - 1, length)] == [True, False]


@pytest.mark.parametrize("part", ["a", "The sum is 7. ", " ", "\n\n", "🦀", "e\u0301", "<|im_end|>", "\x00"])
def test_a_long_prompt_is_judged_as_a_whole(demo: ModelVocabulary, part: str) -> None:
    """Also where its start would tell: blanks and other runs share tokens."""
    users = [part * n for n in (1, 2000, 20_000)]
    lengths = [len(ids) for ids in demo.prompts(users)]
    for user, length in zip(users, lengths, strict=True):
        assert [demo.longer_than([user], n)[0] for n in (length - 1, length)] == [True, False]
    assert demo.longer_than(users, lengths[1]) == [False, False, True]


def test_most_of_a_huge_prompt_is_not_tokenized(demo: ModelVocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def prompts(users: list[str]) -> list[list[int]]:
        seen.extend(users)
        return ModelVocabulary.prompts(demo, users)

    monkeypatch.setattr(demo, "prompts", prompts)
    assert demo.longer_than(["short", "The sum is 7. " * 1_000_000], 100) == [False, True]
    assert sum(map(len, seen)) < 100_000


def test_a_plain_template_replaces_the_chat_template() -> None:
    plain = vocabulary(system="Think.", template="{system}\n\nQ: {user}\n\nA: ")
    ids = plain.prompts(["1 + {system}?", "2 <|im_end|>?"])
    assert [plain.tokenizer.decode(i) for i in ids] == [
        "Think.\n\nQ: 1 + {system}?\n\nA: ",
        "Think.\n\nQ: 2 <|im_end|>?\n\nA: ",
    ]
    assert specials(plain, [*ids[0], *ids[1]]) == []


def test_a_template_may_show_the_problem_twice() -> None:
    twice = vocabulary(system=None, template="Q: {user}\nAgain: {user}\n")
    users = ["1?", "<|im_end|>?"]
    texts = [twice.tokenizer.decode(ids) for ids in twice.prompts(users)]
    assert texts == [f"Q: {user}\nAgain: {user}\n" for user in users]


def _starting(to: Path, token: str = "<|im_start|>") -> Path:
    """A tokenizer that puts a token before every text."""
    base = _copy(to)
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    ids = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    special = {"id": token, "ids": [ids[token]], "tokens": [token]}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: special},
    }
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    about = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(about | {"bos_token": token}))
    return base


@pytest.mark.parametrize(
    ("template", "system"),
    [
        ("{user}\n", None),
        ("<|im_start|>{user}\n", None),
        ("<|im_start|>{system} {user}\n", "Think."),
        ("{system} {user}\n", "<|im_start|>Think."),
        ("{system}{user}\n", None),
        (" <|im_start|>{user}\n", None),
    ],
)
def test_a_plain_prompt_starts_once(tmp_path: Path, template: str, system: str | None) -> None:
    starts = vocabulary(_starting(tmp_path / "starts"), system=system, template=template)
    [ids] = starts.prompts(["1 + 1?"])
    start = starts.token_id("<|im_start|>")
    assert list(ids).count(start) == 1
    assert start in ids[:2]


@pytest.mark.parametrize("files", [["tekken.json"], ["tekken.json", "params.json"]])
def test_another_librarys_tokenizer_is_passed_over(demo: ModelVocabulary, tmp_path: Path, files: list[str]) -> None:
    both = _copy(tmp_path / "both")
    for name in files:
        (both / name).write_text("{}")
    found = vocabulary(both)
    assert found.key == demo.key
    assert found.prompts(["1?"]) == demo.prompts(["1?"])


@pytest.mark.parametrize(
    ("prm", "as_writers"),
    [
        ("{format: qwen, model: MODELS/prm}", False),
        ("{format: judge, model: MODELS/target}", True),
        ("{format: judge, same_as: target}", True),
        ("{format: qwen, model: BARE}", True),
    ],
)
def test_a_plain_prompt_is_not_laid_over_a_prms_own(
    job: Callable[..., Config], models: Path, tmp_path: Path, prm: str, as_writers: bool
) -> None:
    bare = shutil.copytree(models / "prm", tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    prm = prm.replace("MODELS", str(models)).replace("BARE", str(bare))
    engine = "engine={kind: scripted, max_model_len: 2048}"
    config = job(
        f"models.prm={prm}", *([f"models.prm.{engine}"] if "same" not in prm else []), "prompt.template='Q: {user} A: '"
    )
    roles = make_plan(config, here=False).roles
    assert roles["target"].vocabulary.frame.startswith("Q: ")
    assert roles["prm"].vocabulary.frame.startswith("Q: ") == as_writers


def test_a_missing_tokenizer_is_told_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models\.draft\.model: .*nothing-here has no tokenizer that loads"):
        vocabulary(tmp_path / "nothing-here")


def test_a_missing_chat_template_is_told_with_what_to_do(tmp_path: Path) -> None:
    base = _copy(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"has no chat template; give a plain one as prompt\.template"):
        vocabulary(base)
    assert vocabulary(base, template="{user}\n").prompts(["1?"])


# --- user messages


@pytest.mark.parametrize(
    ("template", "choices", "message"),
    [
        ("{problem}", None, "Why?"),
        ("{problem}", [], "Why?"),
        ("Solve: {problem} Now.", None, "Solve: Why? Now."),
        ("{problem}", ["x", "y"], "Why?\n(A) x\n(B) y"),
        ("{problem}\nAnswer.", ["x", "y"], "Why?\n(A) x\n(B) y\nAnswer."),
        ("{problem} Pick of {choices}.", ["x", "y"], "Why? Pick of (A) x\n(B) y."),
        ("{choices}\n{problem}", ["x"], "(A) x\nWhy?"),
        ("{problem}{choices}", None, "Why?"),
    ],
)
def test_user_message(template: str, choices: list[str] | None, message: str) -> None:
    assert user_message(PromptConfig(user=template), "Why?", choices) == message


def test_braces_of_a_problem_or_an_option_are_text() -> None:
    problem = r"Let {problem} be {choices} and \frac{1}{2}"
    assert user_message(PromptConfig(), problem, None) == problem
    assert user_message(PromptConfig(), problem, ["{problem}", "{choices}"]) == (
        problem + "\n(A) {problem}\n(B) {choices}"
    )


def test_a_message_may_name_the_problem_twice() -> None:
    assert user_message(PromptConfig(user="{problem}\nAgain: {problem}"), "Why?", None) == "Why?\nAgain: Why?"
