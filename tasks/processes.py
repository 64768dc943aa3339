"""How a process of ours is started that runs one of our modules, and what one may take that works on somebody else's
text: the system ends it beyond that."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[1])


def started_as(module: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of subprocess for a module of ours. `environment`: variables beside this process's own."""
    own = {"PYTHONPATH": ROOT, "PYTHONSAFEPATH": "1"}
    return {"args": [sys.executable, "-P", "-m", module], "env": os.environ | (environment or {}) | own}


def kernels() -> str | None:
    """A folder for compiled kernels, which are programs: one that nobody else can have filled, as torch's own choice in
    the folder for temporary files may be. None where there is none."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "stepwave", "torchinductor")
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
        if found.st_uid == os.getuid() and not found.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    return None


def limit_memory(beyond: int) -> None:
    """Let this process take so many bytes of address space beyond what it has now: more is a MemoryError. (Linux;
    elsewhere nothing happens.)"""
    statm = Path("/proc/self/statm")
    if statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + beyond
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_work(seconds: int) -> None:
    """Have the system kill this process by SIGXCPU once it has worked for so many seconds of processor time from here
    on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def unlimit_work() -> None:
    """Take `limit_work` back."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
