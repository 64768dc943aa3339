"""The decoding methods: one record each, which everybody asks who needs to know what a method is.

To add a method: a record here, its code beside tasks/decoding/rsd.py, a line in DECODERS of tasks/decoding/__init__.py,
and settings of its own, if it has any, in `DecodingConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.registry import KeyOf, with_

Role = Literal["draft", "target", "prm"]
Writer = Literal["draft", "target"]


@dataclass(frozen=True, kw_only=True)
class MethodRecord:
    """What a method is."""

    roles: tuple[Role | Literal["writer"], ...]
    """Roles whose models it asks, in the order in which they act; `writer` is that of decoding.writer."""
    settings: tuple[str, ...] = ()
    """Settings of `decoding` that it reads and not every method does."""
    chooses: Literal["samples", "candidates"] | None = None
    """What it chooses among, so that it needs at least two. Among `samples` it picks one solution of each problem."""
    rewrites: bool = False
    """Does the target write the steps again that the PRM rejects, so that it writes a share of them?"""
    proposer: bool = False
    """Does the target's engine load the draft as well, to guess at the target's tokens?"""
    baseline: bool = False
    """Is it the target alone, with which the others are compared?"""

    @property
    def judges(self) -> bool:
        """Does it keep or reject steps by an acceptance rule, and so may have a threshold?"""
        return "accept" in self.settings

    @property
    def picks(self) -> bool:
        """Is one of a problem's samples its answer?"""
        return self.chooses == "samples"


METHODS: dict[str, MethodRecord] = {
    "rsd": MethodRecord(roles=("draft", "target", "prm"), settings=("accept", "candidates"), rewrites=True),
    "target": MethodRecord(roles=("target",), baseline=True),
    "draft": MethodRecord(roles=("draft",)),
    "speculative": MethodRecord(roles=("target",), settings=("speculative_tokens",), proposer=True),
    "majority": MethodRecord(roles=("writer",), settings=("writer",), chooses="samples"),
    "best_of_n": MethodRecord(roles=("writer", "prm"), settings=("writer", "aggregation", "pick"), chooses="samples"),
    "process_best_of_n": MethodRecord(roles=("writer", "prm"), settings=("candidates", "writer"), chooses="candidates"),
    "beam": MethodRecord(roles=("writer", "prm"), settings=("candidates", "beams", "writer"), chooses="candidates"),
}

Method = Annotated[str, KeyOf(METHODS)]


def readers(setting: str) -> tuple[str, ...]:
    """The methods that read a setting of `decoding`; none for those that every method reads."""
    return with_(METHODS, lambda method: setting in method.settings)


def settings_of_some() -> tuple[str, ...]:
    """Settings of `decoding` that only some methods read."""
    return tuple(dict.fromkeys(name for method in METHODS.values() for name in method.settings))


def unread(method: str) -> tuple[str, ...]:
    """Settings of `decoding` that a method does not read and others do."""
    return tuple(name for name in settings_of_some() if name not in METHODS[method].settings)
