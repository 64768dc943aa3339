"""An output holds the prompts of one day."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lifecycle.begun_runs import DATED, dated, is_refused, solved

from flows import check as checking
from schemas.config import Config
from tasks.configuration.parsing import dump_config
from tasks.models import chat, rendering

pytestmark = pytest.mark.tier2

Generate = Callable[[Config], dict[str, Any]]

Job = Callable[..., Config]


@pytest.mark.parametrize(
    ("roles", "template"),
    [
        (("draft", "target", "prm"), DATED),
        (("prm",), DATED),
        (("draft",), "{{ strftime_now('%H:%M:%S %f %s %j') }}"),
        (("draft",), "{{ [1, 2, 3] | random }}"),
    ],
)
def test_a_run_goes_on_on_the_day_on_which_it_began(
    begin: Callable[..., None],
    generate: Generate,
    job: Job,
    out: Path,
    tmp_path: Path,
    day: Callable[[int], None],
    roles: tuple[str, ...],
    template: str,
) -> None:
    config = job(*dated(tmp_path / "models", *roles, template=template))
    day(5)
    generate(config.model_copy(update={"output": config.output.model_copy(update={"path": str(tmp_path / "at once")})}))
    begin(config, "stopped")
    assert yaml.safe_load((out / "config.yaml").read_text())["prompt"]["date"] == "2026-01-05"
    day(6)
    report = checking.check(config)
    asks = "strftime_now" in template
    assert report["day"] == ("2026-01-05" if asks else None)
    assert any("2026-01-05 for the whole run" in line for line in checking.lines(report)) == asks
    generate(config)
    assert solved(out).equals(solved(tmp_path / "at once"))


TAKES_UP = """
import datetime, sys
from tasks.models import chat, rendering
from tasks.generation.completion import open_run
from tasks.output.config_file import load_config
from tasks.planning.plan import make_plan
from tasks.output.directory import RunDirectory
from tasks.storage.store import Store

class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(float(sys.argv[2]), tz)

chat.datetime = Then
config = load_config(sys.argv[1], [])
output = RunDirectory(Store(config.output.path))
plan = make_plan(output.dated(config))
identity = open_run(plan, output, False).identity
print(identity.run_id, plan.day, datetime.datetime.fromtimestamp(float(sys.argv[2])).date())
"""
"""Takes up a run at some time, in whatever zone it is started in."""


def test_processes_in_other_zones_and_on_other_days_have_one_date(job: Job, tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    config.write_text(dump_config(job(*dated(tmp_path / "models", "draft", "target"))))
    late = datetime.datetime(2026, 1, 5, 23, 30, tzinfo=datetime.UTC).timestamp()
    told = [
        subprocess.run(
            [sys.executable, "-c", TAKES_UP, str(config), str(at)],
            env=os.environ | {"TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for zone, at in [("Pacific/Kiritimati", late), ("Pacific/Pago_Pago", late), ("Asia/Tokyo", late + 86_400)]
    ]
    assert [local for _, _, local in told] == ["2026-01-06", "2026-01-05", "2026-01-07"]
    assert {day for _, day, _ in told} == {"2026-01-05"}
    assert len({run_id for run_id, _, _ in told}) == 1


def test_another_day_makes_another_run_where_a_prompt_tells_it(
    generate: Generate, job: Job, out: Path, tmp_path: Path, day: Callable[[int], None]
) -> None:
    day(5)
    changes = dated(tmp_path / "models", "draft")
    generate(job(*changes))
    told = "prompt.date: 2026-01-05 there, 2026-02-01 here, which the chat template of draft writes"
    is_refused(out, told, lambda: generate(job(*changes, "prompt.date=2026-02-01")))
    generate(job(output=str(tmp_path / "plain")))
    generate(job("prompt.date=2026-02-01", output=str(tmp_path / "plain")))  # no prompt tells it
    assert checking.check(job(output=str(tmp_path / "plain")))["day"] is None
    day(6)
    generate(job(*changes, "prompt.date=2026-01-05"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_day_is_that_of_utc_in_every_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    before = rendering.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert (rendering.now(datetime.date(2026, 3, 1), "%d %H %s"), chat.today()) == before
    finally:
        monkeypatch.undo()
        time.tzset()
