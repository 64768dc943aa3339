"""The cells of an evaluation: benchmarks x methods x thresholds x seeds, each a run with a configuration of its own."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.config import Config, DecodingConfig, InputConfig, OutputConfig, Threshold
from schemas.evaluation import Benchmark, EvaluationConfig, MethodConfig
from tasks.errors import UserError

RUNS = "runs"


@dataclass(frozen=True)
class Row:
    """What a row of the table stands for beside its benchmark: a method at one threshold, with all its seeds."""

    method: str
    """Label."""
    kind: str
    """decoding.method."""
    threshold: float | None
    samples: int
    prm: str | None = None
    """Label of its reward model; None for models.prm, and where it asks none."""

    @property
    def name(self) -> str:
        """What the table calls the row's method."""
        return self.method if self.threshold is None else f"{self.method}-{self.threshold:.12g}"


@dataclass(frozen=True)
class Cell:
    """One run of an evaluation."""

    benchmark: str
    row: Row
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Folder below the benchmark's, such as rsd-0.7-s0."""
        return _name(self.row, self.seed)

    @property
    def folder(self) -> str:
        """Its output, below the evaluation's."""
        return f"{RUNS}/{self.benchmark}/{self.name}"

    def __str__(self) -> str:
        return f"{self.name} on {self.benchmark}"


def lay_out(config: EvaluationConfig, problems: dict[str, str]) -> list[Cell]:
    """The cells, benchmark by benchmark in the order of the configuration. `problems`: benchmark to its problem set.

    Raises UserError where two would have one name.
    """
    cells = []
    for benchmark in config.benchmarks:
        for method in config.methods:
            for decoding in at_thresholds(method):
                for seed in config.seeds if not decoding.greedy else config.seeds[:1]:
                    cells.append(_cell(config, benchmark, problems[benchmark.name], method, decoding, seed))
    names: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        other = names.setdefault((cell.benchmark, cell.name), cell)
        if other is not cell:
            raise UserError(
                f"methods: {other.row.method} and {cell.row.method} would share the folder {cell.name}; give one of "
                "them another name"
            )
    return cells


def at_thresholds(method: MethodConfig) -> list[DecodingConfig]:
    """A method's decoding, once for each of its thresholds."""
    values = {name: getattr(method, name) for name in DecodingConfig.model_fields}
    if not method.thresholds:
        return [DecodingConfig.model_construct(**values)]
    return [
        DecodingConfig.model_construct(**values | {"accept": Threshold(threshold=threshold)})
        for threshold in method.thresholds
    ]


def repeats(config: EvaluationConfig) -> list[str]:
    """Labels of methods that are run with the first of several seeds only."""
    return [m.name for m in config.methods if m.greedy] if len(config.seeds) > 1 else []


def namesakes(cells: list[Cell]) -> dict[Row, Row]:
    """Rows whose reward model is one of `prms`, each to the row that decodes in the same way with models.prm, if there
    is one."""
    usual: dict[DecodingConfig, Row] = {}
    for cell in cells:
        if cell.row.prm is None:
            usual.setdefault(cell.config.decoding, cell.row)
    others = [cell for cell in cells if cell.row.prm is not None and cell.config.decoding in usual]
    return {cell.row: usual[cell.config.decoding] for cell in others}


def _cell(
    config: EvaluationConfig,
    benchmark: Benchmark,
    problems: str,
    method: MethodConfig,
    decoding: DecodingConfig,
    seed: int,
) -> Cell:
    given = getattr(decoding.accept, "threshold", None) if method.judges_by_threshold else None
    row = Row(method.name, method.method, given if isinstance(given, float) else None, decoding.samples, method.prm)
    folder = f"{config.output.path.rstrip('/')}/{RUNS}/{benchmark.name}"
    of_cell = Config(
        input=InputConfig(path=problems, limit=benchmark.limit, answers=benchmark.answers),
        output=OutputConfig(path=f"{folder}/{_name(row, seed)}"),
        storage=config.storage,
        prompt=config.prompt,
        models=config.models_of(method),
        decoding=decoding.model_copy(update={"seed": seed}),
        run=config.run,
    )
    return Cell(benchmark.name, row, seed, of_cell)


def _name(row: Row, seed: int) -> str:
    return f"{row.name}-s{seed}"
