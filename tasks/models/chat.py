"""The one place where chat templates are rendered, always on the run's day.

Templates may ask for the time and draw at random. The same command would then make other prompts tomorrow, or on
another machine. Here the clock stands at the beginning of the run's day, and a random draw always gives the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from tasks.errors import UserError
from tasks.models.rendering import RENDERER, Chats


def today() -> date:
    """By the clock of UTC, the same for everybody."""
    return datetime.now(UTC).date()


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
        if not self._is_plain:
            return list(self.tokenizer.apply_chat_template(chats, add_generation_prompt=answer, tokenize=False))
        tokens = {name: _as_text(token) for name, token in self.tokenizer.special_tokens_map.items()}
        template = self.tokenizer.get_chat_template()
        texts, dated = RENDERER.render(template, tokens, self.day, chats, answer=answer)
        self.dated |= dated
        return texts

    @property
    def _is_plain(self) -> bool:
        """Is it a text that transformers render? Others come with code, which was allowed to run and asks no clock."""
        from transformers import PreTrainedTokenizerBase

        usual = type(self.tokenizer).apply_chat_template is PreTrainedTokenizerBase.apply_chat_template
        return usual and isinstance(self.tokenizer.chat_template, str | dict)


def steady(render: Callable[[], Sequence[str]], where: str) -> Sequence[str]:
    """What `render` gives. Raises UserError if it gives something else the second time."""
    first, again = render(), render()
    if first != again:
        raise UserError(
            f"{where}: its chat template writes a different prompt each time, so a run could not be resumed; give "
            "prompt.template, or a checkpoint with another chat_template.jinja"
        )
    return first


def _as_text(token: Any) -> Any:
    return [str(one) for one in token] if isinstance(token, list | tuple) else str(token)
