"""Why a server of an `openai` engine gave no answer that can be used."""

from __future__ import annotations


class Fault(Exception):
    """The words follow on the server's address. They may be the server's own: `on_one_line` before they are shown."""


class Refused(Fault):
    """It will not have this request, whoever sends it."""


class Unfit(Fault):
    """It is not what the configuration takes it for: another key, another model, another kind of server."""


class Away(Fault):
    """It cannot be reached, so the request has done nothing."""


class Broken(Fault):
    """It had the request and did not answer it."""


class Malformed(Broken):
    """It answered what no answer to the request can be."""


class Busy(Away):
    """It wants to be asked later."""

    def __init__(self, reason: str, after: float | None) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds, where it said so; may be infinite."""
