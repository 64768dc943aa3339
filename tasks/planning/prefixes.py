"""Solutions that go on from steps of the input's: what `input.prefix` names, as the models read it."""

from __future__ import annotations

from array import array
from itertools import chain

from tasks.decoding.models import StepFormat, Vocabulary
from tasks.decoding.trajectory import Ids


def separated(steps: list[str], separator: str) -> list[str]:
    """Steps, each with the separator at its end, as a step has that another step follows."""
    return [step if step.endswith(separator) else step + separator for step in steps]


def prefixes(vocabulary: Vocabulary, prm_format: StepFormat | None, begun: list[list[str]]) -> list[Ids]:
    """Ids of the steps of each beginning, one after the other as they are read when a model has written them; as the
    PRM reads them where its format is given."""
    texts = list(chain.from_iterable(begun))
    numbers = list(chain.from_iterable(range(len(steps)) for steps in begun))
    encoded = iter(vocabulary.encode_steps(texts) if prm_format is None else prm_format.encode_steps(texts, numbers))
    found = []
    for steps in begun:
        ids = array("i")
        for _ in steps:
            ids.extend(next(encoded))
        found.append(ids)
    return found
