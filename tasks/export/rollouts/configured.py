"""The configuration of the run that makes roll-outs: that of their source, but for where it reads, writes and how."""

from __future__ import annotations

from schemas.config import Config, StorageConfig
from schemas.methods import Writer, unread
from schemas.rollouts import RolloutOptions, check
from tasks.configuration.parsing import from_values, parse_storage
from tasks.errors import UserError
from tasks.export.estimates import PREFIX, RUN
from tasks.export.rollouts.directory import STEPS
from tasks.export.runs import read_config
from tasks.storage.store import Store

TEMPERATURE = 0.7
"""Where the source was greedy: all roll-outs of a step would be identical."""
OURS = {
    "input": "the steps of OUT that were chosen are what they go on from",
    "output": "DEST says where they go",
    "decoding.samples": "--samples says how many",
    "decoding.method": "--writer says which model writes",
    "decoding.writer": "--writer says which model writes",
}
"""Keys that the command's own arguments decide."""


def storage_of(changes: list[str]) -> StorageConfig:
    """How source and destination are reached."""
    return parse_storage([change for change in changes if change.startswith("storage.")])


def configured(source: Store, dest: str, options: RolloutOptions, changes: list[str]) -> Config:
    """Raises UserError if the options make no sense, or the source is no run that can be rolled out with them."""
    try:
        check(options)
    except ValueError as error:
        raise UserError(str(error)) from None
    for change in changes:
        _leaves_ours(change.partition("=")[0].strip())
    config = read_config(source)
    writer = writer_of(config, options)
    values = config.model_dump(mode="json")
    values["input"] = {"path": f"{dest.rstrip('/')}/{STEPS}", "prefix": PREFIX, "answers": "text"}
    values["output"] = {"path": f"{dest.rstrip('/')}/{RUN}"}
    temperature = config.decoding.temperature or TEMPERATURE
    values["decoding"] |= {"method": writer, "samples": options.samples, "temperature": temperature}
    for name in unread(writer):  # a writer alone is the method of that name
        del values["decoding"][name]
    values["drift"] = None
    # the source's is a whole one, so that a mistake is in the changes
    name = "--set" if changes else source.path("config.yaml")
    changed = from_values(Config, values, changes, name, stored=True)
    if options.samples > 1 and changed.decoding.temperature == 0:
        raise UserError(
            f"--set decoding.temperature: at 0 all {options.samples} roll-outs of a step would be identical; give "
            f"a value above 0, "
            "such as 0.7, or --samples 1"
        )
    return from_values(Config, values, changes, name)


def _leaves_ours(key: str) -> None:
    """Raises UserError if a change of this key would be one of what the command's own arguments decide."""
    for ours, instead in OURS.items():
        if f"{key}.".startswith(f"{ours}."):
            raise UserError(f"--set {key}: roll-outs have their own: {instead}")
        if ours.startswith(f"{key}."):
            raise UserError(f"--set {key}: give what is to change in it key by key, such as decoding.seed=1")


def writer_of(config: Config, options: RolloutOptions) -> Writer:
    """The model that writes roll-outs of a run with this configuration."""
    if options.writer is None:
        return "draft" if config.models.target is None else "target"
    if getattr(config.models, options.writer) is None:
        raise UserError(f"--writer {options.writer}: the run's configuration has no models.{options.writer}")
    return options.writer
