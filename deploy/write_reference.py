"""Write schemas/README.md: every field of a configuration and every column of a table, from what the code says of them.

    python deploy/write_reference.py

Run it after a change of a field or a column. A test compares the file with what this script makes.
"""

import ast
import dataclasses
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow as pa  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402

from schemas import config, datasets, evaluation, export, rollouts, tables  # noqa: E402
from tasks.engines.emulated.arguments import Emulation, Sheet  # noqa: E402
from tasks.engines.served import Served  # noqa: E402

PAGE = ROOT / "schemas" / "README.md"

INTRODUCTION = """\
# Configuration fields and table columns

`python deploy/write_reference.py` makes this file from the docstrings in this folder. Change those, not this file.

- [A run's configuration](#a-runs-configuration)
- [An evaluation's configuration](#an-evaluations-configuration)
- [Options of export](#options-of-export), [options of rollouts](#options-of-rollouts)
- [Tables of a run](#tables-of-a-run), [the table of an evaluation](#the-table-of-an-evaluation)
- [Exported datasets](#exported-datasets)

A configuration is YAML. Unknown keys are refused. `null` is a value like any other, and most often the default: the
text says what it then means. [flows/README.md](../flows/README.md#configuration) explains how the fields work together.
A column with `?` behind its type can be null.
"""

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("input", config.InputConfig),
    ("output", config.OutputConfig),
    ("storage", config.StorageConfig),
    ("prompt", config.PromptConfig),
    ("models", config.ModelsConfig),
    ("models.draft, models.target", config.ModelConfig),
    ("models.prm", config.PrmConfig),
    ("models.ROLE.engine", config.EngineConfig),
    ("models.ROLE.engine, kind openai", Served),
    ("models.ROLE.engine, kind emulated", Emulation),
    ("models.ROLE.engine.card", Sheet),
    ("decoding", config.DecodingConfig),
    ("decoding.accept, rule threshold", config.Threshold),
    ("decoding.accept, rule constant", config.Constant),
    ("decoding.accept, rule clip", config.Clip),
    ("decoding.accept, rule sigmoidal", config.Sigmoidal),
    ("decoding.accept, rule logistic", config.Logistic),
    ("run", config.RunConfig),
    ("drift", config.DriftConfig),
)
TABLES = (
    ("solutions", "`solutions/*.parquet`: a row for each problem and sample.", tables.SOLUTIONS),
    ("steps", "`steps/*.parquet`: a row for each attempt at a step, kept or rejected.", tables.STEPS),
    ("rejected", "`rejected/*.parquet`: input rows that could not be used.", tables.REJECTED),
    ("rewards", "`rewards/*.parquet`: rewards that an export asked for after the run.", tables.REWARDS),
    ("rolled out steps", "`DEST/steps/*.parquet` of `stepwave rollouts`: the chosen attempts.", tables.ROLLED_OUT),
)
DATASETS: tuple[tuple[str, export.Kind, bool], ...] = (
    ("sft", "sft", True),
    ("sft, with --format text", "sft", False),
    ("dpo", "dpo", True),
    ("step-dpo", "step-dpo", True),
    ("prm", "prm", True),
)


def page() -> str:
    """The whole file as text. Raises ValueError, naming it, for a field or option that nothing is said of."""
    parts = [INTRODUCTION, "## A run's configuration\n"]
    parts += [_section(name, model) for name, model in SECTIONS]
    parts += ["## An evaluation's configuration\n", _section("the file", evaluation.EvaluationConfig)]
    parts += [_section("benchmarks", evaluation.Benchmark)]
    own = {name: evaluation.MethodConfig.model_fields[name] for name in ("method", "name", "prm", "thresholds")}
    parts.append(
        "### methods\n\nA method has these fields, and all fields of [decoding](#decoding) but `seed`.\n\n"
        + _fields("methods", own)
    )
    parts += ["## Options of export\n", _options(export.ExportOptions)]
    parts += ["## Options of rollouts\n", _options(rollouts.RolloutOptions)]
    parts += ["## Tables of a run\n", *(_table(name, about, schema) for name, about, schema in TABLES)]
    parts += ["## The table of an evaluation\n", _columns(tables.EVALUATION)]
    parts += ["## Exported datasets\n"]
    parts += [f"### {name}\n\n{_columns(datasets.schema(kind, messages))}" for name, kind, messages in DATASETS]
    return "\n".join(parts)


def _section(name: str, model: type[BaseModel]) -> str:
    about = textwrap.dedent(model.__dict__.get("__doc__") or "").strip()
    text = f"### {name}\n\n" + (f"{_one_line(about)}\n\n" if about else "")
    return text + (_fields(name, model.model_fields) if model.model_fields else "")


def _fields(section: str, fields: dict[str, FieldInfo]) -> str:
    rows = [("field", "default", "meaning")]
    for name, field in fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            rows.append((f"`{name}`", f"`{get_args(field.annotation)[0]}`", "Names the rule."))
            continue
        kind = _model(field.annotation)
        if field.description is None and kind is None:
            raise ValueError(f"{section}.{name}: nothing is said of it")
        rows.append((f"`{name}`", _default(field), _one_line(field.description or "A section of its own.")))
    return _markdown(rows)


def _model(annotation: Any) -> type[BaseModel] | None:
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, config.Threshold):
        return f"`{{rule: threshold, threshold: {value.threshold}}}`"
    if isinstance(value, BaseModel):
        return "each field's own"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(each) for each in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace("\n", "\\n") + '"' if not value.isidentifier() else value
    return "{}" if value == {} else str(value)


def _options(options: type) -> str:
    said = _docstrings(options)
    rows = [("option", "meaning")]
    for field in dataclasses.fields(options):
        if field.name not in said:
            raise ValueError(f"{options.__name__}.{field.name}: nothing is said of it")
        rows.append((f"`--{field.name.replace('_', '-')}`", _one_line(said[field.name])))
    return _markdown(rows)


def _docstrings(of: type) -> dict[str, str]:
    """The text under each field of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(of))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: text.value.value
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _table(name: str, about: str, schema: pa.Schema) -> str:
    return f"### {name}\n\n{about}\n\n{_columns(schema)}"


def _columns(schema: pa.Schema) -> str:
    rows = [("column", "type", "meaning")]
    for field in schema:
        kind = str(field.type).replace("element: ", "").replace("item: ", "").replace(" not null", "")
        rows.append(
            (f"`{field.name}`", kind + ("?" if field.nullable else ""), field.metadata[b"description"].decode())
        )
    return _markdown(rows)


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page())
