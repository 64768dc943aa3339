"""A parameter that a flow does not have: Prefect does not begin such a flow run, and says only that it crashed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleets import ROOT, Pool, until
from prefect.client.orchestration import get_client


@pytest.mark.tier2
def test_it_is_told_and_not_tried_again(prefect: str, tmp_path: Path) -> None:
    from flows.generate import generate

    pool = Pool(prefect, tmp_path)
    source: Any = generate.from_source(source=str(ROOT), entrypoint="flows/generate.py:generate")
    source.deploy(
        f"job-{pool.name}",
        pool.name,
        job_variables={"working_dir": str(tmp_path), "stream_output": False},
        enforce_parameter_schema=False,
        ignore_warnings=True,
        print_next_steps=False,
    )
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"generate/job-{pool.name}")
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": "job.yaml", "chnages": []})
        with pool.workers(1):
            until(lambda: client.read_flow_run(run.id).state_name == "Failed", "the flow run has failed")
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.message == "UserError: chnages: unknown parameter; known here: config, retry_failed, changes"
