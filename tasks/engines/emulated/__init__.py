"""Engine kind `emulated`: answers as `scripted` does, in the time that a card would take.

`data_sheets` has the cards, `roofline` what an iteration costs, `prefix_cache` the cache with its tier on the host,
`batch` the continuous batch of an engine, `machine` the cards that engines share, `clocks` the time, `engine` the
engine, and `shares` what a plan says of it before a run. To add a card, write a line in `data_sheets`.
"""

from tasks.engines.emulated.arguments import check
from tasks.engines.emulated.engine import open_engine

__all__ = ["check", "open_engine"]
