"""Invalid rewards in tables. Runs store none, but older releases stored what models gave, also NaN. Readers treat such
a reward as missing, and say so.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoding.rewards import ROUNDING

REWARDS = ("reward", "min_reward", "last_reward", "score")
"""Columns of the tables of a run that hold rewards, or what is made of them."""
TOLD = "rewards that are no numbers from 0 to 1, taken for missing"


def sound(table: pa.Table) -> tuple[pa.Table, int]:
    """The table with null for every invalid reward, and the number of these."""
    found = 0
    for name in REWARDS:
        if (place := table.schema.get_field_index(name)) < 0:
            continue
        figures = table[name]
        inside = pc.and_(pc.greater_equal(figures, -ROUNDING), pc.less_equal(figures, 1 + ROUNDING))  # false for NaN
        if pc.all(inside).as_py() is not False:
            continue
        found += pc.sum(pc.invert(inside)).as_py()
        table = table.set_column(place, table.schema.field(name), pc.if_else(inside, figures, None))
    return table, found
