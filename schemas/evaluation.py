"""The configuration of an evaluation, which compares methods on benchmarks: YAML in, `EvaluationConfig` out.

An evaluation is made of cells. Each cell is a run with a `Config` of its own; tasks/evaluation/cells.py makes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from schemas.config import (
    SWEPT,
    Answers,
    Config,
    DecodingConfig,
    InputConfig,
    ModelsConfig,
    OutputConfig,
    Path,
    PrmConfig,
    PromptConfig,
    RunConfig,
    Section,
    Share,
    StorageConfig,
)
from schemas.credentials import refuse_credentials
from schemas.methods import Method, readers
from schemas.registry import either

MEAN = "mean"
"""Benchmark of the table's rows that stand for all of them."""

LABEL = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Label = Annotated[str, Field(pattern=LABEL)]
"""What becomes the name of a file or folder."""


class Benchmark(Section):
    """A benchmark: a problem set, or a benchmark's own file."""

    name: Label
    """Its name in tables, and that of its folder."""
    path: Path
    """Problem set (a Parquet file, a directory of Parquet files, or a glob), or with `format` a benchmark's own file;
    local or s3://."""
    format: str | None = None
    """Format of a benchmark's own file, as `stepwave import` knows them: gsm8k, math500, ... (null: a problem set)."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first so many rows (null: all)."""
    answers: Answers | None = None
    """What `answer` means beside `choices`, as in a run's `input`."""

    @field_validator("name")
    @classmethod
    def _is_none_of_the_tables(cls, name: str) -> str:
        if name == MEAN:
            raise ValueError(f"{MEAN!r} is reserved for the table's rows with the mean over all benchmarks")
        return name


class MethodConfig(DecodingConfig):
    """A method to be compared: a `decoding` section. Fields that it does not give are taken from the evaluation's
    `decoding`."""

    method: Method
    """The method, as in a run's configuration."""
    name: Label
    """Its name in tables, and the beginning of its folders' names (by default `method`, followed by `prm` if that is
    given)."""
    prm: Label | None = None
    """Its reward model, one of the evaluation's `prms` (null: models.prm)."""
    thresholds: tuple[Share, ...] = ()
    """Thresholds to run it with, in the place of that in `accept`. By default an rsd entry without a threshold of its
    own takes the evaluation's."""

    @model_validator(mode="after")
    def _has_a_threshold(self) -> MethodConfig:
        if self.thresholds and not self.judges_by_threshold:
            raise ValueError(f"thresholds are for method {either(readers('accept'))} with accept.rule {either(SWEPT)}")
        return self

    @property
    def judges_by_threshold(self) -> bool:
        """True if the entry keeps or rejects steps by rule threshold."""
        return self.record.judges and self.accept.swept


class EvaluationConfig(Section):
    """The configuration of an evaluation. Sections that a run has too mean the same."""

    benchmarks: tuple[Benchmark, ...] = Field(min_length=1)
    """Problem sets on which the methods are compared."""
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    """Methods, in the order of the table. The others are compared with the first one of method `target`."""
    thresholds: tuple[Share, ...] = ()
    """Thresholds with which rsd is run if its entry gives none (empty: the one in `accept`)."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """Seeds with which each method is run. Greedy methods are run with the first one only."""
    output: OutputConfig
    """Directory of the evaluation; local or s3://. More methods, thresholds, seeds, benchmarks or reward models may be
    added later."""
    storage: StorageConfig = StorageConfig()
    prompt: PromptConfig = PromptConfig()
    models: ModelsConfig
    prms: dict[Label, PrmConfig] = Field(default_factory=dict)
    """Further reward models, each under a label. A method names one by `prm`."""
    decoding: DecodingConfig = DecodingConfig()
    """Settings that all methods share."""
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete_methods(cls, values: Any) -> Any:
        """Each method's entry with what it takes over from the evaluation's `decoding` and `thresholds`."""
        refuse_credentials(values)
        if not isinstance(values, dict) or not isinstance(values.get("methods"), list):
            return values
        shared = values.get("decoding") or {}
        if not isinstance(shared, dict):
            return values
        for where, section in (("decoding", shared), *((f"methods.{n}", m) for n, m in enumerate(values["methods"]))):
            if isinstance(section, dict) and "seed" in section:
                raise ValueError(f"{where}.seed: an evaluation has a list `seeds` instead")
        entries = [_completed(entry, shared, values.get("thresholds") or []) for entry in values["methods"]]
        return values | {"methods": entries}

    @model_validator(mode="after")
    def _is_of_one_process(self) -> EvaluationConfig:
        if self.run.workers is not None:
            raise ValueError(
                "run.workers: an evaluation runs in one process; leave it out, or generate its cells one by one"
            )
        return self

    @model_validator(mode="after")
    def _names_reward_models(self) -> EvaluationConfig:
        for n, method in enumerate(self.methods):
            if method.prm is not None and "prm" not in method.roles:
                raise ValueError(f"methods.{n}.prm: method {method.method} asks no reward model")
            if method.prm is not None and method.prm not in self.prms:
                known = ", ".join(self.prms) or "none, for there is no section `prms`"
                raise ValueError(f"methods.{n}.prm: there is no prms.{method.prm}; known: {known}")
        for label in self.prms:
            if label not in {method.prm for method in self.methods}:
                raise ValueError(f"prms.{label}: no method uses it: give one `prm: {label}`, or leave it out")
        return self

    @model_validator(mode="after")
    def _can_be_run(self) -> EvaluationConfig:
        lists: list[tuple[str, Sequence[Any]]] = [
            ("benchmarks: the name ", [benchmark.name for benchmark in self.benchmarks]),
            ("methods: the name ", [method.name for method in self.methods]),
            ("seeds: ", self.seeds),
            ("thresholds: ", self.thresholds),
            *((f"methods.{n}.thresholds: ", method.thresholds) for n, method in enumerate(self.methods)),
        ]
        for field, values in lists:
            if (twice := _twice(values)) is not None:
                raise ValueError(f"{field}{twice} is given twice")
        for n, method in enumerate(self.methods):
            try:
                Config(
                    input=InputConfig(path="any"), output=self.output, models=self.models_of(method), decoding=method
                )
            except ValidationError as error:
                message = in_its_fields(method.prm, str(error.errors()[0]["msg"]).removeprefix("Value error, "))
                raise ValueError(f"methods.{n} ({method.name}): {message}") from None
        return self

    def models_of(self, method: MethodConfig) -> ModelsConfig:
        """The models of a method's runs."""
        if method.prm is None:
            return self.models
        return self.models.model_copy(update={"prm": self.prms[method.prm]})


def in_its_fields(prm: str | None, message: str) -> str:
    """The text of a mistake in a run, with the fields of the evaluation. `prm`: label of the run's reward model."""
    return message if prm is None else message.replace("models.prm", f"prms.{prm}")


def _completed(entry: Any, shared: dict[str, Any], thresholds: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    whole = shared | {"name": _name(entry)} | entry
    accept = whole.get("accept") or {}
    its_own = isinstance(entry.get("accept"), dict) and "threshold" in entry["accept"]
    by_threshold = isinstance(accept, dict) and accept.get("rule", DecodingConfig().accept.rule) in SWEPT
    if "thresholds" not in whole and whole.get("method") in readers("accept") and by_threshold and not its_own:
        whole["thresholds"] = thresholds
    return whole


def _name(entry: dict[str, Any]) -> str:
    """What a method is called where its entry does not say. Where that would be made of a mistake, it is another word:
    the mistake is told by the field in which it was made."""
    parts = [entry.get("method"), *([entry["prm"]] if entry.get("prm") else [])]
    fit = all(isinstance(part, str) and re.match(LABEL, part) for part in parts)
    return "-".join(parts) if fit else "nameless"


def _twice(values: Sequence[Any]) -> Any:
    """The first value that is there more than once, if any."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
