"""Files of checkpoints: rows of an unfinished shard's steps table, and what it took to compute them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import STEPS
from tasks.errors import UserError
from tasks.models.checkpoint_files import parsed
from tasks.output import shapes
from tasks.problems.parquet.whole_table import whole_table

USAGE = b"stepwave.usage"


def file_of(attempts: pa.Table, usage: dict[str, Any]) -> tuple[str, bytes]:
    """What a file's name ends in, and its content."""
    content = parquet(attempts.replace_schema_metadata({USAGE: json.dumps(usage).encode()}))
    return f"-{_digest(content)}.parquet", content


def rows_of(files: Mapping[str, bytes]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the steps table, and usages. A file that is not as it was written counts as not written."""
    attempts: list[dict[str, Any]] = []
    usages: list[dict[str, Any]] = []
    for key, content in files.items():
        if not key.endswith(f"-{_digest(content)}.parquet"):
            continue
        with contextlib.suppress(UserError, pa.ArrowException, ValueError, LookupError, TypeError):
            rows = whole_table(content, key, STEPS).to_pylist()
            usages.append(shapes.USAGE.validate_python(parsed(pq.read_schema(io.BytesIO(content)).metadata[USAGE])))
            attempts += rows
    return attempts, usages


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
