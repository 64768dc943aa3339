"""The process of an engine, with something else in vLLM's place."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import engines
from tasks.engines.messages import Ready
from tasks.engines.spec import EngineSpec
from tasks.engines.worker import serve
from tasks.processes import kernels


class Careless:
    """Leaves a temporary file behind, and says what it compiles into."""

    def __init__(self, *_: Any) -> None:
        os.close(tempfile.mkstemp(prefix="forgotten")[0])

    def run(self, pipe: Connection, inbox: Any) -> None:
        pipe.send(os.environ["TORCHINDUCTOR_CACHE_DIR"])


def test_what_an_engine_forgets_lies_beside_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder goes when the engine is closed. What it compiled is worth keeping."""
    pumps = SimpleNamespace(Pump=Careless)
    monkeypatch.setattr(engines, "pumps", pumps, raising=False)
    monkeypatch.setitem(sys.modules, "tasks.engines.pumps", pumps)  # type: ignore[arg-type]
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    processes = multiprocessing.get_context("fork")
    ours, theirs = processes.Pipe()
    spec = EngineSpec("draft", "none", "vllm", 100, {}, {})
    process = processes.Process(target=serve, args=(theirs, spec, str(tmp_path / "engine.log")))
    process.start()
    theirs.close()
    assert isinstance(ours.recv(), Ready)
    assert ours.recv() == f"{tmp_path}-cache/stepwave/torchinductor"
    ours.close()
    process.join()
    assert sorted(path.name[:9] for path in tmp_path.iterdir()) == ["engine.lo", "forgotten"]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o702])
def test_kernels_are_not_taken_from_where_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mine = kernels()
    assert mine == f"{tmp_path}/stepwave/torchinductor"
    Path(mine).chmod(mode)
    assert kernels() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert kernels() is None
