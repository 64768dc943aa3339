"""Stores rows by problem, so that all rows of a problem come back together.

The rows of a problem can come from several runs, and from anywhere in one. A bucket holds the problems of one range of
keys, so that buckets one after the other give the rows in the order of their keys, however many buckets there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

BUCKET = 3 << 20
"""Bytes of a file that a bucket is meant to have."""
LARGEST = 4 * BUCKET
"""Bytes from which a bucket is put down once more, in finer ones."""
MOST = 72
"""Buckets side by side: that many files are open at a time, of rows, verdicts and estimates; systems may allow 256."""
WAITING = 4 << 20
"""Bytes of rows that wait until they are put down together."""
NARROWEST = 2**32
"""Range of keys that is not divided further: it hardly holds more than one problem."""


def bucket_count(size: int) -> int:
    """Buckets for so many bytes of rows."""
    return max(1, min(MOST, -(-size // BUCKET)))


class Buckets:
    """Frames with a column `key` (UInt64, from `low` to before `high`), kept in a folder. `close` before `read`."""

    def __init__(self, folder: str, name: str, count: int, low: int = 0, high: int = 2**64) -> None:
        self.folder, self.name, self.count = folder, name, count
        self.low, self.width = low, -(-(high - low) // count)
        self.waiting: list[pl.DataFrame] = []
        self.size = 0
        self.writers: dict[int, tuple[pa.ipc.RecordBatchStreamWriter, pa.OSFile]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows to the buckets of their problems."""
        if len(rows):
            self.waiting.append(rows)
            self.size += int(rows.estimated_size())
        if self.size > WAITING:
            self._put_down()

    def close(self) -> None:
        """Close the files that are open."""
        try:
            self._put_down()
        finally:
            for writer, file in self.writers.values():
                writer.close()
                file.close()
            self.writers.clear()

    def read(self, number: int) -> Iterator[pl.DataFrame]:
        """A bucket's rows, which can be read once. Many rows come in parts, each with whole problems."""
        path = self._path(number)
        if not os.path.exists(path):
            return
        size = os.path.getsize(path)
        with pa.OSFile(path) as file:
            stream = pa.ipc.open_stream(file)
            if size < LARGEST or self.width <= NARROWEST:
                yield pl.DataFrame(stream.read_all())
                os.unlink(path)
                return
            low = self.low + number * self.width
            finer = Buckets(self.folder, f"{self.name}-{number:05d}", bucket_count(size), low, low + self.width)
            for batch in stream:
                finer.add(pl.DataFrame(batch))
        os.unlink(path)
        finer.close()
        for part in range(finer.count):
            yield from finer.read(part)

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"{self.name}-{number:05d}.arrow")

    def _put_down(self) -> None:
        if not self.waiting:
            return
        rows = pl.concat(self.waiting)
        self.waiting, self.size = [], 0
        place = pl.lit(0) if self.count == 1 else (pl.col("key") - self.low) // pl.lit(self.width, pl.UInt64)
        for (number,), part in (
            rows.with_columns(bucket=place).partition_by("bucket", as_dict=True, include_key=False).items()
        ):
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._writer(int(number), table.schema).write_table(table)

    def _writer(self, number: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if number not in self.writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            file = pa.OSFile(self._path(number), "wb")
            self.writers[number] = pa.ipc.new_stream(file, schema, options=options), file
        return self.writers[number][0]
