"""Runs as real processes on stores that fail, are away, or are full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from campaign import Written, same_as_undisturbed, started, until
from proxy import Fault, FaultProxy, Outage

pytestmark = pytest.mark.tier2

Command = Callable[..., list[str]]


@pytest.fixture
def proxy(s3_server: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A fault proxy in front of the S3 server; what is asked of the environment's endpoint goes through it."""
    with FaultProxy(s3_server, seed=7) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


def fetched(s3: str, s3_server: str, prefix: str, to: Path) -> Path:
    """An output on S3 as a local directory."""
    client = boto3.client("s3", endpoint_url=s3_server)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=s3[5:], Prefix=prefix):
        for found in page.get("Contents", []):
            path = to / found["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(s3[5:], found["Key"], str(path))
    return to


@pytest.fixture
def whole(undisturbed: Callable[..., Path]) -> Path:
    return undisturbed()


def is_checkpoint(method: str, path: str) -> bool:
    return method == "PUT" and "/checkpoints/0" in path and path.endswith(".parquet")


def test_a_store_that_fails_now_and_then_costs_nothing_but_time(
    command: Command, proxy: FaultProxy, s3: str, s3_server: str, whole: Path, tmp_path: Path
) -> None:
    proxy.rates = {fault: 0.03 for fault in Fault if fault is not Fault.HANG}
    with started(command(output=f"{s3}/x"), tmp_path / "log") as process:
        said = process.ends()
    assert "trying again" in said
    assert min(proxy.counts[fault] for fault in proxy.rates) > 0
    print(dict(proxy.counts), "of", proxy.requests, "requests")
    same_as_undisturbed(fetched(s3, s3_server, "x/", tmp_path / "out"), whole)


def test_a_run_on_s3_that_is_killed_at_any_request_goes_on(
    command: Command, proxy: FaultProxy, s3: str, s3_server: str, whole: Path, tmp_path: Path
) -> None:
    draw = random.Random(11)
    words, log = command(output=f"{s3}/x"), tmp_path / "log"
    kills = 0
    for _ in range(6):
        with started(words, log) as process:
            fatal = proxy.requests + draw.randrange(20, 110)

            def kill(n: int, method: str, path: str, fatal: int = fatal, pid: int = process.popen.pid) -> None:
                if n == fatal:
                    os.killpg(pid, signal.SIGKILL)

            proxy.on_request = kill
            proxy.rates = {Fault.SLOW_DOWN: 0.02, Fault.LOST: 0.02}
            kills += process.popen.wait(timeout=300) == -signal.SIGKILL
    proxy.on_request = lambda n, method, path: None
    with started(words, log) as process:
        process.ends()
    assert kills >= 4
    same_as_undisturbed(fetched(s3, s3_server, "x/", tmp_path / "out"), whole)


@pytest.mark.parametrize("how", Outage)
def test_a_store_that_is_away_for_a_while_is_ridden_out(
    command: Command, proxy: FaultProxy, s3: str, s3_server: str, whole: Path, tmp_path: Path, how: Outage
) -> None:
    def leave(n: int, method: str, path: str) -> None:
        if is_checkpoint(method, path):
            proxy.on_request = lambda n, method, path: None
            proxy.plan(Fault.RESET)
            proxy.away_soon(6.0, how)

    proxy.on_request = leave
    with started(command(output=f"{s3}/x"), tmp_path / "log") as process:
        said = process.ends()
    assert "trying again" in said
    assert "the store works again" in said
    same_as_undisturbed(fetched(s3, s3_server, "x/", tmp_path / "out"), whole)


def test_a_store_that_stays_away_ends_the_run_which_goes_on_when_it_is_back(
    command: Command, proxy: FaultProxy, s3: str, s3_server: str, whole: Path, tmp_path: Path
) -> None:
    records: list[str] = []

    def leave(n: int, method: str, path: str) -> None:
        if records and is_checkpoint(method, path):
            proxy.away_soon(None)

    def landed(method: str, path: str) -> None:
        if method == "PUT" and "/shards/" in path:
            records.append(path)

    proxy.on_request, proxy.on_success = leave, landed
    words, log = command("run.store_patience=3", output=f"{s3}/x"), tmp_path / "log"
    with started(words, log) as process:
        said = process.ends(1)
    *_, fault, advice = said.strip().splitlines()
    assert fault.startswith(f"stepwave: {s3}/x/")
    assert "tried again for" in fault
    assert advice.endswith(f"to go on: stepwave {' '.join(words)}")
    proxy.on_request = lambda n, method, path: None
    proxy.back()
    before = fetched(s3, s3_server, "x/", tmp_path / "before")
    assert list(before.glob("shards/*.json"))
    with started(words, log) as process:
        process.ends()
    out = fetched(s3, s3_server, "x/", tmp_path / "out")
    same_as_undisturbed(out, whole)
    for record in before.glob("shards/*.json"):
        for table in ("solutions", "steps"):
            name = f"{table}/{record.stem}.parquet"
            assert (out / name).read_bytes() == (before / name).read_bytes()


def test_a_run_is_stopped_while_its_store_is_away(
    command: Command, proxy: FaultProxy, s3: str, s3_server: str, whole: Path, tmp_path: Path
) -> None:
    """By the signal that announces the end of a machine, which leaves it 30 seconds."""

    def leave(n: int, method: str, path: str) -> None:
        if is_checkpoint(method, path):
            proxy.away_soon(None)

    proxy.on_request = leave
    words, log = command(output=f"{s3}/x"), tmp_path / "log"
    with started(words, log) as process:
        assert until(process, lambda: log.exists() and "trying again" in log.read_text())
        process.popen.terminate()
        assert process.popen.wait(timeout=30) == 130
    assert log.read_text().strip().endswith(f"interrupted; to go on: stepwave {' '.join(words)}")
    proxy.on_request = lambda n, method, path: None
    proxy.back()
    with started(words, log) as process:
        process.ends()
    same_as_undisturbed(fetched(s3, s3_server, "x/", tmp_path / "out"), whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a disk that can be full needs a mount, which is not permitted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as f:
        while True:
            f.write(b"x" * 4096)


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    command: Command, small_disk: Path, whole: Path, tmp_path: Path
) -> None:
    out = small_disk / "out"
    words, log = command("run.store_patience=2", output=str(out)), tmp_path / "log"
    with started(words, log) as process:
        written = Written(out)
        until(process, lambda: written.count() > 30)
        filler = small_disk / "somebody else's"
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        said = process.ends(1)
    assert "the disk is full" in said
    records = {path: path.read_bytes() for path in (out / "shards").glob("*.json")}
    filler.unlink()
    assert not list(out.rglob("*.tmp"))
    with started(words, log) as process:
        process.ends()
    same_as_undisturbed(out, whole)
    assert all(path.read_bytes() == content for path, content in records.items())
