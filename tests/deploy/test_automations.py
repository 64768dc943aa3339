"""Automations that deploy/README.md has people create."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger

from flows import drifting

FILE = Path(__file__).parents[2] / "deploy" / "automations" / "crashes.yaml"
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["automations"]
NAME = "prefect.resource.name"


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda automation: automation["name"])
def test_prefect_takes_them(automation: dict[str, Any]) -> None:
    known = AutomationCore.model_validate(automation)
    assert known.name.startswith("stepwave-")
    assert known.enabled


def test_they_are_about_the_flows_that_there_are() -> None:
    from flows.evaluate import evaluate
    from flows.generate import generate
    from flows.shards import generate_shards

    about = {name for automation in AUTOMATIONS for name in automation["trigger"]["match_related"][NAME]}
    assert about == {generate.name, generate_shards.name, evaluate.name}


def test_a_silence_outlasts_a_minute_without_a_server() -> None:
    """A heartbeat every 30 s, one just before the server went, and half a minute until the next gets through."""
    silent = next(automation for automation in AUTOMATIONS if automation["name"] == "stepwave-silent")
    assert silent["trigger"]["within"] > 30 + 60 + 30


def test_drift_pauses_what_has_a_schedule() -> None:
    """Its trigger takes the events of whole runs, and not those of a fleet's flow runs, whose deployment has none."""
    [automation] = yaml.safe_load(FILE.with_name("drift.yaml").read_text())["automations"]
    known = AutomationCore.model_validate(automation)
    assert isinstance(known.trigger, EventTrigger)
    assert known.trigger.expect == {drifting.WHOLE}
    assert drifting.PART not in known.trigger.expect
    assert [(action.type, action.source) for action in known.actions] == [("pause-deployment", "inferred")]
