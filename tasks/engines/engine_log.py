"""Engines print to log files, which are kept if an engine dies."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import in_brief

VALIDATION = re.compile(r"\d+ validation errors? for \w+$")
"""How pydantic begins: a field, if it is one's, and what is wrong follow on lines of their own."""


@contextmanager
def log_to(path: str) -> Iterator[None]:
    """Send what this process and the processes it starts print to a file; sys.stderr goes on to the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, stderr, ours = os.dup(1), os.dup(2), sys.stderr
    with open(path, "ab") as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            # not closed at the end: another thread may be printing to it
            sys.stderr = os.fdopen(os.dup(stderr), "w", buffering=1)
            yield
        finally:
            sys.stderr = ours
            sys.stdout.flush()
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)


def last_words(log: str) -> str | None:
    """The line of an engine's log that names its fault, where there is one."""
    try:
        with open(log, "rb") as f:
            f.seek(max(0, os.path.getsize(log) - 200_000))
            lines = f.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    faults = []
    texts = [line.split("] ", 1)[-1].strip() for line in lines]  # vLLM puts "(… pid=…) ERROR date [file:line] " before
    for i, text in enumerate(texts):
        name = text.split(":", 1)[0]
        if name.rpartition(".")[2].endswith(("Error", "Exception", "Interrupt")) and " " not in name and ":" in text:
            if VALIDATION.search(text):
                told = " ".join(texts[i + 1 : i + 4]).partition(" [type=")[0]
                text = f"{name.rpartition('.')[2]}: {told}"
            faults.append(re.sub(r", retrying \d+ of \d+$", "", text))
    first = [f for f in faults if "Engine core initialization failed" not in f and "EngineDeadError" not in f]
    return in_brief(first[0], 500) if first else None


def named_fault(error: BaseException) -> str:
    """A fault in one line of at most 500 characters."""
    return in_brief(f"{type(error).__name__}: {error}", 500)
