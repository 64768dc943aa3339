"""Runs that are killed with SIGKILL, as real processes: nothing is lost, nothing doubled, nothing made twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import Campaign, same_as_undisturbed

from schemas.config import Config

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]
SLOW = [f"models.{role}.engine.seconds=0.03" for role in ("draft", "target", "prm")]


@pytest.mark.parametrize(
    ("kills", "changes"),
    [
        (9, []),
        (5, ["decoding.temperature=0", "decoding.accept={rule: clip}", "run.checkpoint_seconds=0.3"]),
        (5, ["run={shard_size: 1000, in_flight: 18, checkpoint_seconds: 0}"]),
    ],
    ids=["sampled", "greedy but for its coins", "one shard"],
)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_never_was(
    command: Callable[..., list[str]], undisturbed: Callable[..., Path], out: Path, kills: int, changes: list[str]
) -> None:
    campaign = Campaign(command(*changes, *SLOW), out, seed=kills)
    figures = campaign.run(kills)
    print(figures)
    assert figures.kills == kills
    same_as_undisturbed(out, undisturbed(*changes))
