"""What lies of a server cost a run's process in memory: every kind of lie in turn, asked again and again.

    python tests/benchmarks/lying_server.py [TIMES]

The server is a process of its own. Prints the most memory that the asking process held above what it holds when it is
idle, for each kind and over all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tasks")]

from engines.fake_server import FakeServer  # noqa: E402
from engines.lies import LIES  # noqa: E402
from engines.openai_scenes import VOCABULARY, asks  # noqa: E402

from tasks.engines import endpoint, open_engines  # noqa: E402
from tasks.engines.spec import EngineSpec  # noqa: E402
from tasks.errors import EngineError  # noqa: E402

AT_ONCE = 32
"""Requests in flight."""
MOST = 200 << 20


def serve(pipe: Connection) -> None:
    """Tell the port, then lie as the pipe says until it ends."""

    async def lie() -> None:
        async with FakeServer(VOCABULARY) as server:
            pipe.send(server.port)
            while (name := await asyncio.to_thread(pipe.recv)) is not None:
                server.trouble = lambda prompt, name=name: LIES.get(name)
                pipe.send(None)

    asyncio.run(lie())


def held(most: bool = False) -> int:
    """Bytes that this process holds, or has held at most since it was last reset."""
    field = "VmHWM:" if most else "VmRSS:"
    return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0]) << 10


async def ask_for(url: str, times: int) -> str:
    """What came of asking so often: a line, or answers."""
    arguments: dict[str, Any] = {"endpoints": [url], "patience": 0.05, "concurrency": AT_ONCE, "timeout": 2.0}
    spec = EngineSpec("draft", "m", "openai", 4096, arguments)
    said: list[str] = []
    try:
        opening = open_engines([spec], {"draft": VOCABULARY}, said.append, said.append, restarts=0, patience=5)
        async with opening as engines:
            await engines["draft"].ask(asks(AT_ONCE * times))
    except EngineError as error:
        return str(error)
    return "rows failed"


def main(times: str = "4") -> None:
    endpoint.FIRST_WAIT, endpoint.LONGEST_WAIT = 0.01, 0.02
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    ours.send("")
    ours.recv()
    asyncio.run(ask_for(url, int(times)))  # what the libraries keep
    gc.collect()
    idle, over = held(), 0
    print(f"idle {idle >> 20} MiB, {len(LIES)} kinds, {AT_ONCE} requests in flight, {os.cpu_count()} cores", flush=True)
    for name in LIES:
        ours.send(name)
        ours.recv()
        Path("/proc/self/clear_refs").write_text("5")
        began = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            said = asyncio.run(ask_for(url, int(times)))
        above = held(most=True) - idle
        over = max(over, above)
        print(f"{name:40} {above / 2**20:7.1f} MiB {time.monotonic() - began:6.1f} s  {said[:90]}", flush=True)
    print(f"at most {over / 2**20:.1f} MiB above idle; {'within' if over < MOST else 'BEYOND'} {MOST >> 20} MiB")
    ours.send(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
