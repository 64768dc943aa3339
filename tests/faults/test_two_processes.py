"""Several processes on one output at once, by mistake or on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from campaign import Written, same_as_undisturbed, started, until

pytestmark = pytest.mark.tier2

SLOW = [f"models.{role}.engine.seconds=0.15" for role in ("draft", "target", "prm")]


def test_processes_share_the_shards_and_one_that_is_killed_leaves_its_own_to_the_others(
    command: Callable[..., list[str]], undisturbed: Callable[..., Path], out: Path, tmp_path: Path
) -> None:
    words = command("run.shard_size=5", "run.in_flight=8", *SLOW)
    with ExitStack() as stack:
        processes = [stack.enter_context(started(words, tmp_path / f"log-{n}")) for n in range(3)]
        committed: set[str] = set()

        def all_work() -> bool:
            return len(set(claimants(out))) == len(processes)

        assert until(processes[0], all_work)
        written = Written(out)
        assert until(processes[0], lambda: written.count() > 30)
        processes[0].kill()
        committed |= {path.name for path in (out / "shards").glob("*.json")}
        for process in processes[1:]:
            process.ends()
    same_as_undisturbed(out, undisturbed("run.shard_size=5"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert len([session for session in manifest["sessions"] if sum(session["generated"].values())]) > 1
    assert len(committed) < manifest["shards"]


def claimants(out: Path) -> list[str]:
    """Sessions that hold shards."""
    found = []
    for path in out.glob("checkpoints/claims/*/*.json"):
        try:
            found.append(json.loads(path.read_text())["session"])
        except FileNotFoundError:
            continue
    return found
