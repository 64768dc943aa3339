"""The decoding core can be imported, and so tested, without vLLM, Prefect or a model's libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tasks.decoding


def test_the_core_imports_no_engine_and_no_orchestrator() -> None:
    modules = sorted(f"tasks.decoding.{f.stem}" for f in Path(tasks.decoding.__file__).parent.glob("[!_]*.py"))
    assert "tasks.decoding.decode" in modules
    heavy = ["vllm", "prefect", "torch", "transformers", "flows", "tasks.engines", "tasks.storage"]
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy!r} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
