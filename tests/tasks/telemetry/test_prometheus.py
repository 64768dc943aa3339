"""Metrics over HTTP: what they say is what was done, and nothing is left open."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from disks import Disk, MemoryStore
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from small_runs import Health, Layout, Process, plan_of, write_problems

from tasks.output.session import Session
from tasks.telemetry.prometheus import served

Samples = dict[tuple[str, ...], float]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def scrape(port: int) -> Samples:
    """Name and label values (but the run's), in the order of the labels' names, to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
    assert {sample.labels.pop("run_id") for sample in samples} <= {"abc"}
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


@pytest.fixture
def done(tmp_path: Path) -> Process:
    """A process that has made a whole run; one of its six problems failed."""
    write_problems(str(tmp_path / "problems.parquet"))
    plan = plan_of(str(tmp_path / "problems.parquet"), Layout(samples=2))
    return Process(MemoryStore(Disk()), plan, Health(frozenset({4}))).run()


def test_they_add_up_to_the_manifest(done: Process) -> None:
    assert done.session is not None
    assert done.manifest is not None
    counts, computed = done.manifest["counts"], done.manifest["computed"]
    with served(free_port(), "abc", done.session, print, print) as port:
        assert port is not None
        seen = scrape(port)
    assert seen["stepwave_steps_kept_total",] == counts["draft_steps"]
    assert seen["stepwave_steps_judged_total",] == counts["steps"]
    assert seen["stepwave_rewards_total",] == counts["scored"]
    assert seen["stepwave_reward_sum_total",] == pytest.approx(counts["reward_sum"])
    assert seen["stepwave_shards_total",] == done.manifest["shards"]
    for status in ("finished", "max_tokens", "max_steps", "failed"):
        assert seen["stepwave_solutions_total", status] == counts[status]
    for role, usage in computed.items():
        for kind in ("generated", "prefilled", "cached"):
            assert seen["stepwave_tokens_total", kind, role] == usage[kind]
    accounts = done.session.meters.accounts()["roles"]
    for role, figures in accounts.items():
        assert seen["stepwave_requests_total", role] == figures["requests"]
        assert seen["stepwave_engine_seconds_total", role, "busy"] == figures["busy"]
        assert seen["stepwave_requests_in_flight", role] == 0
    assert seen["stepwave_trajectories", "in_flight"] == seen["stepwave_trajectories", "waiting"] == 0
    assert counts["failed"]
    assert counts["draft_steps"]


def test_before_anything_is_done_there_are_zeros() -> None:
    with served(free_port(), "abc", Session(MemoryStore(Disk())), print, print) as port:
        assert port is not None
        seen = scrape(port)
    assert set(seen.values()) == {0}
    assert ("stepwave_steps_judged_total",) in seen


def test_a_port_that_is_taken_is_left_to_others() -> None:
    said: list[str] = []
    session = Session(MemoryStore(Disk()))
    with (
        served(free_port(), "abc", session, print, print) as first,
        served(first, "abc", session, said.append, print) as second,
    ):
        assert first is not None
        assert second is not None
        assert first < second < first + 100
        assert said == [f"metrics at port {second}"]
        assert scrape(first) == scrape(second)


def test_nothing_is_left_behind() -> None:
    before = list(REGISTRY.collect())
    with served(free_port(), "abc", Session(MemoryStore(Disk())), print, print) as port:
        pass
    assert [family.name for family in REGISTRY.collect()] == [family.name for family in before]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    with served(port, "abc", Session(MemoryStore(Disk())), print, print) as again:
        assert again == port


def test_none_are_served_unless_asked_for() -> None:
    said: list[str] = []
    with served(None, "abc", Session(MemoryStore(Disk())), said.append, said.append) as port:
        assert port is None
    assert said == []


def test_a_port_that_may_not_be_opened_costs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    said: list[str] = []
    monkeypatch.setattr("tasks.telemetry.prometheus.start_http_server", refuse)
    with served(80, "abc", Session(MemoryStore(Disk())), print, said.append) as port:
        assert port is None
    assert said == ["no metrics: port 80 of 127.0.0.1 cannot be opened (Permission denied)"]


def test_no_page_of_another_name_reads_them() -> None:
    """One whose name's address changed to this machine's, as a page in a browser can bring about."""
    with served(free_port(), "abc", Session(MemoryStore(Disk())), print, print) as port:
        names = dict.fromkeys(("127.0.0.1", f"localhost:{port}", f"[::1]:{port}"), 200)
        for name, status in (names | {"evil.example": 403, f"localhost.evil.example:{port}": 403, "": 403}).items():
            with socket.create_connection(("127.0.0.1", port or 0)) as asking:
                asking.sendall(f"GET /metrics HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: asking.recv(1 << 16), b""))
            assert answer.startswith(b"HTTP/1.0 %d" % status), name
            assert (b"stepwave_" in answer) == (status == 200)
            assert b"access-control" not in answer.lower()
