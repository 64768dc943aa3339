"""The one place where chat templates are rendered, always on the run's day.

Templates may ask for the time and draw at random. The same command would then make other prompts tomorrow, or on
another machine. Here the clock stands at the beginning of the run's day, and a random draw always gives the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from tasks.errors import UserError
from tasks.placeholders import C

Chats = list[list[dict[str, str]]]


def today() -> date:
    """By the clock of UTC, the same for everybody."""
    return datetime.now(UTC).date()


def on_day(config: C, day: date | None) -> C:
    """A configuration with the day of its prompts: its own if it gives one, else `day`."""
    if config.prompt.date is not None or day is None:
        return config
    return config.model_copy(update={"prompt": config.prompt.model_copy(update={"date": day})})


class Chat:
    """A tokenizer's chat template on one day."""

    def __init__(self, tokenizer: Any, day: date | None) -> None:
        """`day`: the day of the prompts (None: today, where nothing that is rendered is kept)."""
        self.tokenizer, self.day = tokenizer, day or today()
        self.used = self.dated = False
        """Was anything rendered by it, and has it asked for the time?"""

    def __bool__(self) -> bool:
        return bool(self.tokenizer.chat_template)

    def render(self, chats: Chats, *, answer: bool) -> list[str]:
        """The text of each chat, up to where an answer begins if `answer`. Raises whatever the template raises."""
        self.used = True
        frozen: dict[str, Any] = {}
        if isinstance(self.tokenizer.chat_template, str | dict):  # others come with code that asks no clock
            frozen = {"strftime_now": self._now, "lipsum": _no_draw}
            _freeze_draws(self.tokenizer.get_chat_template())
        return list(self.tokenizer.apply_chat_template(chats, add_generation_prompt=answer, tokenize=False, **frozen))

    def _now(self, form: str) -> str:
        self.dated = True
        return now(self.day, form)


def now(day: date, form: str) -> str:
    """The beginning of a day in a format of strftime, in UTC, whatever this machine's zone."""
    start = datetime(day.year, day.month, day.day)  # as transformers has it: %Z and %z are empty
    seconds = str(int(start.replace(tzinfo=UTC).timestamp()))  # strftime's own %s is by this machine's zone
    return start.strftime(re.sub(r"%(.)", lambda found: seconds if found[1] == "s" else found[0], form))


def steady(render: Callable[[], Sequence[str]], where: str) -> Sequence[str]:
    """What `render` gives. Raises UserError if it gives something else the second time."""
    first, again = render(), render()
    if first != again:
        raise UserError(
            f"{where}: its chat template writes a different prompt each time, so a run could not be resumed; give "
            "prompt.template, or a checkpoint with another chat_template.jinja"
        )
    return first


def _freeze_draws(template: str) -> None:
    """Make the filter `random` take the first element, in the environment in which transformers renders this
    template."""
    from jinja2 import pass_context
    from transformers.utils.chat_template_utils import _compile_jinja_template

    _compile_jinja_template(template).environment.filters["random"] = pass_context(_first)


def _first(context: Any, items: Sequence[Any]) -> Any:
    return next(iter(items), "")


def _no_draw(*_: Any, **__: Any) -> str:
    return "Lorem ipsum."
