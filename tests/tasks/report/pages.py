"""What is asked of a report in a browser, and texts that would run or break out if they could."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Opened = Callable[..., Any]
HOSTILE = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<!--<script>",
    "]]>\u2028\u2029\x00\x1b[31m",
    "{{ 7 * 7 }} ${window.ran = 1} ' \" & \\ \U0001f600",
    "$\\frac{1}{0}$ \\boxed{\\undefined",
]
BAD = " ".join(HOSTILE)


def listed(page: Any) -> list[str]:
    return page.locator("#solutions .what b").all_text_contents()


def counted(page: Any, text: str) -> None:
    page.wait_for_function("text => document.getElementById('count').textContent === text", arg=text)
