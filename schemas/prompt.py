"""How a problem becomes a prompt, and where a step ends."""

from __future__ import annotations

import contextlib
import datetime
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from schemas.section import Section

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


def _a_day(value: Any) -> Any:
    """No number, which pydantic would take for seconds, and no time of day."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        with contextlib.suppress(ValueError):
            return datetime.date.fromisoformat(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    raise ValueError("must be a day, such as 2026-01-31")


class PromptConfig(Section):
    """How a problem becomes a prompt, and where a step ends."""

    system: str | None = SYSTEM
    """System message (null: none; the chat template may have a default of its own)."""
    user: str = "{problem}"
    """User message. {problem} is the problem's text, {choices} its lettered options. If a problem has options and this
    text does not name {choices}, they follow the problem on lines of their own."""
    separator: str = Field(default="\n\n", min_length=1)
    """Text that ends a step."""
    date: Annotated[datetime.date, BeforeValidator(_a_day)] | None = None
    """The day that chat templates write into prompts, for all prompts of the run, such as 2026-01-31 (null: the day on
    which the run begins, in UTC)."""
    template: str | None = None
    """Plain prompt with {system} and {user}, in the place of the model's chat template (null: the chat template). It is
    used for the writers, and for a PRM without a chat template. A start-of-text token is put before it, unless it
    begins with one."""

    @field_validator("user")
    @classmethod
    def _names_problem(cls, user: str) -> str:
        if "{problem}" not in user:
            raise ValueError("must contain {problem}")
        return user

    @field_validator("template")
    @classmethod
    def _names_user(cls, template: str | None) -> str | None:
        if template is not None and "{user}" not in template:
            raise ValueError("must contain {user}")
        return template
