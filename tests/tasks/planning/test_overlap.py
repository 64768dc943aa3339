"""No output lies where problems are read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.configuration.parsing import parse_config
from tasks.errors import UserError
from tasks.planning.overlap import keep_apart


@pytest.mark.parametrize(
    ("problems", "output", "refused"),
    [
        ("sets", "sets/out", True),
        ("sets", "sets-out", False),
        ("sets/a.parquet", "sets/out", False),
        ("sets/*.parquet", "sets/out", False),
        ("sets/**/*.parquet", "sets/out", True),
        ("**/*.parquet", "elsewhere", True),
    ],
)
def test_outputs_that_the_next_run_would_read(tmp_path: Path, problems: str, output: str, refused: bool) -> None:
    (tmp_path / "sets").mkdir()
    pq.write_table(pa.table({"problem": ["?"]}), tmp_path / "sets" / "a.parquet")
    text = f"input: {{path: {tmp_path}/{problems}}}\noutput: {{path: {tmp_path}/{output}}}\n"
    config = parse_config(text + "models: {target: {model: m}}\ndecoding: {method: target}\n", [], "job.yaml")
    if refused:
        with pytest.raises(UserError, match=r"output\.path: .* (lies in|holds, or will hold, files that) input\.path"):
            keep_apart(config, config.input.path, "input.path", None)
    else:
        keep_apart(config, config.input.path, "input.path", None)
