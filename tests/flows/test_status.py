"""`stepwave status`: how far a run is, read off its output alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invariants import read_tables

from flows.status import lines, status
from schemas.config import Config
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import EngineError, UserError
from tasks.output import onlookers
from tasks.output.claims import Owner
from tasks.storage.store import Store
from tasks.storage.stores import Stores

Job = Callable[..., Config]
ROOT = Path(__file__).resolve().parents[2]
IMPORTED = """
import sys
sys.argv = ["stepwave", *sys.argv[1:]]
from flows.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(*sorted(sys.modules), file=sys.stderr)
"""
HEAVY = ("tasks.planning", "tasks.generation", "tasks.engines", "vllm", "torch", "transformers", "prefect", "pyarrow")


def imported(*words: str) -> set[str]:
    """Names of the modules that are loaded when a command has ended."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def ours(modules: set[str]) -> set[str]:
    """The files of ours that hold code: a package's face holds a sentence."""
    own = {name for name in modules if name.split(".")[0] in ("flows", "tasks", "schemas")}
    return {name for name in own if not any(other.startswith(f"{name}.") for other in own)}


def look(out: Path | str) -> dict[str, Any]:
    report = status(str(out), Stores())
    assert json.loads(json.dumps(report)) == report
    assert all(line.strip() for line in lines(report))
    return report


@pytest.fixture
def stopped(job: Job, generate: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose engines died when some shards were done."""
    usual = ScriptedEngine.ask

    def some_are_done() -> bool:
        return len(list(out.glob("shards/*.json"))) > 1

    async def dying(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if some_are_done():
            raise EngineError("gone")
        return await usual(self, asks, answered)

    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine, "ask", dying)
        with pytest.raises(EngineError):
            generate(job())
    return out


def test_a_complete_run(job: Job, generate: Any, out: Path) -> None:
    manifest = generate(job())
    report = look(out)
    solutions, steps = read_tables(out)
    assert (report["state"], report["run_id"]) == ("complete", manifest["run_id"])
    assert report["shards"] == {"total": 5, "done": 5, "in_flight": 0, "open": 0}
    unparsed = (solutions["verdict"] == "unparsed").sum()
    ungraded = {"unparsed": unparsed, "timeouts": 0, "bad_references": 0}
    assert report["solutions"] == {"total": len(solutions), "committed": len(solutions), "failed": 0} | ungraded
    kept = steps.filter("accepted")
    assert (report["steps"], report["draft_steps"]) == (len(kept), len(kept.filter(role="draft")))
    assert report["tokens"] == {role: steps.filter(role=role)["tokens"].sum() for role in ("draft", "target")}
    assert report["tokens_per_second"] > 0
    assert report["damaged"] == []


def test_a_stopped_run_counts_its_checkpoints(stopped: Path) -> None:
    report = look(stopped)
    done = len(list((stopped / "shards").glob("*.json")))
    assert 0 < done < 5
    assert report["state"] == "stopped"
    assert report["shards"] == {"total": 5, "done": done, "in_flight": 0, "open": 5 - done}
    assert report["solutions"]["total"] == 112
    committed = read_tables(stopped)[1].filter("accepted")
    assert report["steps"] > len(committed)
    assert report["tokens_per_second"] > 0
    before = sorted(path.stat().st_mtime_ns for path in stopped.rglob("*"))
    look(stopped)
    assert sorted(path.stat().st_mtime_ns for path in stopped.rglob("*")) == before


def test_a_run_in_other_hands(stopped: Path) -> None:
    shard = next(n for n in range(5) if not (stopped / "shards" / f"{n:05d}.json").exists())
    owner = Owner("abc", "elsewhere", 7, 0.0, time.time() - 5, time.time(), {"draft": 100}, False)
    store = Store(str(stopped))
    store.write("checkpoints/sessions/abc.json", json.dumps(owner._asdict()).encode())
    store.write(f"checkpoints/claims/{shard:05d}/000007.json", b'{"session": "abc"}')
    report = look(stopped)
    assert report["state"] == "running"
    assert report["shards"]["in_flight"] == 1
    assert report["processes"] == ["pid 7 on elsewhere"]
    assert 0 <= report["last_signs"]["pid 7 on elsewhere"] < 60
    store.write("checkpoints/sessions/abc.json", json.dumps(owner._replace(ended=True)._asdict()).encode())
    assert look(stopped)["state"] == "stopped"


@pytest.mark.parametrize("written", [-3600, -61, 3600])
def test_one_whose_last_sign_is_old_or_to_come_is_watched(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, written: float
) -> None:
    """By a clock that may be wrong nobody is dead, and nobody alive."""
    store = Store(str(stopped))
    key = stopped / "checkpoints/sessions/abc.json"
    owner = Owner("abc", "elsewhere", 7, 0.0, time.time(), time.time(), {}, False, ahead=7200.0)

    def sign(number: int) -> None:
        store.write("checkpoints/sessions/abc.json", json.dumps(owner._replace(sign=number)._asdict()).encode())
        os.utime(key, (time.time() + written,) * 2)

    signs = iter(range(2, 1000))
    sign(1)
    monkeypatch.setattr(onlookers, "LOOK", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(onlookers, "WATCH", 0.05)
        assert look(stopped)["state"] == "stopped"
    files = type(store.files)
    stats = files.stats

    def renewed(self: Any, prefix: str) -> Any:
        if prefix == "checkpoints/sessions":
            sign(next(signs))
        return stats(self, prefix)

    monkeypatch.setattr(files, "stats", renewed)
    monkeypatch.setattr(onlookers, "WATCH", 30.0)
    report = look(stopped)
    assert report["state"] == "running"
    assert report["clocks_ahead"] == {"pid 7 on elsewhere": 7200.0}
    assert any("2 h ahead of the store's" in line for line in lines(report))


def test_damage_is_named(job: Job, generate: Any, out: Path, tmp_path: Path) -> None:
    generate(job())
    table = out / "steps" / "00002.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    (out / "solutions" / "00001.parquet").unlink()
    (out / "shards" / "00003.json").write_text('{"shard": 3}')
    report = look(out)
    assert report["state"] == "stopped"
    assert report["shards"] == {"total": 5, "done": 2, "in_flight": 0, "open": 3}
    told = "\n".join(report["damaged"])
    for name in ("steps/00002.parquet", "solutions/00001.parquet", "shards/00003.json"):
        assert name in told
    shutil.rmtree(out / "shards")
    assert look(out)["shards"]["done"] == 0


def test_what_is_no_run_is_refused(tmp_path: Path, s3: str) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for out in (str(tmp_path), str(tmp_path / "nothing"), f"{s3}/nothing"):
        with pytest.raises(UserError, match="not the output of a run"):
            look(out)
    assert not (tmp_path / "nothing").exists()


def test_of_a_finished_run_little_is_imported(job: Job, generate: Any, out: Path) -> None:
    generate(job())
    modules = imported("status", str(out))
    assert not modules & set(HEAVY)
    assert len(ours(modules)) < 30, sorted(ours(modules))


def test_help_imports_commands_but_not_what_they_do() -> None:
    modules = imported("--help")
    assert not modules & set(HEAVY)
    assert len(ours(modules)) < 30, sorted(ours(modules))


def test_an_edited_configuration_is_told(job: Job, generate: Any, out: Path) -> None:
    generate(job())
    assert look(out)["mixed"] is None
    path = out / "config.yaml"
    text = path.read_text()
    path.write_text("# a note\n" + text)
    assert look(out)["mixed"] is None, "another text that says the same"
    path.write_text(text.replace("max_steps: 6", "max_steps: 7"))
    assert "decoding.max_steps: 6 there, 7 here" in look(out)["mixed"]
    path.write_text(text)
    assert look(out)["mixed"] is None
