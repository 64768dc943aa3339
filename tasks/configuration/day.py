"""The day that a run's prompts are of."""

from __future__ import annotations

from datetime import date

from tasks.configuration.placeholders import C


def on_day(config: C, day: date | None) -> C:
    """A configuration with the day of its prompts: its own if it gives one, else `day`."""
    if config.prompt.date is not None or day is None:
        return config
    return config.model_copy(update={"prompt": config.prompt.model_copy(update={"date": day})})
