"""What Prefect's UI shows of a run, and that a server that does not take it ends none."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invariants import check
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from flows.prefect_api import ui
from flows.terminal.progress import Progress
from schemas.config import Config
from tasks.generation.pipeline import Pipeline

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]


async def shown(tag: str, out: Path) -> tuple[FlowRun, dict[str, list[Any]]]:
    """The flow run with a tag and an output, and its artifacts by key."""
    async with get_client() as client:  # runs of the same configuration and input have the same id
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))
        [run] = [run for run in runs if run.name.endswith(f" {out}")]
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        artifacts = await client.read_artifacts(artifact_filter=of_run)
    found: dict[str, list[Any]] = {}
    for artifact in artifacts:
        found.setdefault(str(artifact.key), []).append(artifact)
    return run, found


def test_a_run_has_tags_progress_and_a_summary(generate: Generate, job: Job, out: Path) -> None:
    manifest = generate(job())
    run, artifacts = asyncio.run(shown(f"run:{manifest['run_id']}", out))
    assert run.name == f"rsd to {out}"
    assert {"stepwave", "rsd"} <= set(run.tags)
    [progress] = artifacts["stepwave-progress"]  # one, renewed, and not one a wave
    assert progress.data == 100
    assert progress.description.startswith("112 of 112 solutions, ")
    [summary] = artifacts["stepwave-summary"]
    assert f"`{out}/report/index.html`" in summary.data
    assert "| draft steps kept | " in summary.data
    assert "stepwave-report" not in artifacts


@pytest.mark.parametrize("fault", ["refuses", "is slow"])
def test_a_server_that_does_not_take_it_ends_no_run(
    generate: Generate, job: Job, out: Path, mixed: str, fault: str, monkeypatch: pytest.MonkeyPatch, no_hang: None
) -> None:
    async def away(*arguments: Any, **options: Any) -> None:
        if fault == "refuses":
            raise ConnectionError("no route")
        await asyncio.sleep(1000)

    for name in ("acreate_progress_artifact", "aupdate_progress_artifact", "acreate_markdown_artifact"):
        monkeypatch.setattr(ui, name, away)
    monkeypatch.setattr(ui, "PATIENCE", 0.01)
    told: list[str] = []
    monkeypatch.setattr(
        "prefect.logging.loggers.PrefectLogAdapter.warning", lambda _, text, *of: told.append(text % of)
    )
    generate(job())
    check(out, mixed)
    what = "ConnectionError no route" if fault == "refuses" else "TimeoutError"
    assert f"Prefect's server did not take the artifact stepwave-summary ({what}); the run goes on" in told


def test_the_log_says_which_shard_and_how_far(
    generate: Generate, job: Job, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(job("models.draft.engine.refuse=' 5 spoons.'"))
    lines = [record.getMessage() for record in caplog.records]
    assert not [line for line in lines if " solutions ended" in line]  # it takes less than the seconds between lines
    assert len([line for line in lines if ": decoded; " in line]) == 5
    assert [line for line in lines if line.startswith("shard 00002: committed; ")]
    assert [line for line in lines if line.startswith("shard 00000: problem 'p05'") and "refused" in line]
    caplog.clear()
    monkeypatch.setattr("flows.lifecycle.stages.LOG_EVERY", 0)
    generate(job("decoding.seed=1", output=str(Path(job().output.path).parent / "more")))
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if line.startswith("shard 00001: 0 of ")]


def test_metrics_can_be_read_while_it_runs(
    generate: Generate, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pages: list[str] = []
    commit = Pipeline.commit

    async def looked_at(self: Pipeline, shard: Any) -> Any:
        record = await commit(self, shard)
        [said] = [text for text in map(str, caplog.messages) if text.startswith("metrics at port ")]
        url = f"http://127.0.0.1:{said.rsplit(' ', 1)[1]}/metrics"
        pages.append(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode()))
        return record

    monkeypatch.setattr(Pipeline, "commit", looked_at)
    manifest = generate(job("run.metrics_port=39123"))
    assert len(pages) == manifest["shards"]
    tokens = manifest["computed"]["draft"]["generated"]
    assert f'stepwave_tokens_total{{kind="generated",role="draft",run_id="{manifest["run_id"]}"}} {tokens:.1f}' in (
        pages[-1].splitlines()
    )


def test_progress_is_renewed_now_and_then(prefect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_: list[tuple[float, str]] = []
    seen = asyncio.Event()

    async def create(share: float, key: str, description: str) -> str:
        shown_.append((share, description))
        return "id"

    async def update(artifact: str, share: float, description: str) -> None:
        assert artifact == "id"
        shown_.append((share, description))
        seen.set()

    monkeypatch.setattr(ui, "acreate_progress_artifact", create)
    monkeypatch.setattr(ui, "aupdate_progress_artifact", update)
    monkeypatch.setattr(ui, "EVERY", 0.001)

    @flow
    async def main() -> None:
        progress = Progress(shown=False)
        progress.begin(200, 50, "solutions")
        async with ui.progress_shown(progress, "abc"):
            await seen.wait()
            progress.ended(150, 2)

    asyncio.run(main())
    assert shown_[0][0] == 25
    assert shown_[-1][0] == 100
    assert "200 of 200 solutions" in shown_[-1][1]
    assert "2 failed" in shown_[-1][1]
    assert "abc" in shown_[-1][1]


@pytest.mark.parametrize(
    ("changes", "path", "url"),
    [
        ([], "out", None),
        ([], "s3://b/x", None),
        (["storage.anonymous=true"], "out", None),
        (
            ["storage={anonymous: true, region: eu-west-1}"],
            "s3://b/x y/",
            "https://s3.eu-west-1.amazonaws.com/b/x%20y/r",
        ),
        (["storage={anonymous: true, endpoint_url: http://h:1}"], "s3://b", "http://h:1/b/r"),
    ],
)
def test_a_browser_is_sent_only_where_it_can_go(
    configured: Job, changes: list[str], path: str, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert ui.address(configured(*changes, output=path), "r") == url
