"""What readers make of files that are not as they were written: run in processes of their own, which may crash or hang.

A reader may turn a file down with UserError in one line, or read it; what it reads must be consistent, and of files
that carry a checksum it must be what was written.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import functools
import json
import logging
import resource
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from mutations import mutated

from schemas.config import Config, InputConfig
from schemas.tables import STEPS
from tasks.configuration.identity import differences
from tasks.configuration.parsing import dump_config, parse_config
from tasks.errors import UserError
from tasks.output import claims, onlookers
from tasks.output.config_file import load_config
from tasks.output.directory import Identity, RunDirectory
from tasks.output.liveness import LivenessTracker
from tasks.output.session import Session
from tasks.problems.importing import FORMATS, import_problems
from tasks.problems.parquet import problem_file
from tasks.problems.reader import shards
from tasks.problems.survey import survey
from tasks.storage.store import Store
from tasks.storage.stores import Stores

LOCAL = Stores()
MEMORY = 16 << 30
"""Bytes of address space: what wants more gets an error, not the machine."""


def prepare() -> None:
    """Called once in each process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()


def outcomes(kind: str, seeds: list[int]) -> list[tuple[int, str]]:
    """What became of each seed: 'read', 'told', or a traceback."""
    found = []
    for seed in seeds:
        try:
            with tempfile.TemporaryDirectory() as folder:
                found.append((seed, READERS[kind](seed, Path(folder))))
        except Exception:
            found.append((seed, traceback.format_exc()))
    return found


def mistake(error: UserError) -> str:
    """A UserError as users should meet it."""
    message = str(error)
    assert message.isprintable(), message
    assert 0 < len(message) < 1500, message
    return "told"


# --- configurations

CONFIGS = [
    b"""# a job
input: {path: problems.parquet, limit: null}
output: {path: s3://bucket/runs/x}
storage: {endpoint_url: "http://127.0.0.1:9000", region: us-east-1}
prompt:
  system: |
    Please reason step by step,
    and put your final answer within \\boxed{}.
  user: "{problem}\\n{choices}"
  separator: "\\n\\n"
models:
  draft: &model
    model: nobody/draft
    params: 1.5e9
    engine: {kind: scripted, max_model_len: 4096, device_ids: [0, 1], seconds: 0.5}
  target: *model
  prm: {model: nobody/prm, format: qwen, trust_remote_code: false}
decoding: {method: rsd, samples: 4, temperature: 0.7, top_p: 0.95, seed: 17, max_steps: 0x64, max_tokens: 4_096}
run: {shard_size: 1024, in_flight: 768}
""",
    yaml.safe_dump(
        {
            "input": {"path": "p"},
            "output": {"path": "o"},
            "models": {role: {"model": "a/b"} for role in ("draft", "target", "prm")},
            "decoding": {"accept": {"rule": "logistic", "threshold": 0.5, "alpha": 3.0}},
            "prompt": {"template": "é🦀 {user}:\x85", "separator": "\r\n"},
        }
    ).encode(),
    json.dumps(
        {
            "input": {"path": "/a/b.parquet"},
            "output": {"path": "/c"},
            "models": {"target": {"model": "x", "engine": {"kind": "vllm", "x": {"y": [1.5, None, True, "z"]}}}},
            "decoding": {"method": "target"},
        },
        indent=1,
    ).encode(),
]


def config(seed: int, folder: Path) -> str:
    (folder / "job.yaml").write_bytes(mutated(CONFIGS[seed % len(CONFIGS)], seed, CONFIGS))
    try:
        found = load_config(str(folder / "job.yaml"), [])
    except UserError as error:
        return mistake(error)
    assert differences(parse_config(dump_config(found), [], "config.yaml"), found) == []
    return "read"


# --- problem sets


@functools.cache
def problem_sets() -> list[bytes]:
    """One table in many layouts."""
    n = 120
    texts = [None if i % 17 == 3 else f"What is {i} times {i % 7}? " + "é🦀\n" * (i % 5) for i in range(n)]
    plain = {"problem": texts, "problem_id": [None if i % 11 == 5 else f"p{i % 100}" for i in range(n)]}
    more = plain | {
        "answer": [str(i) if i % 3 else None for i in range(n)],
        "choices": [[f"c{j}" for j in range(i % 4)] if i % 5 else None for i in range(n)],
        "level": pa.array([i % 5 for i in range(n)], pa.int8()),
        "when": pa.array([datetime.datetime(2024, 1, 1 + i % 28) for i in range(n)], pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal(i) for i in range(n)], pa.decimal128(20, 3)),
        "nested": [{"a": i, "b": [{"c": b"x" * (i % 3)}]} if i % 4 else None for i in range(n)],
        "map": pa.array([[("k", float(i))] for i in range(n)], pa.map_(pa.string(), pa.float32())),
        "flag": [bool(i % 2) for i in range(n)],
    }
    large = pa.table(more).cast(
        pa.schema([(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in pa.table(more).schema])
    )
    delta = {"problem": "DELTA_BYTE_ARRAY", "problem_id": "DELTA_LENGTH_BYTE_ARRAY"}
    layouts: list[tuple[Any, dict[str, Any]]] = [
        (plain, {"compression": "none", "use_dictionary": False}),
        (plain, {"compression": "snappy"}),
        (plain, {"compression": "gzip", "data_page_version": "2.0", "row_group_size": 13}),
        (plain, {"compression": "lz4", "use_dictionary": False, "column_encoding": delta}),
        (plain, {"compression": "brotli", "write_page_checksum": True, "write_page_index": True}),
        (plain, {"compression": "none", "write_statistics": False, "store_schema": False}),
        (more, {"compression": "zstd", "row_group_size": 50}),
        (more, {"compression": "none", "data_page_size": 300, "write_batch_size": 10}),
        (large, {"compression": "snappy", "data_page_version": "2.0", "use_compliant_nested_type": False}),
    ]
    written = []
    for columns, options in layouts:
        sink = pa.BufferOutputStream()
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink, **options)
        written.append(sink.getvalue().to_pybytes())
    return written


def problems(seed: int, folder: Path) -> str:
    sets = problem_sets()
    path = folder / "set" / "p.parquet"
    path.parent.mkdir()
    path.write_bytes(mutated(sets[seed % len(sets)], seed, sets))
    if seed % 4 == 0:
        (path.parent / "a.parquet").write_bytes(sets[0])
    input = InputConfig(path=str(path.parent), limit=50 if seed % 8 == 1 else None)
    problem_file.BATCH, size = [(4096, 1000), (7, 13)][seed % 2]
    try:
        found = survey(input, LOCAL, lambda rows: [len(row["problem"]) > 300 for row in rows])
        streamed = list(shards(found, LOCAL, size, lambda number: True))
    except UserError as error:
        return mistake(error)
    assert [number for number, _, _ in streamed] == list(range(-(-found.rows // size)))
    assert sum(len(good) + len(bad) for _, good, bad in streamed) == found.rows == sum(f.rows for f in found.files)
    usable = [problem for _, good, _ in streamed for problem in good]
    assert len(usable) == found.usable
    assert len({problem.problem_id for problem in usable}) == len(usable)
    for problem in usable:
        assert problem.text.strip()
        assert len(problem.problem_id) > 0
        (problem.text + problem.problem_id + (problem.reference or "") + "".join(problem.choices or [])).encode()
        json.loads((problem.metadata or "{}").encode())
    rejected = [row for _, _, bad in streamed for row in bad]
    assert sum(found.rejected().values()) == len(rejected)
    # what the readers hand on fits the tables
    pa.array([row.problem_id for row in rejected], pa.string())
    pa.array([row.problem for row in rejected], pa.string())
    return "read"


# --- benchmark files

RECORDS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "What is 1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"},
    "math500": {"problem": "2^2?", "answer": "4", "subject": "Algebra", "level": 2, "unique_id": "t/1"},
    "mmlu_stem": {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 2, "subject": "x"},
    "jsonl": {"problem": "é 🦀", "id": 7, "answer": 1.5, "x": {"y": [1, None, {"z": "\n"}]}, "choices": None},
}
NUMBERS = b'{"problem": {}, "answer": [1e400, -0.0, 99999999999999999999]}'
assert set(RECORDS) <= set(FORMATS)


def imports(seed: int, folder: Path) -> str:
    format = list(RECORDS)[seed % len(RECORDS)]
    ids = ("id", "unique_id")
    lines = [{k: f"{v}{n}" if k in ids else v for k, v in RECORDS[format].items()} for n in range(8)]
    data = "\n".join(json.dumps(line, ensure_ascii=seed % 3 == 0) for line in lines).encode()
    (folder / "b.jsonl").write_bytes(mutated(data, seed, [NUMBERS]))
    dest = folder / "p.parquet"
    try:
        done = import_problems(format if seed % 10 else "jsonl", str(folder / "b.jsonl"), str(dest), LOCAL)
    except UserError as error:
        assert not dest.exists()
        return mistake(error)
    found = survey(InputConfig(path=str(dest), answers="text"), LOCAL, lambda rows: [False] * len(rows))
    assert found.rows == done.rows
    assert sum(len(good) + len(bad) for _, good, bad in shards(found, LOCAL, 3, lambda n: True)) == done.rows
    return "read"


# --- a run's own files


@functools.cache
def run() -> tuple[Config, Identity, dict[str, bytes]]:
    """The files of a run with a committed shard and one that is open, and a process at work on it."""
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(CONFIGS[2].decode(), [], "job.yaml")
        output = RunDirectory(Store(folder))
        identity = output.begin(config, "f" * 64, {"shards": 2, "solutions": 6})
        steps = pa.Table.from_pylist([_step(n) for n in range(6)], schema=STEPS)
        usage = {"target": {"requests": 6, "generated": 42, "prefilled": 7, "cached": 0}}
        counts = {"solutions": 3, "failed": 0, "steps": 6}
        output.commit(0, identity, {"solutions": steps.select(["problem_id"]), "steps": steps}, counts, usage)
        session = Session(output.store)
        session.name = "0123456789ab"
        session.claim(1)
        owner = claims.Owner(session.name, "host", 123, 1.5e9, 1.5e9, 1.5e9, {"target": 42}, False)
        output.store.write(f"checkpoints/sessions/{session.name}.json", json.dumps(owner._asdict()).encode())
        for name in ("first", "second"):
            output.save_steps(1, name, steps, usage)
        files = {key: output.store.read(key) for key in output.store.keys("")}
        return config, identity, files


def _step(n: int) -> dict[str, Any]:
    blanks: dict[Any, Any] = {pa.string(): "x", pa.bool_(): True}
    row = {f.name: blanks.get(f.type, [1, 2] if pa.types.is_list(f.type) else 0) for f in STEPS}
    return row | {"problem_id": f"p{n}", "step": n, "text": f"Step {n}.\n\n"}


def run_files(seed: int, folder: Path) -> str:
    config, identity, files = run()
    key = sorted(files)[seed % len(files)]
    changed = mutated(files[key], seed, list(files.values()))
    store = Store(str(folder))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(changed if name == key else content)
    whole = RunDirectory(Store(str(_unchanged())))
    output = RunDirectory(store)
    records, before = output.records(), whole.records()
    for shard, record in records.good.items():
        assert record == before.good[shard], "another record"
    if key.startswith(("shards/", "steps/", "solutions/")) and changed != files[key]:
        assert records.good == {} or json.loads(changed) == json.loads(files[key])
        assert len(records.damaged) == len(before.good) - len(records.good)
    steps, _ = output.load_steps(1)
    known = [row["problem_id"] for row in whole.load_steps(1)[0]]
    assert [row["problem_id"] for row in steps] in (known, known[: len(known) // 2])
    for found in (output.run(), output.manifest()):
        assert found is None or found == whole.run()
    claims.holders(store, LivenessTracker())
    claims.sessions(store)
    Session(store).claim(1)
    with contextlib.suppress(UserError):
        output.check_same(config, identity.input)
    from flows.status import lines, status

    onlookers.WATCH = 0.0
    try:
        lines(status(str(folder), LOCAL))
    except UserError as error:
        return mistake(error)
    try:
        output.begin(config, identity.input, {"shards": 2, "solutions": 6})
        output.open_shard(0)
    except UserError as error:
        return mistake(error)
    return "read"


@functools.cache
def _unchanged() -> Path:
    folder = Path(tempfile.mkdtemp())
    for name, content in run()[2].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


READERS: dict[str, Callable[[int, Path], str]] = {
    "configurations": config,
    "problem sets": problems,
    "benchmark files": imports,
    "run files": run_files,
}
