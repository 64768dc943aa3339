"""Tables of a run that are committed, read with the columns that their schema names today."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import REJECTED, SOLUTIONS, STEPS
from tasks.errors import UserError
from tasks.run_directory import RunDirectory

SCHEMAS = {"solutions": SOLUTIONS, "steps": STEPS, "rejected": REJECTED}


def committed_table(
    output: RunDirectory, record: dict[str, Any], name: str, columns: list[str] | None = None
) -> pa.Table | None:
    """A shard's table `name` (a key of SCHEMAS), its columns or those that are named. One that an older release did not
    write is null throughout. None where the shard has no such table; raises UserError where it cannot be read."""
    if (table := record["tables"].get(name)) is None:
        return None
    schema = SCHEMAS[name]
    wanted = schema if columns is None else pa.schema([schema.field(column) for column in columns])
    try:
        file = pq.ParquetFile(io.BytesIO(output.store.read(table["key"])))
        found = file.read([field.name for field in wanted if field.name in file.schema_arrow.names], use_threads=False)
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        raise UserError(f"{output.store.path(table['key'])}: cannot be read ({error}); run it again") from error
    for field in wanted:
        if field.name not in found.schema.names:
            found = found.append_column(field.name, pa.nulls(len(found), field.type))
    return found.select(wanted.names)
