"""What a chat template writes around the turns of a conversation."""

from __future__ import annotations

import re

from tasks.errors import UserError, in_brief
from tasks.models.chat import Chat, steady

ROLES = ("user", "assistant")


def around_turns(template: Chat, turns: int) -> list[str]:
    """Texts before, between and after so many turns, user and assistant by turns, without a system message. Raises
    UserError where the tokenizer has no template, or one that does not keep the turns."""
    if not template:
        raise UserError("models.prm.model: its tokenizer has no chat template, which this format needs")
    marks = [f"stepwave-turn-{n}-goes-here" for n in range(turns)]
    chat = [{"role": ROLES[n % 2], "content": mark} for n, mark in enumerate(marks)]
    try:
        [text] = steady(lambda: template.render([chat], answer=False), "models.prm.model")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"models.prm.model: its chat template refuses the steps' turns ({in_brief(error)})") from error
    found = re.findall("|".join(marks), text)
    if found != marks:
        raise UserError("models.prm.model: its chat template does not write every turn once, as this format needs")
    return re.split("|".join(marks), text)
