"""`{date}` and `{time}` in a configuration's paths, and in its seed, which may hold `{run}` as well: the moment for
which a job was scheduled. It is the same when a flow run is started again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from tasks.errors import UserError

C = TypeVar("C", Config, EvaluationConfig)

PLACEHOLDERS = {"{date}": "%Y-%m-%d", "{time}": "%H%M%S"}
"""What stands for what in paths, in UTC. All other braces are part of the path."""
IN_SEEDS = {"{date}": "%Y%m%d", "{time}": "%H%M%S"}
"""The same in a seed, which is a number once all are filled in."""
RUN = "{run}"
"""In a seed: the flow run's number."""
SEEDS = ("decoding.seed", "seeds")
"""Fields that may hold them, of a run and of an evaluation."""


@dataclass(frozen=True)
class Due:
    """What a flow run keeps for as long as it lives."""

    at: datetime
    """The moment for which it was scheduled."""
    run: int
    """A number of its own, at least 0."""


def with_paths(config: C, change: Callable[[str, str], str]) -> C:
    """A configuration whose input and output paths are what `change` makes of (field, path)."""

    def moved(section: object, field: str) -> object:
        return section.model_copy(update={"path": change(f"{field}.path", section.path)})  # type: ignore[attr-defined]

    changes = {"output": moved(config.output, "output")}
    if isinstance(config, Config):
        moved_input: Any = moved(config.input, "input")
        skip = tuple(change("input.skip_done", path) for path in config.input.skip_done)
        changes["input"] = moved_input.model_copy(update={"skip_done": skip}) if skip else moved_input
    else:
        changes["benchmarks"] = tuple(moved(one, f"benchmarks.{n}") for n, one in enumerate(config.benchmarks))
    return config.model_copy(update=changes)


def fill(config: C, due: Due | None) -> C:
    """A configuration with its paths' placeholders filled in. Raises UserError where there are any and nothing is
    `due`: a command that is run again tomorrow must find today's output."""

    return with_paths(config, lambda field, path: fill_path(path, due, field, f" (--set {field}=...)"))


def fill_path(path: str, due: Due | None, field: str, mend: str = "") -> str:
    """A path with its placeholders filled in; raises UserError as in `fill`, with `mend` at its end."""
    for text, pattern in PLACEHOLDERS.items():
        if text in path and due is None:
            raise UserError(
                f"{field}: {text} is filled in where a Prefect deployment runs; here, give the path itself{mend}"
            )
        path = path.replace(text, due.at.astimezone(UTC).strftime(pattern) if due else text)
    return path


def has_placeholder(seed: Any) -> bool:
    """True if a seed is a text with a placeholder."""
    return isinstance(seed, str) and any(text in seed for text in (*IN_SEEDS, RUN))


def fill_seeds(values: Mapping[str, Any], due: Due | None) -> dict[str, Any]:
    """The mapping of a configuration with its seeds' placeholders filled in. Raises UserError as `fill` does, and if a
    seed is no number then. Other mistakes in seeds are found when the configuration is validated."""
    filled = dict(values)
    if isinstance(decoding := values.get("decoding"), Mapping) and has_placeholder(decoding.get("seed")):
        filled["decoding"] = dict(decoding) | {"seed": _seed(decoding["seed"], due, "decoding.seed")}
    if isinstance(seeds := values.get("seeds"), list):
        filled["seeds"] = [_seed(s, due, f"seeds.{n}") if has_placeholder(s) else s for n, s in enumerate(seeds)]
    return filled


def _seed(text: str, due: Due | None, field: str) -> int:
    if due is None:
        held = next(one for one in (*IN_SEEDS, RUN) if one in text)
        mend = f"a number (--set {field}=...)" if field == SEEDS[0] else "numbers (--set seeds=[...])"
        raise UserError(f"{field}: {held} is filled in where a Prefect deployment runs; here, give {mend}")
    for one, pattern in IN_SEEDS.items():
        text = text.replace(one, due.at.astimezone(UTC).strftime(pattern))
    text = text.replace(RUN, str(due.run))
    if not (text.isascii() and text.isdecimal() and len(text) <= 100):
        raise UserError(f'{field}: must be made of digits, {{date}}, {{time}} and {{run}} alone, such as "{{date}}"')
    return int(text)
