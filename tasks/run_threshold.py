"""The acceptance threshold of a run, also of one that found it by itself."""

from __future__ import annotations

from typing import Any

from schemas.config import Config


def decided(config: Config, manifest: dict[str, Any] | None) -> float | None:
    """δ; None where the method has none, or none that is decided before the run is complete."""
    value = getattr(config.decoding.accept, "threshold", None) if config.decoding.record.judges else None
    if value == "auto":
        value = ((manifest or {}).get("calibration") or {}).get("threshold")
    return None if value is None else float(value)
