"""The output of a run, written.

Order of writes: config.yaml; then for each shard its checkpoints, its tables, its record; the manifest last.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from schemas.config import Config
from schemas.tables import STEPS
from tasks.configuration.day import on_day
from tasks.configuration.identity import Identity, Models, differences
from tasks.configuration.parsing import dump_config
from tasks.errors import DiskFull, StoreError, UserError
from tasks.models.chat import today
from tasks.output.agreement import check_agree, check_day_is_kept, check_models, listed, tells_models
from tasks.output.checkpoints import file_of, parquet
from tasks.output.claims import claims_of
from tasks.output.made_with import made_with, otherwise
from tasks.output.run_files import RUN, STALE, RunFiles, record_of, shard_key, text_digest, to_retry
from tasks.problems.parquet.whole_table import whole_table
from tasks.storage.sealed import FORMAT, seal
from tasks.storage.store import Stat

HASTE = 30.0
"""Seconds for which one write of a commit is tried, before it is asked again whose the shard is: well below the time
after which a process counts as dead (liveness.DEAD)."""


class ShardTaken(Exception):
    """Another process has taken over a shard; what we made of it is not committed."""


class RunDirectory(RunFiles):
    """One output. `begin` before anything is written to it."""

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

    def dated(self, config: Config) -> Config:
        """A configuration whose prompts are of a day: its own where it gives one, else the run's, else today."""
        found = None if config.prompt.date else self.config()
        return on_day(config, (found and found[0].prompt.date) or today())

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
        identity = self.identity(config, input_fingerprint, models)
        self.check_same(config, input_fingerprint, models)
        return identity

    def identity(self, config: Config, input_fingerprint: str, models: Models | None = None) -> Identity:
        """That of the run, as it began where it has."""
        text = self.store.read_or_none("config.yaml")
        ours = Identity.of(config, models or {}, input_fingerprint, None if text is None else text_digest(text))
        known = next(iter(self._told().values()), None)
        return ours if known is None else ours.as_begun(known)

    def notes(self) -> list[str]:
        """Notes on an open run that goes on here, a line each."""
        if (run := self.run()) is None:
            return []
        if not tells_models(run):
            return [
                f"{self.store.path()}: an older release of Stepwave began this run and did not keep what its models "
                "were: they are taken to be those of now"
            ]
        return [line] if (line := otherwise(run.get("made_with", {}))) else []

    def reopen(self, identity: Identity, size: dict[str, int]) -> None:
        """Take back the manifest of a run that turned out not to be whole."""
        self._open(identity, size, self.retries())
        self.store.delete(["manifest.json"])

    def _open(self, identity: Identity, size: dict[str, int], retries: int) -> None:
        content = _run(identity, size, retries)
        if self._json(RUN) is None and not self.store.create(RUN, content) and self._json(RUN) is None:
            self.store.write(RUN, content)  # what is there is damaged

    def token(self, identity: Identity) -> str:
        """Another each time that the run is begun or opened again: what is known of its flow runs is under it."""
        return str((self.run() or {}).get("token", identity.run_id))

    # --- shards

    def keep_stale(self, open_shards: list[int]) -> None:
        """Tell those who use `unmade` which of the records that are there, as `records` last found them, do not hold or
        are to be made again."""
        stale = {shard_key(shard) for shard in open_shards}
        versions = {key: list(stat) for key, stat in self.read if key in stale}
        self.store.write(STALE, seal({"format": FORMAT, "records": versions}))

    def open_shard(self, shard: int) -> bool:
        """Ready a claimed shard to be made; False where it is done.

        A record that does not hold, or whose failed rows are to be tried again, is taken back. What its steps table
        holds becomes the only checkpoint first, so that nothing is made, or counted, twice.
        """
        content = self.store.read_or_none(shard_key(shard))
        if content is None:
            return True
        if record := record_of(content):
            stats = {t["key"]: stat for t in record["tables"].values() for stat in self._stat(t["key"])}
            if all(self._whole(t, stats) for t in record["tables"].values()) and not to_retry(record, self.retries()):
                return False
            steps = record["tables"].get("steps")
            made = self.store.read_or_none(steps["key"]) if steps else None
            if made is not None and hashlib.sha256(made).hexdigest() == steps["sha256"]:
                self.store.delete(self._checkpoints(shard))  # a process that ended as it committed left them
                self.save_steps(
                    shard, "record", whole_table(made, steps["key"], STEPS, steps["rows"]), record["computed"]
                )
        self.store.delete([shard_key(shard)])
        return True

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
            key, content = f"{name}/{shard:05d}.parquet", parquet(table)
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

    def save_steps(self, shard: int, name: str, attempts: pa.Table, usage: dict[str, Any]) -> None:
        """Keep rows of an unfinished shard's steps table, with what it took to compute them."""
        end, content = file_of(attempts, usage)
        self.store.write(f"checkpoints/{shard:05d}/{name}{end}", content)

    # --- the end

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


def _identified(identity: Identity) -> dict[str, Any]:
    return {"format": FORMAT, **identity.written(), "made_with": made_with()}
