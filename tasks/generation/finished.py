"""Is a run complete, and its command the same as ever? Told by files alone: no tokenizer is loaded, no row is read.

What a prompt reads like follows from the checkpoint's files, the settings and the day, which are compared. Whatever is
not known to be the same here is left to `completion.open_run`, which looks at all of it and names what differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.config import Config
from tasks.models.model_files import COMMIT, DATE, PATH, PROMPT, TEMPLATE, WEIGHTS, Parts, parts_of
from tasks.output.directory import RunDirectory
from tasks.problems.files import folder_values, list_files
from tasks.problems.snapshot import InputFile, digest, open_listed
from tasks.problems.survey import Survey
from tasks.storage.stores import Stores


def finished(config: Config, output: RunDirectory, retry_failed: bool = False) -> dict[str, Any] | None:
    """The manifest of a complete run of which nothing is to be done; None where that is not sure.

    `config`: as `RunDirectory.check_same` took it, on its day. Raises UserError where the output's files are of
    different runs, or the input cannot be read.
    """
    manifest = output.manifest()
    if manifest is None or "identity" not in manifest or (retry_failed and manifest["counts"]["failed"]):
        return None
    if not _same_models(config, manifest["identity"]["models"]) or not _same_input(config, manifest):
        return None
    records = output.records()
    output.check_whole(records)
    if records.open(manifest["shards"], manifest["retries"]):
        return None
    output.tidy()
    return manifest


def _same_models(config: Config, there: dict[str, Parts]) -> bool:
    here = {role: config.model(role) for role in config.roles}
    if config.proposer is not None:
        here["draft"] = config.proposer
    return there.keys() == here.keys() and all(
        _same_model(there[role], parts_of(model), config) for role, model in here.items()
    )


def _same_model(there: Parts, here: Parts, config: Config) -> bool:
    day = config.prompt.date
    if WEIGHTS not in there or (DATE in there and (day is None or there[DATE] != day.isoformat())):
        return False
    if TEMPLATE in there and there[TEMPLATE] != here.get(TEMPLATE):
        return False
    apart = (PATH, COMMIT, PROMPT, DATE, TEMPLATE)
    known, now = ({part: of for part, of in parts.items() if part not in apart} for parts in (there, here))
    return known == now and there.get(COMMIT) == here.get(COMMIT)


def _same_input(config: Config, manifest: dict[str, Any]) -> bool:
    """Are the input's files those that were read, byte for byte? What `skip_done` left out is not looked into."""
    if config.input.skip_done:
        return False
    stores, known, rows = Stores.of(config), manifest["input"]["files"], manifest["input"]["rows"]
    paths = list_files(config.input.path, stores)
    if len(paths) < len(known) or (len(paths) > len(known) and rows != config.input.limit):
        return False
    files = []
    for path, of, folders in zip(paths, known, folder_values(paths[: len(known)]), strict=False):
        with open_listed(path, stores) as f:
            if (sha256 := digest(f, path)) != of["sha256"]:
                return False
        files.append(InputFile(path, of["rows"], sha256, "", folders=folders))
    found = Survey(files, rows, np.zeros(0, np.uint8), config.input)
    return found.fingerprint == manifest["input_fingerprint"]
