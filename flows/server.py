"""Prefect's API for a run on a machine without a Prefect server: a private one, for as long as the run lasts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.credentials import redacted
from tasks.errors import UserError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # the run tells its own story on stderr; Prefect keeps the log
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

RETRIES = 8
"""Times that a request to Prefect's API is tried again, 2, 4, 8, ... 256 s apart: a server may be away for minutes."""


@contextlib.contextmanager
def private_api() -> Iterator[None]:
    """Send nothing anywhere, and have a private API, if one is needed, while the block runs.

    Prefect would start such a server at the flow's call, but one that outlives a run that is killed, and that a signal
    to the run's whole group ends before the flow could report that it was stopped.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

    settings = get_current_settings()
    if settings.api.url is not None:
        with get_client(sync_client=True) as client:
            if fault := client.api_healthcheck():
                told = redacted(f"{settings.api.url} does not answer ({' '.join(str(fault).split())[:200]})")
                raise UserError(f"PREFECT_API_URL: {told}; start that server, or unset it to run without one")
            _check_admission(client, settings.api.url)
    private = settings.api.url is None and settings.server.ephemeral.enabled
    if private:
        from flows.private_server import PrivateServer

        PrivateServer().start()
    # nobody watches a private API for heartbeats, and the flow's end would wait for their thread
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if private else {}):
        yield
    # Prefect stops the server at exit, after its last logs and events are sent


def _check_admission(client: SyncPrefectClient, url: str) -> None:
    """UserError where the server wants a password or key that it is not given: its health it tells to everybody."""
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        client.read_flows(limit=1)
    except PrefectHTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise UserError(
                f"PREFECT_API_URL: {redacted(url)} refuses the credentials of this environment; set "
                "PREFECT_API_AUTH_STRING (a server with a password) or PREFECT_API_KEY (Prefect Cloud)"
            ) from None
        raise


def outlast_server() -> None:
    """Let the requests of this process to Prefect's API outlast a server that is away, from now to the one that tells
    how the flow run ended. Prefect by itself gives up after a minute. What the user has set for it stays."""
    from prefect.settings import get_current_settings

    client = get_current_settings().client
    if "max_retries" not in client.model_fields_set:
        client.max_retries = RETRIES


def check_server() -> None:
    """UserError where there is no Prefect server that machines could share."""
    from prefect.settings import get_current_settings

    if get_current_settings().api.url is None:
        raise UserError(
            "run.workers: needs a Prefect server that the workers use as well: set PREFECT_API_URL (deploy/README.md "
            "says how to set one up), or leave run.workers out"
        )
