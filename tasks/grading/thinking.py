"""Separates what a solution says from what it only thinks.

The one place that knows how thinking is marked. Text before a closing mark never holds the answer, and where a mark is
opened and never closed, nothing was said after it.
"""

from __future__ import annotations

import re

NAMES = r"(?:seed:)?think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|longcat_think"
BEGIN = re.compile(
    rf"(?i)<\s*(?:{NAMES})\s*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|inner_prefix\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)|<\|?channel\|?>\s*thought"
)
END = re.compile(
    rf"(?i)<\s*/\s*(?:{NAMES})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|inner_suffix\|>"
    r"|<\|channel\|>\s*final\s*<\|message\|>|<channel\|>"
)
BARE_CHANNELS = re.compile(r"\s*analysis(?=[\sA-Z]).*?assistantfinal", re.DOTALL)
"""Channels whose marks were left out where ids became text."""


def said(solution: str) -> str:
    """The solution without its thinking: what follows the last closing mark, up to one that is opened after it."""
    start = 0
    for end in END.finditer(solution):
        start = end.end()
    if not start and (bare := BARE_CHANNELS.match(solution)):
        start = bare.end()
    opened = BEGIN.search(solution, start)
    return solution[start : opened.start() if opened else len(solution)]
