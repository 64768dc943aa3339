"""The configuration of the run that makes roll-outs: that of their source, but for where it reads, writes and how."""

from __future__ import annotations

from schemas.config import Config, StorageConfig, Writer
from schemas.rollouts import RolloutOptions, check
from tasks.config_file import from_values, parse_storage
from tasks.errors import UserError
from tasks.export.estimates import PREFIX, RUN
from tasks.export.runs import read_config
from tasks.rollouts.directory import STEPS
from tasks.store import Store

TEMPERATURE = 0.7
"""Where the source was greedy: all roll-outs of a step would be equal."""
OURS = ("input", "output", "decoding.samples")
"""Keys that the command's own arguments decide."""


def storage_of(changes: list[str]) -> StorageConfig:
    """How source and destination are reached."""
    return parse_storage([change for change in changes if change.startswith("storage.")])


def configured(source: Store, dest: str, options: RolloutOptions, changes: list[str]) -> Config:
    """UserError where the options make no sense, or the source is no run that can be rolled out with them."""
    try:
        check(options)
    except ValueError as error:
        raise UserError(str(error)) from None
    for change in changes:
        key = change.partition("=")[0].strip()
        if any(key == ours or key.startswith(f"{ours}.") for ours in OURS):
            raise UserError(f"--set {key}: roll-outs have their own (OUT, DEST and --samples say it)")
    config = read_config(source)
    writer = writer_of(config, options)
    values = config.model_dump(mode="json")
    values["input"] = {"path": f"{dest.rstrip('/')}/{STEPS}", "prefix": PREFIX}
    values["output"] = {"path": f"{dest.rstrip('/')}/{RUN}"}
    temperature = config.decoding.temperature or TEMPERATURE
    values["decoding"] |= {"method": writer, "samples": options.samples, "temperature": temperature}
    for name in ("accept", "candidates"):
        del values["decoding"][name]
    values["drift"] = None
    return from_values(Config, values, changes, source.path("config.yaml"))


def writer_of(config: Config, options: RolloutOptions) -> Writer:
    """The model that writes roll-outs of a run with this configuration."""
    if options.writer is None:
        return "draft" if config.models.target is None else "target"
    if getattr(config.models, options.writer) is None:
        raise UserError(f"--writer {options.writer}: the run's configuration has no models.{options.writer}")
    return options.writer
