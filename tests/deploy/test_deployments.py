"""deploy/prefect.yaml, work pools, image and compose file: what they name exists, and a real server takes them."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect import Flow, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.utilities.templating import apply_values, find_placeholders

from flows.check import check
from flows.prefect_api import parameters
from schemas.config import Config
from schemas.evaluation import EvaluationConfig
from schemas.export import ExportOptions, resolved
from schemas.rollouts import RolloutOptions
from schemas.rollouts import check as check_options
from tasks.configuration.placeholders import Due
from tasks.engines.devices import read_gpus
from tasks.output.config_file import load, load_config
from tasks.planning.plan import make_plan

pytestmark = pytest.mark.tier2

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DEPLOYMENTS = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())["deployments"]
NAMES = [
    "evaluate/stepwave",
    "export/stepwave",
    "generate-shards/stepwave",
    "generate/fleet",
    "generate/stepwave",
    "rollouts/stepwave",
]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_deployments_are_those_that_the_code_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flows = [flow_of(deployment) for deployment in DEPLOYMENTS]
    assert sorted(f"{f.name}/{d['name']}" for f, d in zip(flows, DEPLOYMENTS, strict=True)) == NAMES
    for flow, deployment in zip(flows, DEPLOYMENTS, strict=True):
        assert set(deployment.get("parameters", {})) <= set(inspect.signature(flow.fn).parameters)
        assert not any(schedule["active"] for schedule in deployment.get("schedules", []))


def test_their_configurations_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the checkout's root, at any time."""
    monkeypatch.chdir(ROOT)
    for deployment in DEPLOYMENTS:
        if "config" in (given := deployment.get("parameters", {})):
            kind = EvaluationConfig if "evaluate" in deployment["entrypoint"] else Config
            config = load(kind, given["config"], given["changes"], Due(datetime(2026, 1, 2, tzinfo=UTC), 7))
            assert config.output.path.endswith("/2026-01-02")
            if isinstance(config, Config):
                assert make_plan(config).survey.usable
        elif given:
            if "kind" in given:
                resolved(given["kind"], parameters.options(ExportOptions, given["options"]))
                (given["out"],) = given["outs"]
            else:
                check_options(parameters.options(RolloutOptions, given["options"]))
            nightly = next(other for other in DEPLOYMENTS if other.get("parameters", {}).get("config"))
            written = yaml.safe_load(Path(nightly["parameters"]["config"]).read_text())["output"]["path"]
            assert given["out"] == written


def test_a_server_takes_all_of_it(prefect: str, tmp_path: Path) -> None:
    bin_ = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = os.environ | {"PREFECT_API_URL": prefect, "PATH": bin_, "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(["sh", "deploy/setup.sh"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    async def there() -> tuple[list[str], dict[str, Any]]:
        async with get_client() as client:
            found = await client.read_deployments()
            flows = {one.flow_id: (await client.read_flow(one.flow_id)).name for one in found}
            nightly = await client.read_deployment_by_name("generate/stepwave")
            pool = await client.read_work_pool("stepwave-gpu")
            return sorted(f"{flows[one.flow_id]}/{one.name}" for one in found), {
                "limit": nightly.global_concurrency_limit.limit if nightly.global_concurrency_limit else None,
                "cron": [schedule.schedule.cron for schedule in nightly.schedules],  # type: ignore[union-attr]
                "streams": pool.base_job_template["variables"]["properties"]["stream_output"]["default"],
            }

    names, nightly = asyncio.run(there())
    assert set(NAMES) <= set(names)
    assert nightly == {"limit": 1, "cron": ["30 2 * * *"], "streams": False}


def test_set_up_again_follows_the_files(prefect: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(DEPLOY / "set_up.py"))["main"]
    automations = yaml.safe_load((DEPLOY / "automations" / "crashes.yaml").read_text())["automations"]
    wanted = {one["name"]: AutomationCore.model_validate(one) for one in automations}

    async def again() -> None:
        await main("process")
        async with get_client() as client:
            template = (await client.read_work_pool("stepwave-gpu")).base_job_template
            older = template | {"variables": template["variables"] | {"title": "older"}}
            await client.update_work_pool("stepwave-gpu", WorkPoolUpdate(base_job_template=older))
            (silent,) = await client.read_automations_by_name("stepwave-silent")
            await client.update_automation(silent.id, wanted["stepwave-silent"].model_copy(update={"enabled": False}))
            (stuck,) = await client.read_automations_by_name("stepwave-stuck")
            await client.delete_automation(stuck.id)
            capsys.readouterr()
            await main("process")
            assert (await client.read_work_pool("stepwave-gpu")).base_job_template == template
            assert (await client.read_automations_by_name("stepwave-silent"))[0].enabled

    asyncio.run(again())
    assert capsys.readouterr().out.splitlines()[2:] == [
        "automation stepwave-silent: changed to what its file says",
        "automation stepwave-again: as its file",
        "automation stepwave-gives-up: as its file",
        "automation stepwave-stuck: made",
    ]
    with pytest.raises(SystemExit, match="2"):
        asyncio.run(main("kubernetes"))
    assert "work pool stepwave is of type process, not kubernetes" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["nightly.yaml", "demo/config.yaml"])
def test_the_first_jobs_fit_one_gpu(file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(str(DEPLOY / file), [f"output.path={tmp_path / 'out'}", "decoding.seed=1"])
    report = check(config, read_gpus("1x80"))
    assert {model["turns"] for model in report["models"].values()} == {None}
    assert {model["device"].removesuffix(" (2 replicas)") for model in report["models"].values()} == {"gpu 0"}


def test_a_schedule_makes_flow_runs(prefect: str) -> None:
    """Of all that a server does, this broke with a version of SQLAlchemy that Prefect allows."""

    async def made() -> list[datetime]:
        nightly = DeploymentScheduleCreate(schedule=CronSchedule(cron="30 2 * * *", timezone="Etc/UTC"), active=True)
        async with get_client() as client:
            flow = await client.create_flow_from_name("nightly")
            deployment = await client.create_deployment(flow, "stepwave", schedules=[nightly])
            # Prefect's client would ask a server that fails again and again
            async with httpx.AsyncClient(timeout=60) as plain:
                (await plain.post(f"{prefect}/deployments/{deployment}/schedule", json={})).raise_for_status()
            only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            runs = await client.read_flow_runs(deployment_filter=only)
            await client.delete_deployment(deployment)
            return [run.expected_start_time for run in runs if run.expected_start_time]

    due = asyncio.run(made())
    assert due
    assert {f"{time:%H:%M}" for time in due} == {"02:30"}


# --- work pools


def defaults(template: dict[str, Any]) -> dict[str, Any]:
    properties = template["variables"]["properties"]
    return {name: about["default"] for name, about in properties.items() if about.get("default") is not None}


@pytest.mark.parametrize("kind", ["process", "kubernetes"])
def test_templates_use_what_they_declare(kind: str) -> None:
    template = json.loads((DEPLOY / "pools" / f"{kind}.json").read_text())
    used = {one.name for one in find_placeholders(template["job_configuration"])}
    assert used == set(template["variables"]["properties"])
    assert all(about.get("description") for about in template["variables"]["properties"].values())
    assert defaults(template)["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def pod(values: dict[str, Any]) -> dict[str, Any]:
    """What a Kubernetes job of these job variables starts."""
    template = json.loads((DEPLOY / "pools" / "kubernetes.json").read_text())
    assert set(values) <= set(template["variables"]["properties"])
    made = apply_values(template["job_configuration"]["job_manifest"], defaults(template) | values)
    assert made["spec"]["backoffLimit"] == 0
    return made["spec"]["template"]["spec"]


def test_jobs_on_kubernetes() -> None:
    shards, parent = (
        pod(
            next(d for d in DEPLOYMENTS if d["entrypoint"] == entry and d["name"] == name)["work_pool"]["job_variables"]
        )
        for entry, name in (
            ("flows/shards.py:generate_shards", "stepwave"),
            ("flows/generate.py:generate", "fleet"),
        )
    )
    gpus = [one["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for one in (shards, parent)]
    assert gpus == [1, 0]
    assert {toleration["key"] for toleration in shards["tolerations"]} >= {"nvidia.com/gpu", "spot"}
    assert parent["tolerations"] == []
    for one in (shards, parent):
        assert one["restartPolicy"] == "Never"
        assert one["terminationGracePeriodSeconds"] >= 30
        assert one["volumes"][0]["emptyDir"]["medium"] == "Memory"
        assert one["securityContext"]["runAsNonRoot"]
        (container,) = one["containers"]
        assert container["volumeMounts"][0] == {"name": "shared-memory", "mountPath": "/dev/shm"}
        assert container["envFrom"] == [{"secretRef": {"name": "stepwave", "optional": True}}]


# --- image and compose file


def test_compose_holds_no_secret_and_the_example_names_what_it_needs() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = (DEPLOY / ".env.example").read_text()
    needed = set(re.findall(r"\$\{(\w+)", text))
    given = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert needed == set(given)
    for name in needed:
        if re.search("PASSWORD|AUTH|KEY|TOKEN", name):
            assert given[name] == ""
    services = yaml.safe_load(text)["services"]
    assert all("healthcheck" in services[name] for name in ("postgres", "server", "store"))


def test_compose_takes_what_people_edit_from_the_checkout() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in ("setup", "worker", "gpu-worker"):
        for name in ("prefect.yaml", "nightly.yaml"):
            assert f"./{name}:/opt/stepwave/deploy/{name}:ro" in services[service]["volumes"]
    assert services["server"]["environment"]["PREFECT_UI_API_URL"] == "/api"


def test_versions_are_those_of_the_constraints() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(.*)$", (DEPLOY / "constraints.txt").read_text(), re.MULTILINE))
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services["server"]["image"].startswith(f"prefecthq/prefect:{pins['prefect']}-")


def test_image_takes_what_it_copies() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if re.match("COPY (?!--from)", line) for word in line.split()[1:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)
    assert any(line.startswith("USER 1000") for line in lines)
    assert any(line.startswith("HEALTHCHECK") for line in lines)
