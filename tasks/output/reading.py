"""Tables of a run that are committed, read with the columns that their schema names today. The one way to read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.tables import REJECTED, SOLUTIONS, STEPS
from tasks.errors import UserError
from tasks.output.run_files import RunFiles, shard_key
from tasks.output.sound_rewards import sound
from tasks.problems.parquet.whole_table import whole_table

SCHEMAS = {"solutions": SOLUTIONS, "steps": STEPS, "rejected": REJECTED}


class Committed(NamedTuple):
    """One table of a committed shard."""

    table: pa.Table
    unsound: int
    """Rewards that were none, and are null in the table."""


def committed_table(
    output: RunFiles, record: Mapping[str, Any], name: str, columns: Sequence[str] | None = None
) -> Committed | None:
    """A shard's table `name` (a key of SCHEMAS), its columns or those that are named. One that an older release did not
    write is null throughout. None if the shard has no such table. Raises UserError if it cannot be read."""
    if (table := record["tables"].get(name)) is None:
        return None
    schema = SCHEMAS[name]
    wanted = schema if columns is None else pa.schema([schema.field(column) for column in columns])
    path = output.store.path(table["key"])
    try:
        content = output.store.read(table["key"], table["bytes"])
    except (FileNotFoundError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run it again") from error
    if len(content) != table["bytes"]:
        raise UserError(f"{path}: differs from its record; run it again")
    found = whole_table(content, path, wanted, table["rows"])
    for field in wanted:
        if field.name not in found.schema.names:
            found = found.append_column(field.name, pa.nulls(len(found), field.type))
    return Committed(*sound(found.select(wanted.names)))


def committed_tables(
    output: RunFiles,
    records: Mapping[int, Mapping[str, Any]],
    columns: Mapping[str, Sequence[str] | None],
    ahead: int = 1,
) -> Iterator[tuple[int, list[Committed]]]:
    """Each shard of `records` in order, with its tables of those names and columns; the next `ahead` shards are already
    on their way. Of tables that every shard has. Raises UserError if one cannot be read."""

    def shard(number: int) -> tuple[int, list[Committed]]:
        found = []
        for name, of in columns.items():
            if (table := committed_table(output, records[number], name, of)) is None:
                raise UserError(f"{output.store.path(shard_key(number))}: names no table of {name}; run it again")
            found.append(table)
        return number, found

    numbers = iter(sorted(records))
    coming: deque[Future[tuple[int, list[Committed]]]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        for number in numbers:
            coming.append(pool.submit(shard, number))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
