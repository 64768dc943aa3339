"""Processes that choose the steps of a run at the same time, while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.made import Solution, draft, solved, write_run
from schemas.rollouts import RolloutOptions
from tasks.errors import UserError
from tasks.export.rollouts import directory, request


def shard(number: int) -> list[Solution]:
    return [solved(f"p{number}", draft("A.\n\n"), draft("B.\n\n"), verdict="correct", reference="7")]


def look(source: str, dest: Path) -> request.RolloutRequest:
    return request.read_request(source, str(dest), RolloutOptions(), [])


def content(dest: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(dest.rglob("*.*"))}


def test_what_one_has_chosen_is_not_touched_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, dest = write_run(tmp_path / "run", [shard(0)], finished=False), tmp_path / "rollouts"
    there: dict[str, Any] = {}
    begin = directory.begin

    def begun(*given: Any) -> Any:  # then another process does all of it, and the run goes on
        monkeypatch.setattr(directory, "begin", begin)
        record = begin(*given)
        there["record"] = request.choose_steps(look(source, dest))
        there["files"] = content(dest)
        write_run(tmp_path / "run", [shard(n) for n in range(4)])
        return record

    monkeypatch.setattr(directory, "begin", begun)
    assert request.choose_steps(look(source, dest)) == there["record"]
    assert content(dest) == there["files"]
    assert there["record"]["shards"] == {"taken": [0], "of": None, "whole": False}
    assert there["record"]["chosen"]["steps"] == 2


@pytest.mark.parametrize("found", [1, 4])
def test_all_choose_from_the_shards_that_the_first_one_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    source, dest = write_run(tmp_path / "run", [shard(n) for n in range(found)], finished=False), tmp_path / "rollouts"
    begin = directory.begin

    def begun(*given: Any) -> Any:  # another process found two and was first, and no further than that
        begin(*given[:3], {"taken": [0, 1], "of": None, "whole": False})
        write_run(tmp_path / "run", [shard(n) for n in range(4)])
        return begin(*given)

    monkeypatch.setattr(directory, "begin", begun)
    record = request.choose_steps(look(source, dest))
    assert (record["shards"]["taken"], record["chosen"]["steps"]) == ([0, 1], 4)
    assert sorted(path.name for path in (dest / "steps").iterdir()) == ["00000.parquet", "00001.parquet"]


def test_a_shard_that_is_being_made_again_is_told(tmp_path: Path) -> None:
    source, dest = write_run(tmp_path / "run", [shard(0), shard(1)]), tmp_path / "rollouts"
    asked = look(source, dest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "keep", lambda *_: None)
        request.choose_steps(asked)
    (tmp_path / "run" / "shards" / "00001.json").unlink()
    with pytest.raises(UserError, match="shard 1, from which steps were being chosen, is made again"):
        request.choose_steps(asked)
