"""rollouts.json: what was asked, of which run and shards, and how many steps were chosen."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tasks.output.shapes import OPEN, Count, Digest, Name, Shards
from tasks.storage.sealed import FORMAT, seal, unseal
from tasks.storage.store import Store

RECORD = "rollouts.json"


class _Of(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    run_id: Digest


class _Shards(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    taken: list[Shards]
    of: Shards | None
    whole: bool


class _Chosen(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    problems: Count
    attempts: Count
    steps: Count
    left_out: dict[Name, Count]


class _Record(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    asked: dict[Name, str | int | float | None]
    of: _Of
    shards: _Shards
    chosen: _Chosen | None


SHAPE = TypeAdapter(_Record)


def read_record(store: Store) -> dict[str, Any] | None:
    """What a place holds; None where there is none, or it is not as it was written."""
    return unseal(store.read_or_none(RECORD), SHAPE)


def sealed(record: dict[str, Any]) -> bytes:
    """The record as bytes, with a checksum."""
    return seal({"format": FORMAT, **record})
