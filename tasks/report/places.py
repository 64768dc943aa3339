"""The kind of an output, and the runs in it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from schemas.config import Config
from tasks.calibration.directory import RECOMMENDED
from tasks.configuration.parsing import parse_config
from tasks.configuration.yaml_text import read_yaml
from tasks.errors import UserError, on_one_line
from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.directory import RunDirectory
from tasks.output.kinds import holds_run, why_no_run
from tasks.planning.threshold import decided
from tasks.report.texts import plain
from tasks.storage.store import Store
from tasks.storage.subfolder import below

Kind = Literal["run", "evaluation", "calibration"]
MARKS: dict[str, Kind] = {"evaluation.yaml": "evaluation", "config.yaml": "run", "calibration.json": "calibration"}
"""The file that tells what an output is. A run that found its own threshold has the last two."""

RUN_FILE = re.compile(r"(runs/(?:[^/]+/)?[^/]+)/(config\.yaml|(?:checkpoints|shards|steps)/[^/]+)")
"""A file of a run by which it is told, after the folder of the run."""


@dataclass(frozen=True)
class ReportedRun:
    """One run: the only one of an output, or a method on a benchmark with one seed."""

    benchmark: str
    """"" where there are no benchmarks."""
    name: str
    config: Config
    output: RunDirectory
    records: dict[int, dict[str, Any]]
    """Of the shards that are committed."""
    manifest: dict[str, Any] | None

    @property
    def threshold(self) -> float | None:
        """δ where the method has one that was decided."""
        return decided(self.config, self.manifest)

    @property
    def method(self) -> str:
        """The run's name without its seed, the same in every benchmark."""
        return re.sub(r"-s\d+$", "", self.name)

    @property
    def label(self) -> str:
        """The method's name without its threshold. Runs of a calibration are called after that alone."""
        if self.threshold is None:
            return self.method
        label = self.method.removesuffix(f"-{self.threshold:.12g}")
        return self.config.decoding.method if label == "threshold" else label

    @property
    def title(self) -> str:
        """The method with its δ, as a row of the comparison has it."""
        return self.label if self.threshold is None else f"{self.label} δ {self.threshold:g}"

    @property
    def params(self) -> dict[str, float]:
        """Role to parameters of its model; {} before the run has finished."""
        models = (self.manifest or {}).get("models", {})
        return {role: float(model["params"]) for role, model in models.items()}

    @property
    def sessions(self) -> list[Owner]:
        """The processes that worked on it."""
        if self.manifest is not None:
            return [Owner(**session) for session in self.manifest.get("sessions", [])]
        return claims.sessions(self.output.store)


def kind_of(store: Store) -> Kind:
    """Raises UserError where the output is nothing that has a report."""
    for name, kind in MARKS.items():
        if store.read_or_none(name) is not None:
            return kind
    if (other := why_no_run(store)) is not None:
        raise UserError(other)
    if store.keys(""):
        raise UserError(f"{store.path()}: is not the output of a run, an evaluation or a calibration")
    raise UserError(f"{store.path()}: there is nothing here; a report is made of the output of a run")


def read_runs(store: Store, kind: Kind) -> list[ReportedRun]:
    """The runs of an output, in the order of their names. Raises UserError where there is none, or one is damaged."""
    if kind == "run":
        return [_run(store, "", "")]
    found = []
    for folder in run_folders(store):
        of = below(store, folder)
        if (other := why_no_run(of)) is not None:
            raise UserError(other)
        parts = folder.split("/")[1:]
        found.append(_run(of, parts[0] if len(parts) == 2 else "", parts[-1]))
    if not found:
        raise UserError(f"{store.path('runs')}: no run of this {kind} has begun")
    return sorted(found, key=lambda run: (run.benchmark, run.label, run.threshold or -1.0, run.name))


def run_folders(store: Store) -> list[str]:
    """Folders of an evaluation or a calibration that hold a run, or what is left of one."""
    runs: dict[str, list[str]] = {}
    for key in store.keys("runs"):
        if found := RUN_FILE.fullmatch(key):
            runs.setdefault(found[1], []).append(found[2])
    return sorted(folder for folder, keys in runs.items() if "config.yaml" in keys or holds_run(keys))


def _run(store: Store, benchmark: str, name: str) -> ReportedRun:
    output = RunDirectory(store)
    output.check_format()
    config = parse_config(store.read("config.yaml").decode("utf-8", "replace"), [], store.path("config.yaml"))
    records = output.records()
    if records.damaged:
        raise UserError(f"{records.damaged[0]}; `stepwave generate` with the same configuration makes it again")
    output.check_whole(records)
    return ReportedRun(
        plain(benchmark), plain(name) or config.decoding.method, config, output, records.good, output.manifest()
    )


def recommended(store: Store) -> float | None:
    """The threshold that a calibration chose."""
    text = (store.read_or_none(RECOMMENDED) or b"").decode("utf-8", "replace")
    with contextlib.suppress(UserError, LookupError, TypeError):
        chosen = read_yaml(text, RECOMMENDED)["decoding"]["accept"]["threshold"]
        return float(chosen) if isinstance(chosen, int | float) and 0 <= chosen <= 1 else None
    return None


def title(store: Store) -> str:
    """An output's name for people: the last parts of its address."""
    return on_one_line("/".join(store.path().rstrip("/").split("/")[-2:]))


def state(manifest: dict[str, Any] | None) -> str:
    """The state of the run that a page was made of, so that a later page is not made of the same."""
    return f"{manifest['run_id']} of {manifest.get('finished_at')}" if manifest else "not finished"
