"""The output of a run: in which order it is written, and what proves what.

Order of writes: config.yaml; then for each shard its checkpoints, its tables, its record; the manifest last. A record
is the only proof that a shard is done, the manifest the only proof that the run is. Both, and every checkpoint, have a
checksum, so that a file that is half written or changed is never taken for whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import Config
from schemas.tables import STEPS
from tasks.configuration.day import on_day
from tasks.configuration.identity import Identity, Models, differences
from tasks.configuration.parsing import dump_config, parse_config
from tasks.errors import DiskFull, StoreError, UserError
from tasks.models.chat import today
from tasks.models.checkpoint_files import parsed
from tasks.output import shapes
from tasks.output.agreement import check_agree, check_day_is_kept, check_models, check_places, listed, tells_models
from tasks.output.claims import claims_of
from tasks.output.kinds import holds_run
from tasks.output.made_with import made_with, otherwise
from tasks.problems.parquet.whole_table import whole_table
from tasks.storage.sealed import FORMAT, format_of, seal, unseal
from tasks.storage.store import Stat, Store

USAGE = b"stepwave.usage"
RUN = "checkpoints/run.json"
STALE = "checkpoints/stale.json"
"""Records that do not hold, for those who go by the names of records alone."""
HASTE = 30.0
"""Seconds for which one write of a commit is tried, before it is asked again whose the shard is: well below the time
after which a process counts as dead (liveness.DEAD)."""


@dataclass(frozen=True)
class Records:
    """What the records of a run say."""

    good: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Shard to its record, for those whose tables are there as recorded."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with others, a line each."""

    def open(self, shards: int, retries: int) -> list[int]:
        """The shards to be made: those without a good record, and those whose failed rows are to be tried again."""
        return [n for n in range(shards) if n not in self.good or _to_retry(self.good[n], retries)]


class ShardTaken(Exception):
    """Another process has taken over a shard; what we made of it is not committed."""


class RunDirectory:
    """One output. `begin` before anything is written to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read: dict[tuple[str, Stat], bytes] = {}
        """Records as they were last read, by the version that the store gave them."""
        self.verified: set[tuple[str, str, Stat]] = set()
        """Tables whose bytes were read and found to be those of their record: key, checksum, size and version."""

    # --- whose output it is

    def check_same(self, config: Config, input_fingerprint: str | None = None, models: Models | None = None) -> None:
        """Raises UserError where the output holds another configuration or, where those are given, another input or
        other models; also where its own files do not agree."""
        found = self.config()
        if found is None:
            return
        there, text = found
        self.check_format()
        told = self._told()
        try:
            check_agree(self.store.path(), there, text, told)
        except UserError:
            check_agree(self.store.path(), there, text, self._told(records=True))  # which of them is the odd one?
            raise
        places = not all(map(tells_models, told.values()))  # nothing else was kept of its models
        if unlike := differences(there, config, places=places):
            raise UserError(
                f"{self.store.path()}: holds a run of another configuration ({listed(unlike)}); give another "
                "output.path"
            )
        if input_fingerprint is not None and any(of["input_fingerprint"] != input_fingerprint for of in told.values()):
            raise UserError(
                f"{self.store.path()}: holds a run of another input (the content of input.path changed since); "
                "give another output.path"
            )
        check_models(self.store.path(), told.values(), models or {})

    def check_whole(self, records: Records, models: Models | None = None) -> None:
        """Raises UserError where one of its records is not of the run that config.yaml and the other files tell of, or
        tells of other models."""
        if (found := self.config()) is None:
            return
        told = self._told(records=False) | {shard_key(n): record for n, record in sorted(records.good.items())}
        check_agree(self.store.path(), *found, told)
        check_places(self.store.path(), found[0], told.values())
        check_models(self.store.path(), told.values(), models or {})

    def dated(self, config: Config) -> Config:
        """A configuration whose prompts are of a day: its own where it gives one, else the run's, else today."""
        found = None if config.prompt.date else self.config()
        return on_day(config, (found and found[0].prompt.date) or today())

    def config(self) -> tuple[Config, str] | None:
        """The configuration of the run that is here, and its text; None where there is nothing. Raises UserError where
        there is something else, or it cannot be read."""
        existing = self.store.read_or_none("config.yaml")
        if existing is None:
            if not (strangers := self.store.keys("")):
                return None
            existing = self.store.read_or_none("config.yaml")  # another process may have begun just now
            if existing is None:
                raise UserError(self._without_config(strangers))
        text = existing.decode("utf-8", "replace")
        try:
            return parse_config(text, [], self.store.path("config.yaml")), text
        except UserError as error:
            self.check_format()
            raise UserError(
                f"{error}; it is the output's own configuration, which was changed, or which another release of "
                "Stepwave wrote: put it back as it was, or give another output.path"
            ) from error

    def _without_config(self, keys: list[str]) -> str:
        if holds_run(keys):
            return (
                f"{self.store.path()}: holds a run whose config.yaml is gone; put it back as it was, or give another "
                "output.path"
            )
        return (
            f"{self.store.path()}: holds files that are not a run's (such as {keys[0]}); give output.path a place of "
            "its own"
        )

    def _told(self, records: bool | None = None) -> dict[str, dict[str, Any]]:
        """What the files say that tell of the run as a whole, and a record where `records`, or (None) where there are
        no others."""
        found = {key: told for key in (RUN, "manifest.json") if (told := self._json(key))}
        if records is False or (found and records is None):
            return found
        some = self.store.keys("shards")[:3]
        return found | next(({key: told} for key in some if (told := self._json(key))), {})

    def check_format(self) -> None:
        """Raises UserError where another version of Stepwave wrote the run: it is not to be taken for damaged."""
        for key in (RUN, "manifest.json", *self.store.keys("shards")[:1]):
            written = format_of(self.store.read_or_none(key))
            if written not in (None, FORMAT):
                raise UserError(
                    f"{self.store.path()}: holds a run that another version of Stepwave wrote (format {written}, "
                    f"here {FORMAT}); give another output.path"
                )

    def begin(
        self,
        config: Config,
        input_fingerprint: str,
        size: dict[str, int],
        retry_failed: bool = False,
        models: Models | None = None,
    ) -> Identity:
        """Write config.yaml and the run's identity unless they are there, and check that they are this run's.

        `size`: what the run is to make (shards, solutions), for those who ask how far it is. With `retry_failed` a
        finished run with failed rows is opened again for those; raises UserError where it has not finished.
        """
        self.check_same(config, input_fingerprint, models)
        if retry_failed or self.manifest() is None:
            check_day_is_kept(self.store.path(), self._told().values(), models or {})
        if not self.store.create("config.yaml", dump_config(config).encode()):
            self.check_same(config, input_fingerprint, models)  # another process may have been first
        identity = self.identity(config, input_fingerprint, models)
        if self.manifest() is None:
            self._open(identity, size, 0)
        manifest = self.manifest()  # another process may have finished the run meanwhile
        if manifest is None:
            if retry_failed and self.retries() == 0:
                raise UserError(
                    f"{self.store.path()}: this run has not finished, so no row has failed for good; run it without "
                    "--retry-failed first"
                )
        elif retry_failed and manifest["counts"]["failed"]:
            self.store.write(RUN, _run(identity, size, manifest["retries"] + 1))
            self.store.delete(["manifest.json"])
        self.check_same(config, input_fingerprint, models)
        return self.identity(config, input_fingerprint, models)

    def identity(self, config: Config, input_fingerprint: str, models: Models | None = None) -> Identity:
        """That of the run, as it began where it has."""
        ours = Identity.of(config, models or {}, input_fingerprint)
        known = next(iter(self._told().values()), None)
        return ours if known is None else ours.as_begun(known)

    def words(self) -> list[str]:
        """What is to be said of an open run that goes on here, a line each."""
        if (run := self.run()) is None:
            return []
        if not tells_models(run):
            return [
                f"{self.store.path()}: an older release of Stepwave began this run and did not keep what its models "
                "were: they are taken to be those of now"
            ]
        return [line] if (line := otherwise(run.get("made_with", {}))) else []

    def models(self) -> Models:
        """What the run's models were when it began, as far as it tells."""
        known: dict[str, Any] = next(iter(self._told().values()), {})
        return known.get("identity", {}).get("models", {})

    def reopen(self, identity: Identity, size: dict[str, int]) -> None:
        """Take back the manifest of a run that turned out not to be whole."""
        self._open(identity, size, self.retries())
        self.store.delete(["manifest.json"])

    def _open(self, identity: Identity, size: dict[str, int], retries: int) -> None:
        content = _run(identity, size, retries)
        if self._json(RUN) is None and not self.store.create(RUN, content) and self._json(RUN) is None:
            self.store.write(RUN, content)  # what is there is damaged

    def begun(self) -> bool:
        """Does any file tell of a run here?"""
        return bool(self._told())

    def run(self) -> dict[str, Any] | None:
        """What an unfinished run is to make; None where no run is open."""
        return self._json(RUN)

    def token(self, identity: Identity) -> str:
        """Another each time that the run is begun or opened again: what is known of its flow runs is under it."""
        return str((self.run() or {}).get("token", identity.run_id))

    def retries(self) -> int:
        """How often the rows that failed were taken up again."""
        known = self.run() or self.manifest() or {}
        return int(known.get("retries", 0))

    def _json(self, key: str) -> dict[str, Any] | None:
        """A JSON object as it was written; None where the file is missing, cut or changed."""
        shape = {RUN: shapes.RUN, STALE: shapes.STALE, "manifest.json": shapes.MANIFEST}.get(key, shapes.RECORD)
        return unseal(self.store.read_or_none(key), shape)

    # --- shards

    def records(self) -> Records:
        """What is done, and what is wrong with the records or tables that are not as they should be."""
        stats = self.store.stats("")
        keys = [key for key in stats if key.startswith("shards/")]
        new = self.store.read_many([key for key in keys if (key, stats[key]) not in self.read])
        known = {(key, stats[key]): self.read.get((key, stats[key]), new.get(key)) for key in keys}
        self.read = {at: content for at, content in known.items() if content is not None}  # others are gone since
        found = Records()
        for (key, _), content in self.read.items():
            record, fault = self._judged(key, content, stats)
            if fault:  # a listing is not of one moment: what was committed meanwhile looks damaged
                now = self.store.read_or_none(key)
                if now is None:
                    continue
                written = _record(now)
                tables = written["tables"].values() if written else ()
                record, fault = self._judged(key, now, {t["key"]: s for t in tables for s in self._stat(t["key"])})
            if record is None:
                found.damaged.append(fault)
            else:
                found.good[record["shard"]] = record
        return found

    def _judged(self, key: str, content: bytes | None, stats: dict[str, Stat]) -> tuple[dict[str, Any] | None, str]:
        """A record whose tables are there as recorded, or what is wrong."""
        record = _record(content)
        if record is None or key != shard_key(record["shard"]):
            return None, f"{self.store.path(key)} is not a whole record"
        wrong = next((t["key"] for t in record["tables"].values() if not self._whole(t, stats)), None)
        if wrong:
            return None, f"{self.store.path(wrong)} is missing or differs from its record"
        return record, ""

    def open_shards(self, shards: int) -> list[int]:
        """Which of so many shards are to be made."""
        return self.records().open(shards, self.retries())

    def keep_stale(self, open_shards: list[int]) -> None:
        """Tell those who use `unmade` which of the records that are there, as `records` last found them, do not hold or
        are to be made again."""
        stale = {shard_key(shard) for shard in open_shards}
        versions = {key: list(stat) for key, stat in self.read if key in stale}
        self.store.write(STALE, seal({"format": FORMAT, "records": versions}))

    def stale(self) -> dict[str, Stat]:
        """What `keep_stale` kept last."""
        kept = self._json(STALE) or {"records": {}}
        return {key: Stat(*stat) for key, stat in kept["records"].items()}

    def unmade(self, shards: int, stale: dict[str, Stat]) -> list[int]:
        """The shards to be made, told in one listing: those without a record, or with one that is still `stale`."""
        there = self.store.stats("shards")
        keys = ((n, shard_key(n)) for n in range(shards))
        return [n for n, key in keys if key not in there or there[key] == stale.get(key)]

    def record(self, shard: int) -> dict[str, Any] | None:
        """A shard's record, as far as that alone can tell."""
        return self._json(shard_key(shard))

    def _whole(self, table: dict[str, Any], stats: dict[str, Stat]) -> bool:
        """Is a table there as recorded? Its bytes are read only where the store's version of the file is another."""
        stat = stats.get(table["key"])
        if stat is None or stat.size != table["bytes"]:
            return False
        seen = (table["key"], table["sha256"], stat)
        if not (stat.version and stat.version == table["version"]) and seen not in self.verified:
            content = self.store.read_or_none(table["key"])
            if content is None or hashlib.sha256(content).hexdigest() != table["sha256"]:
                return False
            self.verified.add(seen)
        return True

    def open_shard(self, shard: int) -> bool:
        """Ready a claimed shard to be made; False where it is done.

        A record that does not hold, or whose failed rows are to be tried again, is taken back. What its steps table
        holds becomes the only checkpoint first, so that nothing is made, or counted, twice.
        """
        content = self.store.read_or_none(shard_key(shard))
        if content is None:
            return True
        if record := _record(content):
            stats = {t["key"]: stat for t in record["tables"].values() for stat in self._stat(t["key"])}
            if all(self._whole(t, stats) for t in record["tables"].values()) and not _to_retry(record, self.retries()):
                return False
            steps = record["tables"].get("steps")
            made = self.store.read_or_none(steps["key"]) if steps else None
            if made is not None and hashlib.sha256(made).hexdigest() == steps["sha256"]:
                self.store.delete(self._checkpoints(shard))  # a process that ended as it committed left them
                self.save_steps(shard, "record", whole_table(made, steps["key"], STEPS), record["computed"])
        self.store.delete([shard_key(shard)])
        return True

    def _stat(self, key: str) -> list[Stat]:
        found = self.store.stats(key).get(key)
        return [found] if found else []

    def commit(
        self,
        shard: int,
        identity: Identity,
        tables: dict[str, pa.Table],
        counts: dict[str, Any],
        usage: dict[str, Any],
        ours: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """Write a shard's tables, then its record, then drop its checkpoints. Returns the record.

        Raises ShardTaken where `ours` says, before any of these files, that another process has the shard, or where
        it has a record already. No file of these takes the place of another's: a process that wakes between asking
        and writing spoils nothing.
        """
        written = {}
        for name, table in tables.items():
            key, content = f"{name}/{shard:05d}.parquet", _parquet(table)
            while (stat := self._place(key, content, ours)) is None:  # somebody who did not come to the record left one
                if not ours() or self.store.stats(shard_key(shard)):
                    raise ShardTaken
                self.store.delete([key])
            written[name] = {
                "key": key,
                "rows": len(table),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "version": stat.version,
            }
        record = _identified(identity) | {
            "shard": shard,
            "retries": self.retries(),
            "tables": written,
            "counts": counts,
            "computed": usage,
            "made": secrets.token_hex(6),  # a record made again is another, also where a store tells by content
        }
        if self._place(shard_key(shard), seal(record), ours) is None:
            raise ShardTaken
        self.store.delete_folder(f"checkpoints/{shard:05d}")
        self.store.delete_folder(claims_of(shard))
        return record

    def _place(self, key: str, content: bytes, ours: Callable[[], bool]) -> Stat | None:
        """Create a file of a commit unless there is one. A try ends before another process could take us for dead and
        the shard over."""
        began = time.monotonic()
        while True:
            if not ours():
                raise ShardTaken
            try:
                with self.store.retry.limited(HASTE):
                    return self.store.place(key, content)
            except DiskFull:
                raise
            except StoreError:
                if time.monotonic() - began >= self.store.retry.patience:
                    raise

    # --- checkpoints

    def save_steps(self, shard: int, name: str, attempts: pa.Table, usage: dict[str, Any]) -> None:
        """Keep rows of an unfinished shard's steps table, with what it took to compute them."""
        content = _parquet(attempts.replace_schema_metadata({USAGE: json.dumps(usage).encode()}))
        self.store.write(f"checkpoints/{shard:05d}/{name}-{_digest(content)}.parquet", content)

    def load_steps(self, shard: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of the steps table, and usages, of an unfinished shard's checkpoints. A file that is not as it was
        written counts as not written."""
        attempts: list[dict[str, Any]] = []
        usages: list[dict[str, Any]] = []
        for key, content in self.store.read_many(self._checkpoints(shard)).items():
            if not key.endswith(f"-{_digest(content)}.parquet"):
                continue
            with contextlib.suppress(UserError, pa.ArrowException, ValueError, LookupError, TypeError):
                rows = whole_table(content, key, STEPS).to_pylist()
                usages.append(shapes.USAGE.validate_python(parsed(pq.read_schema(io.BytesIO(content)).metadata[USAGE])))
                attempts += rows
        return attempts, usages

    def _checkpoints(self, shard: int) -> list[str]:
        return [key for key in self.store.keys(f"checkpoints/{shard:05d}") if key.endswith(".parquet")]

    # --- the end

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a complete run; None where the run is not complete."""
        return self._json("manifest.json")

    def finish(self, identity: Identity, content: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest, and drop what only an unfinished run needs. Returns the manifest."""
        retries = max(self.retries(), *(record["retries"] for record in self.records().good.values()), 0)
        manifest = _identified(identity) | {"retries": retries} | content
        there = self.store.stats("checkpoints")
        self.store.write("manifest.json", seal(manifest))
        self._drop(there)
        return manifest

    def tidy(self) -> None:
        """Drop what only an unfinished run needs, where the run is finished."""
        there = self.store.stats("checkpoints")
        if self.manifest() is not None:
            self._drop(there)

    def _drop(self, there: dict[str, Stat]) -> None:
        """Drop files that were `there` before the manifest was: what was written since is of those who open the run
        again. What writes that were cut off left behind goes too: should one still be under way, it is begun anew."""
        now = self.store.stats("checkpoints") if there else {}
        self.store.delete([key for key, stat in there.items() if now.get(key) == stat])
        self.store.sweep("checkpoints")


def _run(identity: Identity, size: dict[str, int], retries: int) -> bytes:
    return seal(_identified(identity) | size | {"retries": retries, "token": secrets.token_hex(6)})


def shard_key(shard: int) -> str:
    """Key of a shard's record."""
    return f"shards/{shard:05d}.json"


def _to_retry(record: dict[str, Any], retries: int) -> bool:
    return record["counts"]["failed"] > 0 and record["retries"] < retries


def _identified(identity: Identity) -> dict[str, Any]:
    return {"format": FORMAT, **identity.written(), "made_with": made_with()}


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _record(content: bytes | None) -> dict[str, Any] | None:
    """A shard's record; None where it is none."""
    found = unseal(content, shapes.RECORD)
    names = found["tables"].items() if found else ()
    # each a file of its own folder
    whole = found and "failed" in found["counts"]
    return found if whole and all(table["key"].startswith(f"{name}/") for name, table in names) else None
