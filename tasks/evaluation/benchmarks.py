"""Where the problems of an evaluation are: problem sets as they stand, and those made of benchmarks' own files."""

from __future__ import annotations

import io
import os
import tempfile

import pyarrow.parquet as pq

from schemas.evaluation import Benchmark, EvaluationConfig
from tasks.errors import UserError
from tasks.problems.importing import FORMATS, import_problems
from tasks.problems.parquet.whole_table import whole_table
from tasks.storage.store import Store
from tasks.storage.stores import Stores

FOLDER = "problems"


def problem_sets(config: EvaluationConfig, store: Store) -> dict[str, str]:
    """Benchmark to the path of its problem set. Raises UserError, naming the benchmark's field.

    A benchmark's own file is made into a problem set below the evaluation's output. One that is there already and holds
    the same problems stays untouched: runs go by its bytes.
    """
    found = {}
    for n, benchmark in enumerate(config.benchmarks):
        if benchmark.format is not None:
            found[benchmark.name] = _made(f"benchmarks.{n}", benchmark, store, Stores.of(config))
        elif benchmark.path.endswith((".json", ".jsonl")):
            raise UserError(f"benchmarks.{n}.format is missing: {benchmark.path} is JSON; known: {', '.join(FORMATS)}")
        else:
            found[benchmark.name] = benchmark.path
    return found


def _made(field: str, benchmark: Benchmark, store: Store, stores: Stores) -> str:
    key = f"{FOLDER}/{benchmark.name}.parquet"
    with tempfile.TemporaryDirectory(prefix="stepwave-problems-") as folder:
        path = os.path.join(folder, f"{benchmark.name}.parquet")
        try:
            import_problems(benchmark.format or "", benchmark.path, path, stores)
        except UserError as error:
            raise UserError(f"{field}: {error}") from error
        with open(path, "rb") as f:
            made = f.read()
    there = store.read_or_none(key)
    if there is None:
        store.create(key, made)
        there = store.read(key)  # another process may have been first
    if not _same(there, made, store.path(key)):
        raise UserError(
            f"{field}.path: {benchmark.path} no longer holds the problems of {store.path(key)}, which were made of it; "
            "put it back, or give the benchmark another name"
        )
    return store.path(key)


def _same(there: bytes, made: bytes, path: str) -> bool:
    """Does a Parquet file hold the rows of one that was made here? Bytes depend on the version of what wrote them."""
    if there == made:
        return True
    ours = pq.read_table(io.BytesIO(made))
    try:
        same = whole_table(there, path, ours.schema, len(ours)).equals(ours)
        return same and pq.read_schema(io.BytesIO(there)).names == ours.schema.names
    except UserError:
        return False
