"""Problems that earlier runs have solved are left out of this one: `input.skip_done`.

They are determined when a run begins, and kept in its output. So all of its processes leave out the same problems, and
outputs that grow meanwhile, its own among them, change nothing when it goes on. The run's input fingerprint covers
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from annotated_types import Ge, Le
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from schemas.config import Config
from schemas.tables import SOLUTIONS
from tasks.configuration.parsing import dump_config
from tasks.errors import UserError
from tasks.output.directory import RunDirectory
from tasks.output.kinds import why_no_run
from tasks.output.shapes import OPEN
from tasks.planning.plan import Plan
from tasks.problems.cells import texts
from tasks.problems.files import matching
from tasks.problems.parquet.whole_table import whole_table
from tasks.problems.survey import ID_COLUMNS, Survey
from tasks.problems.usability import ids_of
from tasks.storage.sealed import FORMAT, packed, seal, unpacked, unseal
from tasks.storage.store import Store
from tasks.storage.stores import Stores

T = TypeVar("T")
KEY = "skipped.json"
SOLVED = pa.schema([SOLUTIONS.field(name) for name in ("problem_id", "problem", "status")])
NAMED = 5
"""Outputs that are told one by one: the last ones."""


class _Kept(TypedDict):
    __pydantic_config__ = OPEN  # type: ignore[misc]
    input_fingerprint: str
    outputs: dict[str, Annotated[int, Ge(-1), Le(1 << 62)]]
    mask: str


SHAPE = TypeAdapter(_Kept)


@dataclass(frozen=True)
class Skipped:
    """What is left out."""

    rows: np.ndarray
    """bool [rows of the input]."""
    outputs: dict[str, int]
    """Address of each output that was looked at to its solved problems; -1 where nothing was there."""
    decided_before: bool = False
    """True if it was decided before now."""

    @property
    def problems(self) -> int:
        """Number of problems that are left out."""
        return int(self.rows.sum())


def foresee(plan: Plan, output: RunDirectory) -> tuple[Plan, Skipped | None]:
    """The plan without the problems that its run leaves out, and these problems: as the output has them, or as they
    would be if the run began now. None if nothing is to be left out. Raises UserError if an output that was named is
    not a run's."""
    if not plan.config.input.skip_done:
        return plan, None
    found = _kept(plan, output.store) or _look(plan, output.store)
    return replace(plan, survey=plan.survey.without(found.rows)), found


def decide(plan: Plan, output: RunDirectory) -> tuple[Plan, Skipped | None]:
    """As `foresee`; the process of the run that comes first keeps the decision in the output. Raises UserError as
    `RunDirectory.check_same`."""
    if not plan.config.input.skip_done:
        return plan, None
    if _kept(plan, output.store) is None:
        found = _look(plan, output.store)
        output.check_same(plan.config)
        if not output.store.create("config.yaml", dump_config(plan.config).encode()):
            output.check_same(plan.config)  # another process may have been first
        output.store.create(KEY, _content(plan.survey, found))
    return foresee(plan, output)


def describe(found: Skipped) -> list[str]:
    """What is left out, and because of which outputs."""
    when = " (decided when the run began)" if found.decided_before else ""
    none = "" if found.outputs else "; input.skip_done names or matches no output that is there"
    lines = [f"problems that earlier outputs have solved: {found.problems:,}{when}{none}"]
    named = list(found.outputs.items())
    if len(named) > NAMED:
        lines.append(f"{sum(max(n, 0) for _, n in named[:-NAMED]):,} solved in {len(named) - NAMED:,} outputs before")
    for output, problems in named[-NAMED:]:
        lines.append(f"{output}: " + (f"{problems:,} solved" if problems >= 0 else "nothing there yet"))
    return lines


def _content(survey: Survey, found: Skipped) -> bytes:
    mask = packed(np.packbits(found.rows).tobytes())
    content = {"format": FORMAT, "input_fingerprint": survey.content, "rows": survey.rows}
    return seal(content | {"problems": found.problems, "outputs": found.outputs, "mask": mask})


def _kept(plan: Plan, store: Store) -> Skipped | None:
    """What was decided before now, as the output has it; None if nothing was."""
    content = store.read_or_none(KEY)
    if content is None:
        return None
    kept = unseal(content, SHAPE)
    if kept is None:
        raise UserError(
            f"{store.path(KEY)}: is damaged, so what the run leaves out is not known; give another output.path"
        )
    if kept["input_fingerprint"] != plan.survey.content:
        raise UserError(
            f"{store.path()}: holds a run of another input (the content of input.path changed since); "
            "give another output.path"
        )
    try:
        bits = np.frombuffer(unpacked(kept["mask"], -(-plan.survey.rows // 8)), np.uint8)
    except ValueError as error:
        raise UserError(f"{store.path(KEY)}: is damaged ({error}); give another output.path") from error
    return Skipped(np.unpackbits(bits, count=plan.survey.rows).astype(bool), kept["outputs"], decided_before=True)


def _look(plan: Plan, own: Store) -> Skipped:
    """Read what other outputs have solved, and find it among the input's rows."""
    config, stores = plan.config, Stores.of(plan.config, own.retry.say)
    solved: list[np.ndarray] = []
    outputs: dict[str, int] = {}
    for address, there in _outputs(config, own, stores):
        keys = list(_solved(RunDirectory(there))) if there is not None else None
        outputs[address] = -1 if keys is None else sum(map(len, keys))
        solved += keys or []
    done = np.unique(np.concatenate(solved)) if solved else np.zeros(0, np.uint64)
    return Skipped(_rows(plan, done, stores) if len(done) else np.zeros(plan.survey.rows, bool), outputs)


def _outputs(config: Config, own: Store, stores: Stores) -> Iterator[tuple[str, Store | None]]:
    """The outputs that are named, each once, without the run's own; None in the place of one that is not there."""
    seen = {own.path().rstrip("/")}
    for path in config.input.skip_done:
        for address in _addresses(path.rstrip("/"), stores):
            store = stores.store(address)
            if (root := store.path().rstrip("/")) in seen:
                continue
            seen.add(root)
            if _told(partial(store.read_or_none, "config.yaml")) is None:
                if store.keys(""):
                    told_instead = why_no_run(store) or f"{root}: holds no run"
                    raise UserError(f"input.skip_done: {told_instead}")
                yield root, None
                continue
            _told(RunDirectory(store).check_format)
            yield root, store


def _told(look: Callable[[], T]) -> T:
    """What a look at an output gives; a UserError names the setting."""
    try:
        return look()
    except UserError as error:
        raise UserError(f"input.skip_done: {str(error).partition(';')[0]}") from None


def _addresses(path: str, stores: Stores) -> list[str]:
    """An output, or the runs' that a glob matches."""
    if not any(c in path for c in "*?["):
        return [path]
    try:
        files, at = stores.locate(path)
        return [files.path(key).removesuffix("/config.yaml") for key in sorted(matching(files, f"{at}/config.yaml"))]
    except UserError as error:
        raise UserError(f"input.skip_done: {error}") from None


def _solved(output: RunDirectory) -> Iterator[np.ndarray]:
    """Keys (uint64) of the problems of each committed shard that have solutions, none of them failed."""
    for _, record in sorted(output.records().good.items()):
        of = record["tables"]["solutions"]
        if (content := output.store.read_or_none(of["key"])) is None:
            continue  # its failed rows are tried again just now
        try:
            found = whole_table(content, output.store.path(of["key"]), SOLVED, of["rows"])
        except UserError as error:
            raise UserError(f"input.skip_done: {error}") from None
        table = pl.DataFrame(found)
        failed = table.filter(pl.col("status") == "failed")["problem_id"]
        good = table.filter(~pl.col("problem_id").is_in(failed.implode())).unique("problem_id")
        yield _keys(good["problem_id"].to_list(), good["problem"].to_list())


def _rows(plan: Plan, done: np.ndarray, stores: Stores) -> np.ndarray:
    """Which rows of the input are of the problems with these keys: bool [rows]."""
    survey, config = plan.survey, plan.config
    columns = (*ID_COLUMNS, *([config.input.prefix] if config.input.prefix else []))
    found = [np.zeros(0, bool)]
    for file in survey.files:
        for batch in file.read_again(stores, columns):
            problems = ["" if isinstance(p, UnicodeDecodeError) else p for p in texts(batch.column("problem"))]
            keys = _keys(ids_of(batch, config.input.prefix), problems)
            at = np.searchsorted(done, keys).clip(max=len(done) - 1)
            found.append(done[at] == keys)
    return np.concatenate(found)


def _keys(ids: list[str], problems: list[str | None]) -> np.ndarray:
    """Keys of problems, uint64: equal if id and text are. They can be compared within one process only."""
    both = [f"{id_}\x1f{problem or ''}" for id_, problem in zip(ids, problems, strict=True)]
    return pl.Series(both, dtype=pl.String).hash().to_numpy()
