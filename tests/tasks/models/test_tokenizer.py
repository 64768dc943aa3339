"""Tokenizers, with that of the demo models: steps, and the keys of tokenizers."""

from __future__ import annotations

import itertools
import json
from array import array
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from models.vocabularies import SPECIAL, _copy, steady, texts, vocabulary

from tasks.models.tokenizer import ModelVocabulary

# --- steps


@steady
@given(text=texts, cuts=st.sets(st.integers(0, 60), max_size=6))
@example(text="So.\n\nThen a , b .\n\n\n x", cuts={1, 2, 3, 4, 5, 6})
def test_steps_decode_to_their_text_wherever_it_is_cut(demo: ModelVocabulary, text: str, cuts: set[int]) -> None:
    text = demo.tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    ids = demo.encode_steps([text])[0]
    ends = [0, *(c for c in sorted(cuts) if c < len(ids) and _whole(demo, ids[:c])), len(ids)]
    steps = [ids[a:b] for a, b in itertools.pairwise(ends)]
    assert "".join(demo.decode_steps(steps)) == text


def _whole(demo: ModelVocabulary, ids: list[int]) -> bool:
    """Do the ids end with a whole character."""
    whole = demo.tokenizer.decode(ids, skip_special_tokens=False)
    return not whole.endswith("\ufffd")


@steady
@given(text=texts)
def test_a_steps_text_is_read_as_plain_text(demo: ModelVocabulary, text: str) -> None:
    special = {demo.token_id(token) for token in SPECIAL}
    assert not special & set(demo.encode_steps([text])[0])


def test_a_separator_may_be_the_end_of_a_token(demo: ModelVocabulary) -> None:
    ids = demo.encode_steps([".\n\n"])[0]
    assert len(ids) == 1
    assert demo.decode_steps([ids]) == [".\n\n"]
    text = "a.\n\nb"
    first, point, last = demo.encode_steps([text])[0]
    assert demo.decode_steps([[first, point], [last]]) == ["a.\n\n", "b"]


@pytest.mark.parametrize("text", [" a", "a , b .", " 's n't", "  two", "\n\n\n", " "])
def test_spaces_stay_where_they_are(demo: ModelVocabulary, text: str) -> None:
    """No space is dropped at a step's start, and none tidied away before punctuation."""
    assert demo.decode_steps(demo.encode_steps([text])) == [text]


def test_eos_is_no_text(demo: ModelVocabulary) -> None:
    end = demo.token_id("<|im_end|>")
    assert end is not None
    assert demo.decode_steps([[*demo.encode_steps(["So 2"])[0], end], [end]]) == ["So 2", ""]


def test_no_steps_at_all(demo: ModelVocabulary) -> None:
    assert demo.encode_steps([]) == []
    assert demo.decode_steps([]) == []
    assert demo.encode_steps([""]) == [array("i")]


def test_a_step_is_tokenized_by_itself(demo: ModelVocabulary) -> None:
    alone = [demo.encode_steps([text])[0] for text in ("So.\n\n", "Then")]
    assert demo.encode_steps(["So.\n\n", "Then"]) == alone


@steady
@given(some=st.lists(texts, min_size=1, max_size=5))
def test_the_library_asked_directly_reads_and_writes_as_its_wrapper(demo: ModelVocabulary, some: list[str]) -> None:
    assert demo.backend is not None
    direct = [ids.tolist() for ids in demo.encode_steps(some)]
    wrapped = demo.tokenizer(some, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert direct == wrapped
    special = [demo.token_id(token) for token in SPECIAL]
    mixed = [[*special, *ids, *special] for ids in direct]
    anchored = [[*demo.anchor, *ids] for ids in mixed]
    texts_after_it = [text[len(demo.anchor_text) :] for text in demo.tokenizer.batch_decode(anchored, True)]
    assert demo.decode_steps([array("i", ids) for ids in mixed]) == texts_after_it


# --- keys


def test_the_same_tokenizer_has_the_same_key(demo: ModelVocabulary, tmp_path: Path) -> None:
    copy = _copy(tmp_path / "copy")
    assert vocabulary(copy).key == demo.key


def test_other_ids_have_another_key(demo: ModelVocabulary, tmp_path: Path) -> None:
    other = _copy(tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert vocabulary(other).key != demo.key
