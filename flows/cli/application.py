"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, Parameter, Token, convert

from flows.safe_path import apart
from flows.terminal.text import say
from tasks.errors import EngineError, FleetError, RunCancelled, StoreError, UserError

if TYPE_CHECKING:
    from flows.terminal.interruption import Interruption
    from flows.terminal.progress import Progress

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors of writing to a file that is full or broken, to which stdout may go."""


def _converted(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of an option, as cyclopts converts it. Raises ValueError for a fraction where a whole number is wanted:
    cyclopts would round it."""
    if kind in (int, int | None) and "." in tokens[0].value:
        raise ValueError(f"must be a whole number, not {tokens[0].value}")
    return convert(kind, tokens)


def _version() -> str:
    """Of the package as it is installed."""
    from importlib import metadata

    try:
        return metadata.version("stepwave")
    except metadata.PackageNotFoundError:
        return "unknown: stepwave is not installed"


app = App(
    name="stepwave",
    version=_version,
    help="Reasoning solutions in bulk by reward-guided speculative decoding.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
    default_parameter=Parameter(converter=_converted),
)

Changes = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Change the configuration: dotted.key=value. May be repeated."),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON object on stdout.")]


def command_line(*words: str, changes: list[str] | None) -> str:
    """The command line that goes on with a run."""
    return shlex.join(["stepwave", *words, *(part for change in changes or [] for part in ("--set", change))])


@contextmanager
def resumable(interruption: Interruption) -> Iterator[Progress]:
    """While the block runs, its progress is shown; a fault that ends it is told with the command that goes on."""
    from flows.terminal.progress import Progress, shown

    try:
        with Progress() as progress, shown(progress):
            yield progress
    except (EngineError, StoreError, FleetError, RunCancelled) as error:
        error.add_note(f"what was committed or checkpointed is kept; to go on: {interruption.again}")
        raise


def run_flow(name: str, interruption: Interruption, *arguments: Any) -> dict[str, Any]:
    """Run the flow of this name, from the module of this name, with progress shown; returns the flow's result.

    Without a Prefect server the function that the flow is made of is called.
    """
    from flows.prefect_api import server

    recorded = server.settle_environment()
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    work = flow if recorded else flow.fn
    with resumable(interruption):
        return interruption.run(lambda: work(*arguments))


def main() -> NoReturn:
    """Entry point. Exits with 2 and a line or two for mistakes of the user, with 130 where it is interrupted."""
    _open_streams()
    _read_utf8()
    apart()
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except UserError as error:
        _leave(str(error), 2)
    except (EngineError, StoreError, FleetError, RunCancelled) as error:
        code = 130 if isinstance(error, RunCancelled) else 1
        _leave("\nstepwave: ".join([str(error), *getattr(error, "__notes__", [])]), code)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:  # whoever read stdout has gone
        _drop_stdout()
        sys.exit(1)
    except Exception as error:
        from cyclopts import CycloptsError

        if isinstance(error, CycloptsError):
            message = re.sub(r"=[^'\"\]]*", "=...", str(error))  # a value may be a secret that went astray
            _leave(f"{message} (see stepwave --help)", 2)
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            _drop_stdout()
            _leave(f"the result cannot be shown: writing to stdout failed ({error.strerror})", 1)
        if isinstance(error, FileNotFoundError) and _is_nowhere():
            _leave("the working directory no longer exists: change to another one", 2)
        raise
    sys.exit(0)


def _read_utf8() -> None:
    """Start this process again with UTF-8 for names of files and text, if the locale has ASCII or a code page.
    Characters that the terminal cannot show are escaped."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_streams() -> None:
    """Open standard streams that are closed, on /dev/null. Otherwise a file that is opened later would get the number
    of a standard stream, to which engines and children print."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        else:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _is_nowhere() -> bool:
    """Was the working directory removed?"""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _drop_stdout() -> None:
    """Discard all further output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(message: str, code: int) -> NoReturn:
    say(f"stepwave: {message}")
    sys.exit(code)
