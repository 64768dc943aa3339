"""Automations that deploy/README.md has people create."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from test_deployments import flow_of

from flows.lifecycle import drift_alerts
from flows.shards import generate_shards

FILE = Path(__file__).parents[2] / "deploy" / "automations" / "crashes.yaml"
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["automations"]
NAME = "prefect.resource.name"


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda automation: automation["name"])
def test_prefect_takes_them(automation: dict[str, Any]) -> None:
    known = AutomationCore.model_validate(automation)
    assert known.name.startswith("stepwave-")
    assert known.enabled


def test_each_is_about_every_flow_that_is_deployed() -> None:
    """But for flow runs that another one starts again itself."""
    deployments = yaml.safe_load(FILE.parents[1].joinpath("prefect.yaml").read_text())["deployments"]
    deployed = {flow_of(deployment).name for deployment in deployments}
    for automation in AUTOMATIONS:
        of_fleets = set() if automation["name"] in ("stepwave-silent", "stepwave-stuck") else {generate_shards.name}
        assert set(automation["trigger"]["match_related"][NAME]) == deployed - of_fleets, automation["name"]


def test_a_silence_outlasts_a_minute_without_a_server() -> None:
    """A heartbeat every 30 s, one just before the server went, and half a minute until the next gets through."""
    silent = next(automation for automation in AUTOMATIONS if automation["name"] == "stepwave-silent")
    assert silent["trigger"]["within"] > 30 + 60 + 30


def test_drift_pauses_what_has_a_schedule() -> None:
    """Its trigger takes the events of whole runs, and not those of a fleet's flow runs, whose deployment has none."""
    [automation] = yaml.safe_load(FILE.with_name("drift.yaml").read_text())["automations"]
    known = AutomationCore.model_validate(automation)
    assert isinstance(known.trigger, EventTrigger)
    assert known.trigger.expect == {drift_alerts.OF_RUN}
    assert drift_alerts.OF_PART not in known.trigger.expect
    assert [(action.type, action.source) for action in known.actions] == [("pause-deployment", "inferred")]
