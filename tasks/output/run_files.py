"""What the files of an output say of its run. Nothing here writes.

A record is the only proof that a shard is done, the manifest the only proof that the run is. Both, and every
checkpoint, have a checksum, so that a file that is half written or changed is never taken for whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError
from tasks.output import shapes
from tasks.output.kinds import holds_run
from tasks.storage.sealed import FORMAT, format_of, unseal
from tasks.storage.store import Stat, Store

if TYPE_CHECKING:
    from schemas.config import Config
    from tasks.configuration.identity import Models

RUN = "checkpoints/run.json"
STALE = "checkpoints/stale.json"
"""Records that do not hold, for those who go by the names of records alone."""


@dataclass(frozen=True)
class Records:
    """What the records of a run say."""

    good: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Shard to its record, for those whose tables are there as recorded."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with others, a line each."""

    def open(self, shards: int, retries: int) -> list[int]:
        """The shards to be made: those without a good record, and those whose failed rows are to be tried again."""
        return [n for n in range(shards) if n not in self.good or to_retry(self.good[n], retries)]


class RunFiles:
    """One output, read. What only some commands need is imported where they need it: `stepwave status` is to be
    quick."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read: dict[tuple[str, Stat], bytes] = {}
        """Records as they were last read, by the version that the store gave them."""
        self.verified: set[tuple[str, str, Stat]] = set()
        """Tables whose bytes were read and found to be those of their record: key, checksum, size and version."""

    # --- the run

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
        from tasks.configuration.parsing import parse_config

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

    def check_whole(self, records: Records, models: Models | None = None) -> None:
        """Raises UserError where one of its records is not of the run that config.yaml and the other files tell of, or
        tells of other models."""
        told = self._told(records=False) | {shard_key(n): record for n, record in sorted(records.good.items())}
        if models is None and self._is_unedited(told):
            return
        if (found := self.config()) is None:
            return
        from tasks.output import agreement

        agreement.check_agree(self.store.path(), *found, told)
        agreement.check_places(self.store.path(), found[0], told.values())
        agreement.check_models(self.store.path(), told.values(), models or {})

    def _is_unedited(self, told: dict[str, dict[str, Any]]) -> bool:
        """True if all these files were written for one run, and with config.yaml as it is now."""
        content = self.store.read_or_none("config.yaml")
        if content is None or len({of["run_id"] for of in told.values()}) != 1:
            return False
        here = text_digest(content)
        return all(of.get("config_yaml") == here for of in told.values())

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

    def models(self) -> Models:
        """What the run's models were when it began, as far as it tells."""
        known: dict[str, Any] = next(iter(self._told().values()), {})
        return known.get("identity", {}).get("models", {})

    def begun(self) -> bool:
        """Does any file tell of a run here?"""
        return bool(self._told())

    def run(self) -> dict[str, Any] | None:
        """What an unfinished run is to make; None where no run is open."""
        return self._json(RUN)

    def retries(self) -> int:
        """How often the rows that failed were taken up again."""
        known = self.run() or self.manifest() or {}
        return int(known.get("retries", 0))

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a complete run; None where the run is not complete."""
        return self._json("manifest.json")

    def _json(self, key: str) -> dict[str, Any] | None:
        """A JSON object as it was written; None where the file is missing, cut or changed."""
        shape = {RUN: shapes.RUN, STALE: shapes.STALE, "manifest.json": shapes.MANIFEST}.get(key, shapes.RECORD)
        return unseal(self.store.read_or_none(key), shape)

    # --- its shards

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
                written = record_of(now)
                tables = written["tables"].values() if written else ()
                record, fault = self._judged(key, now, {t["key"]: s for t in tables for s in self._stat(t["key"])})
            if record is None:
                found.damaged.append(fault)
            else:
                found.good[record["shard"]] = record
        return found

    def _judged(self, key: str, content: bytes | None, stats: dict[str, Stat]) -> tuple[dict[str, Any] | None, str]:
        """A record whose tables are there as recorded, or what is wrong."""
        record = record_of(content)
        if record is None or key != shard_key(record["shard"]):
            return None, f"{self.store.path(key)} is not a whole record"
        wrong = next((t["key"] for t in record["tables"].values() if not self._whole(t, stats)), None)
        if wrong:
            return None, f"{self.store.path(wrong)} is missing or differs from its record"
        return record, ""

    def open_shards(self, shards: int) -> list[int]:
        """Which of so many shards are to be made."""
        return self.records().open(shards, self.retries())

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

    def _stat(self, key: str) -> list[Stat]:
        found = self.store.stats(key).get(key)
        return [found] if found else []

    def load_steps(self, shard: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of the steps table, and usages, of an unfinished shard's checkpoints. A file that is not as it was
        written counts as not written."""
        from tasks.output.checkpoints import rows_of

        return rows_of(self.store.read_many(self._checkpoints(shard)))

    def _checkpoints(self, shard: int) -> list[str]:
        return [key for key in self.store.keys(f"checkpoints/{shard:05d}") if key.endswith(".parquet")]


def text_digest(content: bytes) -> str:
    """Digest of config.yaml, by which a file of the run tells how that was when it was written."""
    return hashlib.sha256(content).hexdigest()[:16]


def shard_key(shard: int) -> str:
    """Key of a shard's record."""
    return f"shards/{shard:05d}.json"


def to_retry(record: dict[str, Any], retries: int) -> bool:
    """Has it failed rows that are to be tried again?"""
    return record["counts"]["failed"] > 0 and record["retries"] < retries


def record_of(content: bytes | None) -> dict[str, Any] | None:
    """A shard's record; None where it is none."""
    found = unseal(content, shapes.RECORD)
    names = found["tables"].items() if found else ()
    # each a file of its own folder
    whole = found and "failed" in found["counts"] and {"solutions", "steps"} <= found["tables"].keys()
    return found if whole and all(table["key"].startswith(f"{name}/") for name, table in names) else None
