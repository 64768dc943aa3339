"""Whole runs in memory: the real claims, pipeline, shards and run directory, on engines that are pure functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from decoding.fakes import VOCABULARIES, FakeFormat, FakeScorer, FakeWriter
from disks import CLOCK, Crash, Disk, MemoryStore

from schemas.config import (
    Config,
    DecodingConfig,
    InputConfig,
    ModelConfig,
    ModelsConfig,
    OutputConfig,
    PrmConfig,
    RunConfig,
)
from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure, Limits
from tasks.errors import StoreError, UserError
from tasks.generation.completion import OpenRun, finish, open_run, open_work
from tasks.generation.pipeline import Pipeline
from tasks.grading import Grade, Question
from tasks.output import claims
from tasks.output import session as output_session
from tasks.output.claims import Owner
from tasks.output.directory import RunDirectory
from tasks.output.liveness import RENEW
from tasks.output.session import Session
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem
from tasks.problems.survey import survey
from tasks.storage.stores import Stores

TEXTS = ["ab", "a.b", None, None, "é", "ba", "aab", "", "b"]
"""Problems p0, p1, ...: six can be used; shards of two rows are such with two, one and none of those."""
ROLES = ("draft", "target", "prm")
Row = dict[str, Any]


def write_problems(path: str) -> None:
    table = {"problem_id": [f"p{n}" for n in range(len(TEXTS))], "problem": TEXTS, "answer": [None] * len(TEXTS)}
    pq.write_table(pa.table(table, schema=pa.schema([(name, pa.string()) for name in table])), path)


@dataclass(frozen=True)
class Layout:
    """How a run is cut. `checkpoint_seconds`: 0 keeps every step, a large number keeps what ends."""

    shard_size: int = 2
    in_flight: int = 4
    checkpoint_seconds: float = 0
    samples: int = 1
    seed: int = 0


class SmallPlan(Plan):
    def prompts(self, problems: list[Problem]) -> dict[str, list[list[int]]]:
        """Each begins with an id of the problem's own."""
        return {
            role: [[1000 + int(p.problem_id[1:]), *self.roles[role].vocabulary.encode(p.text)] for p in problems]
            for role in self.roles
        }


@functools.cache
def plan_of(problems: str, layout: Layout) -> SmallPlan:
    model = ModelConfig(model="none")
    config = Config(
        input=InputConfig(path=problems),
        output=OutputConfig(path="memory"),
        models=ModelsConfig(draft=model, target=model, prm=PrmConfig(model="none")),
        decoding=DecodingConfig(samples=layout.samples, seed=layout.seed, max_steps=4, max_tokens=60),
        run=RunConfig(
            shard_size=layout.shard_size,
            in_flight=layout.in_flight,
            checkpoint_seconds=layout.checkpoint_seconds,
        ),
    )
    vocabulary = VOCABULARIES["pieces"]
    role: Any = SimpleNamespace(
        vocabulary=vocabulary,
        params=3.0,
        checkpoint=SimpleNamespace(name="none", parts={}),
        engine=SimpleNamespace(window=500),
        share=None,
    )
    limits = Limits(4, 60, dict.fromkeys(ROLES, 500), tag_tokens=1)
    found = survey(config.input, Stores.of(config), lambda rows: [False] * len(rows))
    return SmallPlan(config, dict.fromkeys(ROLES, role), FakeFormat(vocabulary), limits, found)


@dataclass
class Health:
    """Of a process's engines. Counts what they do."""

    refused: frozenset[int] = frozenset()
    """Numbers of the problems that they fail."""
    at_first: bool = True
    """Do they fail those at the first step or only later."""
    written: dict[str, int] = field(default_factory=dict)
    """Role to tokens."""
    asked: set[int] = field(default_factory=set)
    """Numbers of the problems of which anything was asked."""
    kept: Mapping[int, int] = field(default_factory=dict)
    """Seeds of what nobody may ask for."""

    def refuses(self, prompt: list[int]) -> bool:
        number = prompt[0] - 1000
        self.asked.add(number)
        return number in self.refused and (self.at_first or len(prompt) > 8)


class Writer(FakeWriter):
    def __init__(self, role: str, health: Health) -> None:
        super().__init__(role, VOCABULARIES["pieces"], eos_rate=0.05)
        self.health = health

    async def ask(self, asks: Sequence[StepRequest], answered: Any = None) -> list[Written | Failure]:
        self.asks.clear()
        assert not [ask for ask in asks if ask.seed in self.health.kept], "what is on the disk is made again"
        found = await super().ask(asks)
        refused = [self.health.refuses(ask.prompt) for ask in asks]
        answers: list[Written | Failure] = [
            Failure("refused") if no else answer for no, answer in zip(refused, found, strict=True)
        ]
        tokens = sum(len(a.token_ids) for a in answers if isinstance(a, Written))
        self.health.written[self.role] = self.health.written.get(self.role, 0) + tokens
        return answers


class Scorer(FakeScorer):
    async def ask(self, looks: Sequence[ScoreRequest], answered: Any = None) -> list[Scored | Failure]:
        self.prompts.clear()
        return await super().ask(looks)


class AtOnce:
    """A grader that has no process. Its verdicts tell who graded, so that no two processes write the same tables."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False

    def grade(self, solutions: list[tuple[str, str | None, list[str] | None]]) -> list[Grade]:
        if self.closed:
            raise concurrent.futures.CancelledError
        return [Grade(self.name, None) for _ in solutions]

    def equal(self, pairs: Sequence[tuple[Question, str, str]]) -> list[bool]:
        return [one == other for _, one, other in pairs]

    def close(self) -> None:
        self.closed = True


# --- one process, as flows/lifecycle/run.py has it


async def generate(
    store: MemoryStore,
    plan: Plan,
    health: Health,
    retry_failed: bool = False,
    opened: Callable[[Session], None] = lambda session: None,
) -> Row:
    output = RunDirectory(store)
    output.check_same(plan.config)
    run = open_run(plan, output, retry_failed)
    if run.manifest is not None:
        return run.manifest
    async with output_session.open_session(store) as session:
        opened(session)
        async for work in open_work(run, session):
            if work.others:
                await wait_for(work.others, session, store)
            else:
                await fill(run, session, work.free, health)
        return finish(run, session, {})


async def wait_for(others: dict[int, Owner], session: Session, store: MemoryStore) -> None:
    polls = iter(range(1000))
    while others.keys() <= claims.holders(store, session.living).keys():
        assert next(polls, None) is not None, "waits for nobody"
        turns = store.memory.turns
        if turns.alone > 0 or not turns.give_way(store.memory.name):
            turns.alone -= 1
            CLOCK.now += RENEW
            store.memory.beside = True
            session.beat()
            store.memory.beside = False


async def fill(run: OpenRun, session: Session, shards: list[int], health: Health) -> None:
    engines = {"draft": Writer("draft", health), "target": Writer("target", health), "prm": Scorer()}
    grader: Any = AtOnce(session.name)
    await Pipeline(run.plan, run.output, run.identity, session, engines, grader).run(shards)


@dataclass
class Process:
    """A process of a run, from its start to its end."""

    store: MemoryStore
    plan: Plan
    health: Health = field(default_factory=Health)
    retry_failed: bool = False
    session: Session | None = None
    manifest: Row | None = None
    ended: BaseException | None = None
    """What ended it before the run was done."""

    def run(self) -> Process:
        try:
            self.manifest = asyncio.run(self._main())
        except (Crash, StoreError, UserError, asyncio.CancelledError) as error:
            self.ended = error
        return self

    async def _main(self) -> Row:
        task = asyncio.current_task()
        assert task is not None
        self.store.memory.interrupt = task.cancel
        return await generate(self.store, self.plan, self.health, self.retry_failed, self._opened)

    def _opened(self, session: Session) -> None:
        self.session = session

    def beat(self) -> None:
        """Show a sign of life, as a thread does every so many seconds elsewhere."""
        if self.session and not self.session.closed.is_set() and not self.session.lock.locked():
            self.store.memory.beside = True
            self.session.beat()
            self.store.memory.beside = False


# --- what is on the disk


def sealed(content: bytes | None) -> Row | None:
    """A record or manifest as the contract has it: JSON that holds a checksum of the rest."""
    try:
        value = json.loads(content or b"")
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    checksum = value.pop("checksum", None)
    return value if checksum == hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest() else None


class Reader:
    """Reads a disk as somebody would who knows the contract and nothing of Stepwave's code."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.known: dict[tuple[str, int, str], Any] = {}

    def _once(self, key: str, read: Callable[[bytes], Any]) -> Any:
        """What `read` makes of a file, which is read again only when it was written again."""
        if key not in self.disk.files:
            return None
        at = (key, self.disk.versions[key], read.__qualname__)
        if at not in self.known:
            self.known[at] = read(self.disk.files[key])
        return self.known[at]

    def sealed(self, key: str) -> Row | None:
        return self._once(key, sealed)

    def records(self) -> dict[int, Row]:
        found = {key: self.sealed(key) for key in self.disk.below("shards")}
        return {record["shard"]: record for record in found.values() if record}

    def versions(self, record: Row) -> list[int]:
        return [self.disk.versions.get(table["key"], 0) for table in record["tables"].values()]

    def whole(self, record: Row) -> bool:
        """Are all tables there with the record's checksums?"""
        digests = {t["key"]: self._once(t["key"], lambda c: hashlib.sha256(c).hexdigest()) for t in _tables(record)}
        return all(digests[table["key"]] == table["sha256"] for table in _tables(record))

    def believed(self, record: Row) -> bool:
        """Would sizes and versions alone say that the tables are the record's?"""
        at = {key: self.disk.stat(key) for key in self.disk.files}
        return all(t["key"] in at and (t["bytes"], t["version"]) == at[t["key"]] for t in _tables(record))

    def seeds(self, key: str) -> dict[int, int]:
        """Seed of each attempt in a checkpoint or steps table, and its shard."""

        def read(content: bytes) -> dict[int, int]:
            rows = pq.ParquetFile(io.BytesIO(content)).read(["seed", "shard"]).to_pylist()
            return {row["seed"]: row["shard"] for row in rows}

        return self._once(key, read) or {}

    def tables(self, name: str) -> list[Row]:
        rows: list[Row] = []
        for key in self.disk.below(name):
            rows += pq.ParquetFile(io.BytesIO(self.disk.files[key])).read().to_pylist()
        return rows


def _tables(record: Row) -> list[Row]:
    return list(record["tables"].values())


class Witness:
    """Looks at the disk after every change of any file, and raises AssertionError at the first broken promise."""

    def __init__(self, disk: Disk, shards: int, *, overslept: bool = False) -> None:
        self.disk, self.shards, self.overslept, self.reader = disk, shards, overslept, Reader(disk)
        """`overslept`: processes may wake after they were taken for dead; what they spoil must be found out."""
        self.committed: dict[int, tuple[Row, list[int]]] = {}
        """Shard to its record and its tables' versions, where they are whole."""
        self.kept: dict[int, int] = {}
        """Seeds of the attempts that are on the disk, and their shard: nobody may ask for them again."""
        self.spoiled: set[tuple[int, int]] = set()
        """Shard and version of each record that was seen without its tables, if only for a while."""
        self.excused: set[int] = set()
        """Shards that were damaged from outside, and not made again yet."""
        disk.watch = self.look
        for key in ("", *disk.below("steps")):
            self.look(key)

    def look(self, key: str) -> None:
        if key.startswith(("checkpoints/", "steps/")) and key.endswith(".parquet"):
            self.kept |= self.reader.seeds(key)
        records = self.reader.records()
        whole = {n: (r, self.reader.versions(r)) for n, r in records.items() if self.reader.whole(r)}
        self.excused -= whole.keys()
        for number in records.keys() - whole.keys() - self.excused:
            assert self.overslept, f"{key}: shard {number} has a record, but not its tables"
            assert not self.reader.believed(records[number]), f"{key}: shard {number} looks whole and is not"
            self.spoiled.add((number, self.disk.versions[f"shards/{number:05d}.json"]))
        for number, (record, versions) in self.committed.items():
            if whole.get(number) == (record, versions) or number in self.excused or self.overslept:
                continue
            retry = (self.reader.sealed("checkpoints/run.json") or {}).get("retries", 0)
            taken_back = f"shards/{number:05d}.json" not in self.disk.files and self.reader.versions(record) == versions
            may_be = record["counts"]["failed"] > 0 and record["retries"] < retry
            assert taken_back, f"{key}: shard {number} was committed, and is changed"
            assert may_be, f"{key}: shard {number} was committed, and is taken back"
        self.committed = whole
        if self.reader.sealed("manifest.json") and not self.overslept:
            missing = set(range(self.shards)) - whole.keys() - self.excused
            assert not missing, f"{key}: shards {missing} are not whole, but the manifest is there"

    def damage(self, key: str, content: bytes | None) -> None:
        """Change a file, or remove it, from outside."""
        self.disk.watch = lambda _: None
        if content is None:
            self.disk.remove(key)
        else:
            self.disk.put(key, content)
        self.excused |= {n for n, (r, _) in self.committed.items() if self.reader.records().get(n) != r}
        self.excused |= {n for n, (r, _) in self.committed.items() if not self.reader.whole(r)}
        if found := re.match(r"(?:(?:checkpoints|steps)/(\d+).*parquet|shards/(\d+).json)$", key):
            lost = int(found[1] or found[2])
            for seed in [seed for seed, shard in self.kept.items() if shard == lost]:
                del self.kept[seed]
        self.disk.watch = self.look
        self.look("")
