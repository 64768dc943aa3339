"""Leaves out problems that are in benchmarks.

A problem counts as a benchmark's when the two share n words in a row, case and punctuation apart: 13 of them, as for
GPT-3 (arXiv 2005.14165, appendix C). A problem of fewer words counts when it is the same as a whole; then signs count
as well, for 2 + 3 and 2 - 3 have the same words. Solutions are not looked at: what they repeat is their problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import polars as pl

from tasks.errors import UserError
from tasks.export.grams import TOKENS, WORDS, grams
from tasks.problems.files import list_files
from tasks.problems.importing import FORMATS
from tasks.problems.importing.fields import BadRecord
from tasks.problems.importing.records import RecordFile
from tasks.problems.parquet.problem_file import batches, open_parquet
from tasks.problems.snapshot import open_listed
from tasks.storage.stores import Stores

AT_ONCE = 4096
"""Problems of a benchmark that are looked at together."""


@dataclass
class Benchmark:
    """One file's n-grams, and what was found in it."""

    name: str
    problems: int
    words: np.ndarray = field(repr=False)
    """Hashes (uint64) of its n-grams, sorted."""
    wholes: np.ndarray = field(repr=False)
    """Hashes (uint64) of its problems of fewer words, sorted."""
    found: int = 0
    """Problems of the runs that it has."""
    rows: int = 0
    """Rows that were left out for it."""


def read_benchmarks(paths: list[str], n: int, stores: Stores) -> list[Benchmark]:
    """Raises UserError if a file cannot be read as problems."""
    found = []
    for path in paths:
        words, wholes, count = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], 0
        texts = _texts(path, stores)
        while some := list(islice(texts, AT_ONCE)):
            count += len(some)
            of_words, _, of_wholes, _ = _hashes(pl.Series(some, dtype=pl.String), n)
            words.append(np.unique(of_words))
            wholes.append(np.unique(of_wholes))
        if count == 0:
            raise UserError(f"--decontaminate: {path} holds no problems")
        found.append(Benchmark(path, count, np.unique(np.concatenate(words)), np.unique(np.concatenate(wholes))))
    return found


def _hashes(texts: pl.Series, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For texts of at least n words: the hashes of their n-grams, and the number of the text that each is of. For
    shorter texts: one hash each, and their numbers."""
    short = (texts.str.count_matches(WORDS) < n).to_numpy()
    hashed, bounds = grams(texts, n)
    rows = np.repeat(np.arange(len(texts)), np.diff(bounds))
    long = ~short[rows]
    few = texts.filter(pl.Series(short)).str.to_lowercase().str.extract_all(TOKENS).list.join(" ")
    return hashed[long], rows[long], few.hash(seed=0).to_numpy(), np.flatnonzero(short)


def contaminated(problems: pl.Series, benchmarks: list[Benchmark], n: int) -> np.ndarray:
    """Which problems stand in which benchmark: bool [benchmarks, problems]."""
    found = np.zeros((len(benchmarks), len(problems)), bool)
    words, of_words, wholes, of_wholes = _hashes(problems, n)
    for row, benchmark in zip(found, benchmarks, strict=True):
        row[of_words[_in(words, benchmark.words)]] = True
        row[of_wholes[_in(wholes, benchmark.wholes)]] = True
    return found


def _in(values: np.ndarray, sorted_set: np.ndarray) -> np.ndarray:
    if not len(sorted_set):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(sorted_set, values), len(sorted_set) - 1)
    return np.asarray(sorted_set[at] == values)


def _texts(path: str, stores: Stores) -> Iterator[str]:
    """The problems of a benchmark: JSON lines, or FORMAT=FILE, or Parquet."""
    format, _, file = path.partition("=")
    if format not in FORMATS:
        format, file = "jsonl", path
        if not path.endswith((".jsonl", ".json")):
            yield from _of_parquet(path, stores)
            return
    try:
        records = RecordFile(file, stores)
        for place, record in records:
            try:
                yield str(FORMATS[format](record)["problem"])
            except BadRecord as error:
                raise UserError(f"{file}, {records.unit} {place}: {error}") from None
    except UserError as error:
        raise UserError(f"--decontaminate: {error}") from None


def _of_parquet(path: str, stores: Stores) -> Iterator[str]:
    for file in list_files(path, stores, field="--decontaminate"):
        with open_listed(file, stores) as f:
            parquet = open_parquet(f, file)
            for batch in batches(parquet, file, parquet.metadata.num_rows, ["problem"]):
                texts = pl.Series(batch.column("problem")).cast(pl.String)
                yield from texts.drop_nulls().to_list()
