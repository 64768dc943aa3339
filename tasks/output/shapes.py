"""What the JSON files of a run hold. A checksum says that a file is whole, not who wrote it: one that has another
shape, or a figure that no run could have, counts as damaged."""

from __future__ import annotations

import datetime
import math
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Le
from pydantic import AfterValidator, AllowInfNan, ConfigDict, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

MOST_SHARDS = 10_000_000
OPEN = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
"""Other releases have more fields."""


def _counted(value: float) -> float:
    """Sums of rewards of older releases may be none."""
    if math.isfinite(value) and abs(value) > 1e60:
        raise ValueError
    return value


def _used(usage: dict[str, int]) -> dict[str, int]:
    """What a role computed has at least these."""
    if not {"generated", "prefilled", "cached"} <= usage.keys():
        raise ValueError
    return usage


Count = Annotated[int, Ge(0), Le(1 << 62)]
Figure = Annotated[float, Ge(-1e60), Le(1e60)]
Name = Annotated[str, StringConstraints(max_length=4000)]
Role = Literal["draft", "target", "prm"]
Digest = Annotated[str, StringConstraints(pattern=r"^[\w.:-]{0,200}$")]
Time = Annotated[str, AfterValidator(datetime.datetime.fromisoformat)]
Shards = Annotated[int, Ge(0), Le(MOST_SHARDS)]
Figures = dict[Name, Figure]
Counts = dict[Name, Annotated[float, AllowInfNan(), AfterValidator(_counted)]]
Usage = dict[Name, Annotated[dict[Name, Count], AfterValidator(_used)]]


class _Computed(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]
    requests: Count
    generated: Count
    prefilled: Count
    cached: Count


class _Identity(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    settings: dict[Name, Any]
    models: dict[Role, dict[Name, str | None]]


class _Told(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    run_id: Digest
    config_fingerprint: Digest
    input_fingerprint: Digest
    identity: NotRequired[_Identity]
    made_with: NotRequired[dict[Name, Name]]


class _Run(_Told):
    shards: NotRequired[Shards]
    solutions: NotRequired[Count]
    retries: NotRequired[Count]
    token: NotRequired[Digest]


class _Table(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    key: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}/[\w-]{1,100}\.parquet$")]
    rows: Count
    bytes: Count
    sha256: Digest
    version: Name


class _Record(_Told):
    shard: Shards
    retries: Count
    tables: dict[Name, _Table]
    counts: Counts
    computed: Usage


class _File(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    path: Name
    rows: Count
    sha256: Name


class _Input(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    files: NotRequired[list[_File]]
    rows: NotRequired[Count]
    usable: NotRequired[Count]
    rejected: NotRequired[dict[Name, Count]]


class _Model(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    model: Name
    params: Figure


class _Calibration(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    threshold: Figure | None
    target_share: Figure
    problems: Count
    generated: dict[Name, Count]


class _Accounts(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    roles: NotRequired[dict[Name, Figures]]
    stages: NotRequired[Figures]


class _Session(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)  # type: ignore[misc]
    session: Digest
    host: Name
    pid: Count
    started: float
    began: float
    renewed: float
    generated: dict[Name, Count]
    ended: bool
    accounts: NotRequired[_Accounts]
    flow_run: NotRequired[Name]
    sign: NotRequired[Count]
    ahead: NotRequired[float]


class _Manifest(_Told):
    retries: Count
    shards: NotRequired[Shards]
    solutions: NotRequired[Count]
    method: NotRequired[Name]
    samples: NotRequired[Any]
    separator: NotRequired[Name]
    input: NotRequired[_Input]
    models: NotRequired[dict[Name, _Model]]
    prompts: NotRequired[dict[Name, list[str]]]
    counts: NotRequired[Counts]
    computed: NotRequired[Usage]
    seconds: NotRequired[Figures]
    finished_at: NotRequired[Time]
    accounts: NotRequired[_Accounts]
    sessions: NotRequired[list[_Session]]
    calibration: NotRequired[_Calibration]


class _Stale(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    records: dict[Name, list[Count | Name]]


KINDS = (_Manifest, _Run, _Record, _Stale, _Session)
MANIFEST, RUN, RECORD, STALE, SESSION = (TypeAdapter(kind) for kind in KINDS)
USAGE = TypeAdapter(dict[Name, _Computed], config=OPEN)
"""What engines computed, of an unfinished shard."""
