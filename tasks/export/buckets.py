"""Rows on their way: put down by problem, so that all that concerns one problem comes back together.

The rows of a problem can come from several runs, and from anywhere in one. A bucket holds the problems of one range of
keys, so that buckets one after the other give the rows in the order of their keys, however many buckets there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

BUCKET = 16 << 20
"""Bytes that a bucket is meant to have."""
MOST = 512
"""Buckets: that many files are open at a time."""
WAITING = 16 << 20
"""Bytes of rows that wait until they are put down together."""


def bucket_count(size: int) -> int:
    """Buckets for so many bytes of rows."""
    return max(1, min(MOST, -(-size // BUCKET)))


class Buckets:
    """Frames with a column `key` (UInt64), kept in a folder. Close before `read`."""

    def __init__(self, folder: str, name: str, count: int) -> None:
        self.folder, self.name, self.count = folder, name, count
        self.waiting: list[pl.DataFrame] = []
        self.size = 0
        self.writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def add(self, rows: pl.DataFrame) -> None:
        if len(rows):
            self.waiting.append(rows)
            self.size += int(rows.estimated_size())
        if self.size > WAITING:
            self._put_down()

    def close(self) -> None:
        self._put_down()
        for writer in self.writers.values():
            writer.close()

    def read(self) -> Iterator[pl.DataFrame | None]:
        """Each bucket's rows, None where it has none."""
        for number in range(self.count):
            path = self._path(number)
            if number not in self.writers:
                yield None
                continue
            with pa.OSFile(path) as file:
                rows = pl.DataFrame(pa.ipc.open_stream(file).read_all())
            os.unlink(path)
            yield rows

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"{self.name}-{number:05d}.arrow")

    def _put_down(self) -> None:
        if not self.waiting:
            return
        rows = pl.concat(self.waiting)
        self.waiting, self.size = [], 0
        place = pl.col("key").cast(pl.Float64) / 2.0**64 * self.count  # in the order of keys, even where it is rounded
        parts = rows.with_columns(bucket=place.cast(pl.Int32).clip(0, self.count - 1))
        for (number,), part in parts.partition_by("bucket", as_dict=True, include_key=False).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._writer(int(number), table.schema).write_table(table)

    def _writer(self, number: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if number not in self.writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self.writers[number] = pa.ipc.new_stream(self._path(number), schema, options=options)
        return self.writers[number]
