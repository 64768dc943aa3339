"""Problem sets of any size for the demo's models, and the demo's configuration on them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schemas.config import Config
from tasks.configuration.parsing import parse_config

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo"
SEED = 4242
"""Of the problems; none of those that the models were trained on."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="stepwave-benchmark-") as folder:
        yield Path(folder)


def problems(folder: Path, count: int) -> str:
    """A problem set of `count` rows; the same ones each time."""
    path = folder / f"problems-{count}.parquet"
    if not path.exists():
        recipe = DEMO / "recipe" / "make_problems.py"
        subprocess.run([sys.executable, recipe, path, str(count), str(SEED)], check=True, cwd=recipe.parent)
    return str(path)


def demo(source: str, output: Path, *changes: str) -> Config:
    """The demo's configuration on another problem set and output."""
    paths = [f"input.path={source}", f"output.path={output}"]
    paths += [f"models.{role}.model={DEMO / 'models' / role}" for role in ("draft", "target", "prm")]
    return parse_config((DEMO / "config.yaml").read_text(), [*paths, *changes], "config.yaml")
