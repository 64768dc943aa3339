"""The acceptance threshold of a run, also of one that found it by itself."""

from __future__ import annotations

import math
from typing import Any

from schemas.config import Config


def decided(config: Config, manifest: dict[str, Any] | None) -> float | None:
    """δ; None where the method has none, or none that is decided before the run is complete."""
    value = getattr(config.decoding.accept, "threshold", None) if config.decoding.record.judges else None
    if value == "auto":
        value = ((manifest or {}).get("calibration") or {}).get("threshold")
    return None if value is None else float(value)


def bands(report: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Figure to its band at the recommended threshold; without those that nothing is known of."""
    threshold = report["recommendation"]["threshold"]
    row: dict[str, Any] = next((row for row in report["thresholds"] if row["threshold"] == threshold), {})
    found = {name: (band[0], band[1]) for name, band in row.get("bands", {}).items() if band}
    return {name: band for name, band in found.items() if all(map(math.isfinite, band))}
