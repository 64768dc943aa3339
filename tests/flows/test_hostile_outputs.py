"""Outputs that somebody else made to do harm: whole by their checksums, but nothing that a run leaves. Commands that
read them say so in a line, or leave out what is damaged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import bombs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import GONE, ODD, changed, places
from pebble import ProcessPool
from report.outputs import few, solution, write_run

from flows.show import lines as shown
from flows.show import show
from flows.status import lines as told
from flows.status import status
from schemas.tables import STEPS
from tasks.errors import UserError
from tasks.export.runs import open_run, read
from tasks.output.directory import RunDirectory
from tasks.output.reading import committed_table
from tasks.processes import limit_memory
from tasks.report.gather import gather
from tasks.storage.sealed import seal, unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

LOCAL = Stores()
COMMANDS: dict[str, Callable[[str], Any]] = {
    "status": lambda out: told(status(out, LOCAL)),
    "show": lambda out: shown(show(out, "p1", None, LOCAL)),
    "report": lambda out: gather(Store(out), None),
    "export": lambda out: [shard.steps for shard in read(open_run(Store(out)))],
}
"""Each reads an output as the command does."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(Store(str(tmp_path / "out")), [few(3), [solution("q", "dt")]], prompts={"draft": ["a", "b"]})
    return tmp_path / "out"


# --- manifest, records


def mistake(out: Path, command: str) -> str | None:
    """What a command tells instead of doing what it does; it must be fit for a terminal."""
    try:
        COMMANDS[command](str(out))
    except UserError as error:
        said = str(error)
        return said if said.isprintable() and len(said) < 1500 else pytest.fail(f"{command}: {said[:200]!r}")
    return None


@pytest.mark.parametrize("name", ["manifest.json", "shards/00000.json"])
def test_anything_in_any_place_of_a_file(name: str, run: Path) -> None:
    whole = unseal((run / name).read_bytes())
    known = [path for path in places(whole) if path[:2] != ("identity", "settings")]
    for number, path in enumerate(known):
        for other in (GONE, ODD[number % len(ODD)]) if isinstance(path[-1], str) else (ODD[number % len(ODD)],):
            (run / name).write_bytes(seal(changed(whole, path, other)))
            for command in COMMANDS:
                mistake(run, command)


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b'{"format": 2, "x": ' + b"[" * 900 + b"]" * 900 + b"}", b"9" * 5000, b"\xff" * 99, b"null"],
    ids=["nothing", "bottomless", "deep", "a number", "no text", "null"],
)
@pytest.mark.parametrize("name", ["manifest.json", "shards/00000.json", "checkpoints/run.json", "config.yaml"])
def test_what_is_no_file_of_a_run(name: str, content: bytes, run: Path) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(content)
    for command in COMMANDS:
        mistake(run, command)


# --- tables


MOST = 1 << 30
"""Bytes by which reading an output may let a process grow."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    """A process that a bomb may end."""
    with ProcessPool(1, context=get_context("spawn"), initializer=limit_memory, initargs=[6 << 30]) as pool:
        yield pool
        pool.stop()


def grown(act: Callable[..., Any], *about: Any) -> tuple[Any, int]:
    """What an act returns, and by how many bytes this process grew at most."""
    Path("/proc/self/clear_refs").write_text("5")
    before = bombs.grown()
    return act(*about), bombs.grown() - before


def mistakes(run: Path, commands: list[str]) -> list[str | None]:
    return [mistake(run, command) for command in commands]


def checkpointed(run: Path) -> Any:
    return RunDirectory(Store(str(run))).load_steps(2)


def put(run: Path, name: str, content: bytes) -> None:
    """A table of the first shard, as its record has it."""
    path = run / name / "00000.parquet"
    path.write_bytes(content)
    record = unseal((run / "shards/00000.json").read_bytes())
    assert record is not None
    record["tables"][name] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "version": ""}
    with contextlib.suppress(pa.ArrowException):
        record["tables"][name]["rows"] = pq.read_metadata(io.BytesIO(content)).num_rows
    (run / "shards/00000.json").write_bytes(seal(record))


def table(run: Path, name: str, **columns: Any) -> bytes:
    """The first shard's table with other columns (or all rows of `columns`, where those are more)."""
    there = pq.read_table(run / name / "00000.parquet")
    rows = max(map(len, columns.values()))
    found = {
        column: columns.get(
            column, there[column] if len(there) == rows else pa.array([there[column][0].as_py()] * rows)
        )
        for column in there.schema.names
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(found), sink, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False)
    return sink.getvalue().to_pybytes()


LONG = "x" * 300_000
HOSTILE: dict[str, tuple[str, str, Callable[[Path], bytes]]] = {
    "a text in every row": (
        "solutions",
        "no table of a run is packed so densely",
        lambda run: table(run, "solutions", solution=bombs.repeated(LONG, 100_000)),
    ),
    "a problem in every row": (
        "solutions",
        "no table of a run is packed so densely",
        lambda run: table(run, "solutions", problem=bombs.repeated(LONG, 100_000)),
    ),
    "ids without end": (
        "steps",
        "no table of a run is packed so densely",
        lambda run: table(run, "steps", token_ids=bombs.lists(pa.array(np.zeros(1 << 27, np.int32)), 1 << 20)),
    ),
    "a page of a cell": ("solutions", "is 200,000,", lambda run: table(run, "solutions", problem=["x" * 200_000_000])),
    "numbers for text": ("solutions", "column solution is", lambda run: table(run, "solutions", solution=[1, 2, 3])),
    "text for numbers": ("solutions", "column steps is", lambda run: table(run, "solutions", steps=["a", "b", "c"])),
    "lists for text": ("steps", "column text is", lambda run: table(run, "steps", text=[["a"]] * 12)),
    "structs for numbers": ("steps", "column tokens is", lambda run: table(run, "steps", tokens=[{"a": 1}] * 12)),
    "times for numbers": (
        "steps",
        "column step is",
        lambda run: table(run, "steps", step=pa.array([0] * 12, pa.date32())),
    ),
    "beyond its bits": ("solutions", "cannot be read", lambda run: table(run, "solutions", steps=[1 << 40, 1, 1])),
    "nothing where a value must be": (
        "solutions",
        "cannot be read",
        lambda run: table(run, "solutions", problem_id=["a", None, "b"]),
    ),
    "no Parquet": ("solutions", "not a whole Parquet file", lambda run: b"problem,solution\n1,2\n" * 9),
    "half of one": ("steps", "not a whole Parquet file", lambda run: (run / "steps/00000.parquet").read_bytes()[:-9]),
    "nothing": ("steps", "not a whole Parquet file", lambda run: b""),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_table_that_is_none_of_a_run(kind: str, run: Path, pool: ProcessPool) -> None:
    name, wanted, make = HOSTILE[kind]
    content = make(run)
    assert len(content) < 8 << 20
    put(run, name, content)
    commands = ["show", "report", "export"]  # of which some do not read the column

    said, more = pool.schedule(grown, args=(mistakes, run, commands), timeout=120).result()
    assert more < MOST
    assert mistake(run, "status") is None
    found = [line for line in said if line and "no problem is called p1" not in line]
    assert found
    for line in found:
        assert wanted in line
        assert f"{name}/00000.parquet" in line


def test_a_table_of_more_rows_than_its_record_has(run: Path, pool: ProcessPool) -> None:
    put(run, "steps", table(run, "steps", step=pa.array(np.arange(1_000_000) % 4)))
    record = unseal((run / "shards/00000.json").read_bytes())
    assert record is not None
    record["tables"]["steps"]["rows"] = 12
    (run / "shards/00000.json").write_bytes(seal(record))
    said, more = pool.schedule(grown, args=(mistakes, run, ["report", "export"]), timeout=120).result()
    assert [line and line.partition(": ")[2] for line in said] == ["has 1,000,000 rows, but must have 12"] * 2
    assert more < 1 << 28


@pytest.mark.parametrize("content", [b"", b"x" * 10_000_000])
def test_a_table_that_was_replaced_since_the_record_was_read(content: bytes, run: Path) -> None:
    output = RunDirectory(Store(str(run)))
    record = output.records().good[0]
    (run / "steps/00000.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"steps/00000\.parquet: (differs from its record|has more than)"):
        committed_table(output, record, "steps")


def test_a_checkpoint_that_is_a_bomb_counts_as_not_written(run: Path, pool: ProcessPool) -> None:
    content = table(run, "steps", text=bombs.repeated(LONG, 100_000))
    os.makedirs(run / "checkpoints/00002")
    digest = hashlib.sha256(content).hexdigest()[:16]
    (run / f"checkpoints/00002/x-{digest}.parquet").write_bytes(content)
    found, more = pool.schedule(grown, args=(checkpointed, run), timeout=120).result()
    assert found == ([], [])
    assert more < MOST


def test_columns_that_readers_do_not_know_do_no_harm(run: Path) -> None:
    content = pa.BufferOutputStream()
    there = pq.read_table(run / "steps/00000.parquet")
    pq.write_table(there.append_column("more", bombs.repeated(LONG, len(there))), content, compression="zstd")
    put(run, "steps", content.getvalue().to_pybytes())
    assert [mistake(run, command) for command in COMMANDS] == [None] * 4
    assert {*STEPS.names} | {"more"} == {*pq.read_schema(run / "steps/00000.parquet").names}
