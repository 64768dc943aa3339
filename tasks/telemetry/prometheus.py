"""What a process is doing and has done, for Prometheus: read off what is counted anyway, when somebody asks.

`stepwave_*_total` count what this process did since it began, so that rates over several processes add up.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.telemetry.metering import Meters
from tasks.telemetry.progress import Tally

PORTS = 100
"""Ports that are tried, from the given one on."""
RUN, ROLE = ["run_id"], ["run_id", "role"]


class Counted(Protocol):
    """What a session counts."""

    tally: Tally
    meters: Meters


class Metrics(Collector):
    """One session's metrics."""

    def __init__(self, run_id: str, session: Counted) -> None:
        self.run_id, self.session = run_id, session

    def collect(self) -> Iterator[Metric]:
        """The session's metrics as they are now, for Prometheus."""
        tally, meters, run_id = self.session.tally, self.session.meters, self.run_id

        def plain(kind: type[Metric], name: str, help: str, value: float) -> Metric:
            family = kind(f"stepwave_{name}", help, labels=RUN)  # type: ignore[call-arg]
            family.add_metric([run_id], value)  # type: ignore[attr-defined]
            return family

        for name, help, value in (
            ("steps_judged", "Draft steps that the acceptance rule decided on.", tally.judged),
            ("steps_kept", "Draft steps that it accepted.", tally.kept),
            ("waves", "Rounds of all trajectories.", tally.rounds),
            ("shards", "Shards committed.", tally.shards),
            ("rewards", "Attempts that the PRM scored, in committed shards.", tally.counts["scored"]),
            ("reward_sum", "Sum of their rewards.", tally.counts["reward_sum"]),
            ("solutions_correct", "Solutions committed that are correct.", tally.counts["correct"]),
        ):
            yield plain(CounterMetricFamily, name, help, value)
        solutions = CounterMetricFamily("stepwave_solutions", "Solutions committed.", labels=[*RUN, "status"])
        for status in ("finished", "max_tokens", "max_steps", "failed"):
            solutions.add_metric([run_id, status], tally.counts[status])
        yield solutions
        trajectories = GaugeMetricFamily(
            "stepwave_trajectories", "Trajectories in flight, and waiting for room.", labels=[*RUN, "state"]
        )
        trajectories.add_metric([run_id, "in_flight"], tally.going())
        trajectories.add_metric([run_id, "waiting"], tally.claimed - tally.begun)
        yield trajectories
        tokens = CounterMetricFamily(
            "stepwave_tokens", "Tokens generated, prefilled, and served from a cache.", labels=[*ROLE, "kind"]
        )
        for role, usage in list(tally.usage.items()):
            for kind in ("generated", "prefilled", "cached"):
                tokens.add_metric([run_id, role, kind], getattr(usage, kind))
        yield tokens
        requests = CounterMetricFamily("stepwave_requests", "Requests to the engine.", labels=ROLE)
        waiting = GaugeMetricFamily("stepwave_requests_in_flight", "Requests at the engine.", labels=ROLE)
        seconds = CounterMetricFamily(
            "stepwave_engine_seconds",
            "Seconds starting, busy (with requests in flight) and idle.",
            labels=[*ROLE, "state"],
        )
        for role, figures in meters.accounts()["roles"].items():
            requests.add_metric([run_id, role], figures["requests"])
            waiting.add_metric([run_id, role], meters.roles[role].work.flight)
            for state in ("starting", "busy", "idle"):
                seconds.add_metric([run_id, role, state], figures[state])
        yield from (requests, waiting, seconds)


@contextmanager
def served(
    port: int | None,
    run_id: str,
    session: Counted,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    host: str = "127.0.0.1",
) -> Iterator[int | None]:
    """Serve a session's metrics over HTTP at an address of this machine while the block runs; gives the port, and says
    it. A fault is warned of, and costs no run."""
    if port is None:
        yield None
        return
    registry = CollectorRegistry()
    registry.register(Metrics(run_id, session))
    for tried in range(port, min(port + PORTS, 1 << 16)):
        try:
            server, thread = start_http_server(tried, host, registry=registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            warn(f"no metrics: port {tried} of {host} cannot be opened ({error.strerror})")
            break
        if here(host):
            server.set_app(_for_names_of_here(server.get_app()))
        say(f"metrics at port {tried}")
        try:
            yield tried
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        return
    else:
        warn(f"no metrics: other processes have the ports {port} to {tried}")
    yield None


def here(host: str) -> bool:
    """Is this a name or an address by which a machine calls itself?"""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower() == "localhost"


def _for_names_of_here(app: Any) -> Any:
    """Refuse requests under another host name than this machine's. A page in a browser could otherwise read the metrics
    under a name of its own whose address it changes to this machine's."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        name, _, port = environ.get("HTTP_HOST", "").rpartition(":")
        if not here(name if name and port.isdigit() else environ.get("HTTP_HOST", "")):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"ask by localhost or 127.0.0.1"]
        return app(environ, start_response)

    return guarded
