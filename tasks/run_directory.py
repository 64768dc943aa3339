"""The output of a run: what is written when, and what a reader may believe.

Order of writes: config.yaml; then for each shard its checkpoints, its tables, its record; the manifest last. A record
is the only proof that a shard is done, the manifest the only proof that the run is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.config import Config
from schemas.tables import STEPS
from tasks.config_file import dump_config, parse_config
from tasks.errors import UserError
from tasks.identity import differences, fingerprint, run_id
from tasks.store import Store

FORMAT = 1
"""Version of the files of a run."""
USAGE = b"stepwave.usage"


@dataclass(frozen=True)
class Identity:
    """Which configuration and input an output belongs to."""

    config: str
    input: str

    @property
    def run_id(self) -> str:
        return run_id(self.config, self.input)


class RunDirectory:
    """One output. `claim` before anything is written to it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = Store(config.output.path, config.storage)

    # --- whose output it is

    def check_same(self, input_fingerprint: str | None) -> None:
        """UserError where the output holds another configuration or, if a fingerprint is given, another input."""
        existing = self.store.read_or_none("config.yaml")
        if existing is None:
            if strangers := [k for k in self.store.keys("") if not k.startswith("checkpoints/lease-")]:
                raise UserError(
                    f"{self.store.path()}: holds files that are not a run's (such as {strangers[0]}); "
                    "give output.path a place of its own"
                )
            return
        name = self.store.path("config.yaml")
        try:
            there = parse_config(existing.decode("utf-8", "replace"), [], name)
        except UserError as error:
            raise UserError(f"{error}; the output's own configuration is damaged, give another output.path") from error
        if found := differences(there, self.config):
            raise UserError(
                f"{self.store.path()}: holds a run of another configuration ({'; '.join(found[:4])}); "
                "give another output.path"
            )
        if input_fingerprint is not None:
            known = self._json("checkpoints/run.json") or self._json("manifest.json") or self._any_record()
            if known is not None and known.get("input_fingerprint") != input_fingerprint:
                raise UserError(
                    f"{self.store.path()}: holds a run of another input (the content of input.path changed since); "
                    "give another output.path"
                )

    def claim(self, input_fingerprint: str) -> Identity:
        """Write config.yaml and the run's identity unless they are there, and check that they are this run's."""
        self.check_same(input_fingerprint)
        self.store.create("config.yaml", dump_config(self.config).encode())
        found = Identity(fingerprint(self.config), input_fingerprint)
        if self.manifest() is None:
            self._open(found)
        self.check_same(input_fingerprint)
        return found

    def reopen(self, identity: Identity) -> None:
        """Take back the manifest of a run that turned out not to be whole."""
        self._open(identity)
        self.store.delete(["manifest.json"])

    def _open(self, identity: Identity) -> None:
        self.store.create("checkpoints/run.json", _dump(self._identified(identity)))

    def _identified(self, identity: Identity) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "run_id": identity.run_id,
            "config_fingerprint": identity.config,
            "input_fingerprint": identity.input,
        }

    def _json(self, key: str) -> dict[str, Any] | None:
        """A JSON object; None where the file is missing or not one."""
        with contextlib.suppress(ValueError):
            content = self.store.read_or_none(key)
            found = json.loads(content) if content else None
            return found if isinstance(found, dict) else None
        return None

    def _any_record(self) -> dict[str, Any] | None:
        return next((r for key in self.store.keys("shards")[:3] if (r := self._json(key))), None)

    # --- shards

    def records(self) -> tuple[dict[int, dict[str, Any]], list[str]]:
        """Shard to its record, for those whose tables are there in the size recorded; and what is wrong with others."""
        sizes = self.store.sizes("")
        good: dict[int, dict[str, Any]] = {}
        bad: list[str] = []
        for key in self.store.keys("shards"):
            record = self._json(key)
            try:
                assert record is not None
                wrong = [t["key"] for t in record["tables"].values() if sizes.get(t["key"]) != t["bytes"]]
                shard = int(record["shard"])
                assert (key, type(record["counts"])) == (shard_key(shard), dict)
            except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
                bad.append(f"{self.store.path(key)} is not a whole record")
                continue
            if wrong:
                bad.append(f"{self.store.path(wrong[0])} is missing or differs from its record")
            else:
                good[shard] = record
        return good, bad

    def commit(
        self, shard: int, identity: Identity, tables: dict[str, pa.Table], counts: dict[str, Any], usage: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a shard's tables, then its record, then drop its checkpoints. Returns the record."""
        written = {}
        for name, table in tables.items():
            key, content = f"{name}/{shard:05d}.parquet", _parquet(table)
            self.store.write(key, content)
            written[name] = {
                "key": key,
                "rows": len(table),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        record = self._identified(identity) | {"shard": shard, "tables": written, "counts": counts, "computed": usage}
        self.store.write(shard_key(shard), _dump(record))
        self.store.delete_folder(f"checkpoints/{shard:05d}")
        return record

    # --- checkpoints

    def save_wave(self, shard: int, name: str, attempts: pa.Table, usage: dict[str, Any]) -> None:
        """Keep a wave's attempts, with what the wave computed."""
        table = attempts.replace_schema_metadata({USAGE: json.dumps(usage).encode()})
        self.store.write(f"checkpoints/{shard:05d}/{name}.parquet", _parquet(table))

    def load_waves(self, shard: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of the steps table, and usages, of an unfinished shard's waves. A damaged file counts as not written."""
        attempts: list[dict[str, Any]] = []
        usages: list[dict[str, Any]] = []
        for key in self.store.keys(f"checkpoints/{shard:05d}"):
            with contextlib.suppress(pa.ArrowException, ValueError, LookupError, OSError):
                table = pq.read_table(io.BytesIO(self.store.read(key)))
                usage = json.loads((table.schema.metadata or {})[USAGE])
                attempts += table.select(STEPS.names).cast(STEPS).to_pylist()
                usages.append(usage)
        return attempts, usages

    # --- the end

    def manifest(self) -> dict[str, Any] | None:
        return self._json("manifest.json")

    def finish(self, identity: Identity, content: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest and drop what only an unfinished run needs."""
        manifest = self._identified(identity) | content
        self.store.write("manifest.json", _dump(manifest))
        self.store.delete(["checkpoints/run.json"])
        return manifest


def shard_key(shard: int) -> str:
    return f"shards/{shard:05d}.json"


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
