"""The user message for a problem."""

from __future__ import annotations

from schemas.config import PromptConfig


def user_message(prompt: PromptConfig, problem: str, choices: list[str] | None) -> str:
    """The user message for a problem; its options are lettered (A), (B), ... (Z), (AA), ..."""
    options = "\n".join(f"({_letter(i)}) {choice}" for i, choice in enumerate(choices or []))
    template = prompt.user
    if options and "{choices}" not in template:
        template = template.replace("{problem}", "{problem}\n{choices}")
    return problem.join(part.replace("{choices}", options) for part in template.split("{problem}"))


def _letter(i: int) -> str:
    """What option i is called: A to Z, then AA, AB, ..."""
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)
