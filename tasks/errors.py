"""What ends a run, told in a line or two without a traceback."""

from __future__ import annotations

LONGEST = 1000
"""Characters of a message."""


class Told(Exception):
    """What it is said by is all that a person needs."""

    logged = False
    """Does a flow run's log have it?"""

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))


class UserError(Told):
    """A mistake that the user can mend: names the file, field or row and what to do; exit code 2."""


class EngineError(Told):
    """An engine died and could not be brought back, or graders do not start; the message holds their own last words;
    exit code 1."""


class FleetError(Told):
    """Flow runs that share a run's shards crash again and again, or Prefect's server stays away; exit code 1."""


class RunCancelled(Told):
    """Somebody cancelled what makes the run; exit code 130."""


class StoreError(Told):
    """A store failed or stayed away for longer than the run waits, or a disk is full; exit code 1."""


def on_one_line(message: str) -> str:
    """A message for a terminal or a log, on one line. Paths and names of columns in it can hold anything, so control
    characters are escaped. The middle of a long message is left out."""
    if not message.isprintable():
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} [...] {message[-LONGEST // 3 :]}"
    return message


def in_brief(error: object, most: int = 200) -> str:
    """What a library or a server says of a fault, on one line of at most `most` characters: an exception's message, or
    the name of its type if it has none."""
    text = " ".join(str(error).split()) or (type(error).__name__ if isinstance(error, BaseException) else "")
    return on_one_line(text[:most])


class DiskFull(StoreError):
    """There is no room for what is to be written."""
