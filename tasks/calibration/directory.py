"""The files of a calibration: a run for each threshold, what was found, and the configuration to go on with.

runs/threshold-0.7/   an ordinary run
calibration.json      sealed as a run's records are; written last
recommended.yaml      the configuration with the threshold that was found; absent where none meets the wish
recommended-*.yaml    the same for other wishes, asked later: what is run by the first one's file stays as it was
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from schemas.config import Config, DriftConfig, Threshold
from tasks.calibration import shape
from tasks.calibration.band import judged_from
from tasks.calibration.figures import WATCHED
from tasks.configuration.day import on_day
from tasks.configuration.parsing import dump_config
from tasks.errors import UserError
from tasks.models.chat import today
from tasks.output.directory import RunDirectory
from tasks.planning.threshold import bands
from tasks.storage.sealed import FORMAT, seal, unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

CALIBRATION = "calibration.json"
RECOMMENDED = "recommended.yaml"
RUN = re.compile(r"runs/threshold-([0-9.e-]+)/config\.yaml")


def run_key(threshold: float) -> str:
    """Key of a threshold's run in a calibration."""
    return f"runs/threshold-{threshold:.12g}"


def at_threshold(config: Config, threshold: float, place: str) -> Config:
    """The configuration of one threshold's run below `place`."""
    decoding = config.decoding.model_copy(update={"accept": Threshold(threshold=threshold)})
    output = config.output.model_copy(update={"path": f"{place}/{run_key(threshold)}"})
    return config.model_copy(update={"decoding": decoding, "output": output, "drift": None})


def first_problems(config: Config, problems: int) -> Config:
    """The configuration with at most so many rows of the input. Problems that earlier runs have solved are among
    them."""
    limit = min(problems, config.input.limit or problems)
    return config.model_copy(update={"input": config.input.model_copy(update={"limit": limit, "skip_done": ()})})


def check_place(store: Store) -> None:
    """Raises UserError where a directory holds something that is no calibration's."""
    keys = store.keys("")
    if "config.yaml" in keys:  # a run that finds its own threshold keeps that under the same name
        raise UserError(f"{store.path()}: holds a run; give --out a place of its own")
    if keys and not any(key == CALIBRATION or RUN.fullmatch(key) for key in keys):
        raise UserError(
            f"{store.path()}: holds files that are not a calibration's (such as {keys[0]}); "
            "give --out a place of its own"
        )


def thresholds_there(store: Store) -> list[float]:
    """Thresholds whose runs have begun, in order."""
    found = (RUN.fullmatch(key) for key in store.keys("runs"))
    return sorted({float(match[1]) for match in found if match and _number(match[1])})


def dated(config: Config, store: Store) -> Config:
    """The configuration with the day of its prompts: its own if it gives one; else the day of the calibration's runs;
    else that of the run at its own output, whose attempts may be used again; else today."""
    begun = [store.path(run_key(threshold)) for threshold in thresholds_there(store)]
    for place in (*begun, config.output.path):
        with contextlib.suppress(UserError):
            found = RunDirectory(Stores.of(config).store(place)).config()
            config = on_day(config, found[0].prompt.date if found else None)
    return on_day(config, today())


def _number(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def load(store: Store, key: str = CALIBRATION) -> dict[str, Any] | None:
    """What was found; None where that is not there or not whole."""
    return unseal(store.read_or_none(key), shape.CALIBRATION)


def sealed(report: dict[str, Any]) -> bytes:
    """The report as bytes, with a checksum."""
    return seal({"format": FORMAT} | report)


def save(store: Store, report: dict[str, Any], config: Config) -> None:
    """Write what was found, and the configuration that uses it, into the file of its wish: `report` gets `file`, its
    name (None where no threshold meets the wish), and `recommended`, by name what all such files are for."""
    threshold, wish = report["recommendation"]["threshold"], report["wish"]
    there = _recommended(store)
    name = next((name for name, of in there.items() if of["wish"] == wish), None)
    if name is None:
        name = f"recommended-{wish['kind'].replace('_', '-')}-{wish['value']:.12g}.yaml" if there else RECOMMENDED
    there.pop(name, None)
    if threshold is None:
        store.delete([name])
    else:
        decoding = config.decoding.model_copy(update={"accept": Threshold(threshold=threshold)})
        watched = {"problems": judged_from(report["problems"])} | dict.fromkeys(WATCHED) | bands(report)
        drift = (config.drift or DriftConfig()).model_copy(update=watched)
        found = config.model_copy(update={"decoding": decoding, "drift": drift if bands(report) else None})
        store.write(name, dump_config(_with_room(found)).encode())
        there[name] = {"wish": wish, "threshold": threshold}
    report |= {"file": None if threshold is None else name, "recommended": there}
    store.write(CALIBRATION, sealed(report))


def _recommended(store: Store) -> dict[str, dict[str, Any]]:
    """File to the wish that it is for, and its threshold; None where that is not known."""
    earlier = load(store) or {}
    if "recommended" in earlier:
        return dict(earlier["recommended"])
    if store.read_or_none(RECOMMENDED) is None:
        return {}
    # of a release that had one file, or beside a damaged calibration.json
    threshold = earlier["recommendation"]["threshold"] if earlier else None
    return {RECOMMENDED: {"wish": None if threshold is None else earlier["wish"], "threshold": threshold}}


def _with_room(config: Config) -> Config:
    """The configuration; with another output if another run lies in the one that it names."""
    try:
        RunDirectory(Stores.of(config).store(config.output.path)).check_same(config)
        return config
    except UserError:
        output = config.output.model_copy(update={"path": f"{config.output.path.rstrip('/')}-calibrated"})
        return config.model_copy(update={"output": output})


def read_thresholds(text: str) -> list[float]:
    """Thresholds as a user lists them; raises UserError for what is none."""
    found: list[float] = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            raise UserError(f"--thresholds: {part.strip()!r} is not a number; reads 0.5,0.6,0.7") from None
        if not 0 <= value <= 1:
            raise UserError(f"--thresholds: {part.strip()} is not between 0 and 1, as rewards are")
        if run_key(value) in map(run_key, found):
            raise UserError(f"--thresholds: {part.strip()} stands there twice")
        found.append(value)
    return sorted(found)


def tokens(computed: dict[str, dict[str, int]], counts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Tokens that runs made generated together, and those that each would have generated by itself."""
    generated = {role: computed.get(role, {}).get("generated", 0) for role in ("draft", "target")}
    separate, runs = {"draft": 0, "target": 0}, 0
    for count in counts:
        runs += 1
        for role in separate:
            separate[role] += count.get(f"{role}_tokens", 0)
    whole = sum(separate.values())
    share = round(sum(generated.values()) / whole, 4) if whole else None
    return {"generated": generated, "separate": separate, "runs": runs, "share": share}
