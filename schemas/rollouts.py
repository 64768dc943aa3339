"""Options of roll-outs. Plain values and no imports, so that `--help` is instant."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

MOST_SAMPLES = 2**31 - 1
"""As many as a configuration's decoding.samples may be."""


@dataclass(frozen=True)
class RolloutOptions:
    """Options of `stepwave rollouts`, with their defaults."""

    samples: int = 8
    """Roll-outs of each step."""
    writer: Literal["draft", "target"] | None = None
    """Model that writes them (the target if the run's configuration has one, else the draft)."""
    attempts: Literal["all", "kept"] = "all"
    """all: every attempt at a step. kept: only steps that are part of solutions."""
    min_reward: float | None = None
    """Only steps with at least this reward."""
    max_reward: float | None = None
    """Only steps with at most this reward."""
    share: float = 1.0
    """Share of the problems. They are chosen by their text, so they are the same in every run."""

    def given(self) -> dict[str, Any]:
        """All options by name."""
        return asdict(self)


def check(options: RolloutOptions) -> None:
    """Raises ValueError that names the option that is out of its range."""
    if options.samples < 1:
        raise ValueError(f"--samples: must be at least 1, not {options.samples}")
    if options.samples > MOST_SAMPLES:
        raise ValueError(f"--samples: must be at most {MOST_SAMPLES}, not {options.samples}")
    if not 0 < options.share <= 1:
        raise ValueError(f"--share: must be above 0 and at most 1, not {options.share:g}")
    for name, value in (("--min-reward", options.min_reward), ("--max-reward", options.max_reward)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}: must be from 0 to 1, not {value:g}")
    if options.min_reward is not None and options.max_reward is not None and options.min_reward > options.max_reward:
        raise ValueError(f"--min-reward {options.min_reward:g} is above --max-reward {options.max_reward:g}")
