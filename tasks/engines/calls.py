"""Calls to an engine's process that wait for answers."""

from __future__ import annotations

import asyncio
from typing import Any

from tasks.decoding.requests import Answered


class Call:
    """Requests in flight that one caller waits for, numbered from `first` on."""

    def __init__(self, first: int, requests: int, answered: Answered) -> None:
        self.numbers = range(first, first + requests)
        self.results: list[Any] = [None] * requests
        """None for those that have no answer."""
        self.left = requests
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolved when all are answered, or none will be any more."""
        self.answered = answered

    def answer(self, number: int, result: Any) -> None:
        """Take the answer to a request, and tell it."""
        place = number - self.numbers.start
        self.results[place] = result
        self.left -= 1
        self.answered(place, result)
        if not self.left:
            self.end()

    def end(self) -> None:
        """Nothing more will be answered."""
        if not self.over.done():
            self.over.set_result(None)
