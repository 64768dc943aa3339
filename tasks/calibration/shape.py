"""What calibration.json holds, as tasks/output/shapes.py says it of a run's files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, AllowInfNan, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from tasks.output.shapes import OPEN, Count, Figure, Name, Usage

Threshold = Annotated[float, Ge(0), Le(1)]
Band = Annotated[list[Annotated[float, AllowInfNan()]], Len(2, 2)]
File = Annotated[str, StringConstraints(pattern=r"^recommended(-[a-z-]{1,40}-[0-9.e+-]{1,40})?\.yaml$")]
"""Files of these names are written and deleted, so that one that leads elsewhere is none."""


class _Wish(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    kind: Literal["target_share", "flops", "tolerance"]
    value: float


class _Row(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    threshold: Threshold
    accuracy: Figure | None
    accuracy_low: Figure | None
    accuracy_high: Figure | None
    target_share: Figure | None
    target_share_low: Figure | None
    target_share_high: Figure | None
    flops: Figure
    flops_low: Figure
    flops_high: Figure
    draft_tokens: Figure
    target_tokens: Figure
    prm_tokens: Figure
    bands: NotRequired[dict[Name, Band | None]]


class _Recommendation(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    threshold: Threshold | None


class _Tokens(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    generated: dict[Name, Count]


class _Recommended(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    wish: _Wish | None
    threshold: Threshold | None


class _Calibration(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    wish: _Wish
    problems: Count
    thresholds: list[_Row]
    tokens: _Tokens
    computed: Usage
    recommendation: _Recommendation
    recommended: NotRequired[dict[File, _Recommended]]


def _agrees(report: Any) -> Any:
    """What is recommended was tried, a figure that is known has an interval, and a wish its threshold."""
    rows, threshold = report["thresholds"], report["recommendation"]["threshold"]
    if threshold is not None and not any(row["threshold"] == threshold for row in rows):
        raise ValueError
    for row in rows:
        for name in ("accuracy", "target_share"):
            if len({row[f"{name}{part}"] is None for part in ("", "_low", "_high")}) > 1:
                raise ValueError
    if any((of["wish"] is None) != (of["threshold"] is None) for of in report.get("recommended", {}).values()):
        raise ValueError
    return report


CALIBRATION = TypeAdapter(Annotated[_Calibration, AfterValidator(_agrees)])
