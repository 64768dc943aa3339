"""How often Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Look for cycles a hundredth as often while the block runs.

    A wave makes thousands of objects that live for as long as their shard and hold no cycles, beside the hundreds of
    thousands that the imports left. Python's usual pace, a look for every 700 new ones, took a fifth of the core's
    time; what lies in cycles (exceptions, futures) is little and can wait.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100 * usual[0], *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
