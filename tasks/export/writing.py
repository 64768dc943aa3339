"""Rows to Parquet files, split by split, in a folder of this machine."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.export.problems import Splits

FILE = 24 << 20
"""Bytes after which a file has its last rows."""
GROUP = 4096
"""Rows of a row group: a reader that shuffles takes one at a time."""


@dataclass
class _Split:
    files: list[str] = field(default_factory=list)
    writer: pq.ParquetWriter | None = None


class SplitWriter:
    """Writes rows into the Parquet file of their split."""

    def __init__(self, folder: str, schema: pa.Schema, splits: Splits) -> None:
        self.folder, self.schema, self.splits = folder, schema, splits
        self.open = {name: _Split() for name in splits.names}
        self.rows: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()

    def write(self, rows: pl.DataFrame) -> None:
        """Rows of whole problems, with their `key`."""
        split = rows.select(split=self.splits.of())["split"]
        for name in self.splits.names:
            part = rows.filter(split == name)
            if len(part):
                self.rows[name] += len(part)
                self.problems[name] += part["key"].n_unique()
                table = part.select(self.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
                self._put(self.open[name], name, table.cast(self.schema))

    def _put(self, split: _Split, name: str, table: pa.Table) -> None:
        if split.writer is None:
            split.files.append(os.path.join(self.folder, f"{name}-{len(split.files):05d}.parquet"))
            split.writer = pq.ParquetWriter(split.files[-1], self.schema, compression="zstd")
        split.writer.write_table(table, row_group_size=GROUP)
        if os.path.getsize(split.files[-1]) >= FILE:
            split.writer.close()
            split.writer = None

    def close(self) -> dict[str, str]:
        """End the files; returns their names in the dataset, as the hub calls them, and where they are."""
        found = {}
        for name, split in self.open.items():
            if split.writer is not None:
                split.writer.close()
            for number, path in enumerate(split.files):
                found[f"data/{name}-{number:05d}-of-{len(split.files):05d}.parquet"] = path
        return found
