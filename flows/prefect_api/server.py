"""The Prefect server that the environment names, if any. Runs do not need one, and start none."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.credentials import redacted
from tasks.errors import UserError, in_brief

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # the run tells its own story on stderr; Prefect keeps the log
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts that are this machine: no proxy leads there."""

RETRIES = 8
"""Times that a request to Prefect's API is tried again, 2, 4, 8, ... 256 s apart: a server may be away for minutes."""


def settle_environment() -> bool:
    """Switch telemetry off, and return whether there is a Prefect server that records runs.

    Raises UserError where Prefect cannot be set up as the environment wants it, or the server does not answer or does
    not admit this process. Comes before anything else imports Prefect.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    _reach_this_machine_directly()
    url = _settings().api.url
    if not url:
        return False
    from prefect.client.orchestration import get_client

    with _told(url), get_client(sync_client=True) as client:
        if fault := client.api_healthcheck():
            raise fault
        _check_admission(client, url)
    return True


def _reach_this_machine_directly() -> None:
    """Use no proxy between programs of this machine, in this process and all that it starts."""
    if not any(name.lower() in PROXIES for name in os.environ):
        return
    for name in [name for name in ("NO_PROXY", "no_proxy") if name in os.environ] or ["NO_PROXY"]:
        given = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        if given != ["*"]:
            os.environ[name] = ",".join([*given, *(host for host in HERE if host not in given)])


def _settings() -> Any:
    """Prefect's settings, from the environment, .env, prefect.toml and its profiles."""
    said = io.StringIO()
    try:
        # where it refuses them, it prints them as well
        with contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a home that cannot be made, which only a server needs
            from prefect.settings import get_current_settings

            settings = get_current_settings()
        sys.stderr.write(said.getvalue())  # such as of a profile that does not exist
        return settings
    except (Exception, SystemExit) as error:
        raise UserError(
            f"Prefect refuses its settings ({_reason(error)}): correct what the environment (PREFECT_...), a "
            "prefect.toml or a profile says. A run needs only PREFECT_API_URL, and only to be recorded"
        ) from error


def _reason(error: BaseException) -> str:
    """What is wrong, without values, which may be secrets."""
    details = getattr(error, "errors", None)
    if callable(details):
        with contextlib.suppress(Exception):
            first = details(include_url=False, include_input=False, include_context=False)[0]
            return in_brief(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    first, *_ = redacted(str(error)).strip().splitlines() or [type(error).__name__]  # values are on the others
    return in_brief(first)


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Faults of a server as UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = redacted(f"{url} does not answer ({in_brief(error)})")
        raise UserError(f"PREFECT_API_URL: {fault}; start that server, or unset it to run without one") from error


def _check_admission(client: SyncPrefectClient, url: str) -> None:
    """Raises UserError if the server wants a password or key that the environment does not have."""
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
    """Raises UserError if there is no Prefect server that several machines could use."""
    if not _settings().api.url:
        raise UserError(
            "run.workers: needs a Prefect server that the workers use as well: set PREFECT_API_URL (deploy/README.md "
            "says how to set one up), or leave run.workers out"
        )
