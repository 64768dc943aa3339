"""vLLM's own OpenAI servers for the roles of a plan, with the engine arguments that Stepwave's engines have.

For comparisons only: nothing of Stepwave runs in them but the bundled configuration's arguments. What vLLM counts is
read from each server's Prometheus page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from same_work import step_tag

from tasks.engines.arguments import vllm_environment
from tasks.planning.plan import Plan

PATIENCE = 300.0
"""Seconds that a server may take to start."""
COUNTERS = {
    "requests": "vllm:request_success_total",
    "prompt": "vllm:prompt_tokens_total",
    "cached": "vllm:prompt_tokens_cached_total",
    "generated": "vllm:generation_tokens_total",
}


class Server:
    """One model behind vLLM's OpenAI server on this machine, alone on a port of its own."""

    def __init__(self, role: str, plan: Plan, log: Path, *, sequences: int, threads: int) -> None:
        """`sequences`: most prompts in one batch. `threads`: of its computations, on CPUs."""
        spec = plan.roles[role].engine
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = spec.arguments | {
            "model": spec.model,
            "served_model_name": role,
            "max_model_len": spec.window,
            "max_num_seqs": sequences,
            "host": "127.0.0.1",
            "port": port,
        }
        # the stock class, and the counters that are read below
        for ours in ("hf_overrides", "disable_log_stats"):
            arguments.pop(ours, None)
        if role == "prm":
            arguments["pooler_config"] = {"tok_pooling_type": "STEP", "step_tag_id": step_tag(plan)}
        environment = vllm_environment(plan.config) | os.environ
        # without the first there is no way to empty a cache
        environment |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": str(threads)}
        self.role, self.log = role, log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags(arguments)],
                env=environment,
                stdout=out,
                stderr=out,
            )
        # one connection, kept alive over all calls
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=None)

    def wait(self) -> None:
        """Until it answers. Raises RuntimeError where it does not."""
        for _ in range(int(PATIENCE / 0.25)):
            if self.process.poll() is not None:
                break
            try:
                self.client.get("/health").raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.25)
        raise RuntimeError(f"the {self.role} server did not start: see {self.log}")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json={"model": self.role} | body)
        if answer.is_error:
            raise RuntimeError(f"the {self.role} server answers {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def forget(self) -> None:
        """Empty its prefix cache."""
        self.client.post("/reset_prefix_cache").raise_for_status()

    def counts(self) -> dict[str, int]:
        """What it has done since it started: requests, prompt tokens, those of them from its cache, tokens written."""
        page = self.client.get("/metrics").text
        return {
            name: int(sum(float(n) for n in re.findall(rf"^{re.escape(metric)}\{{.*\}} (\S+)$", page, re.MULTILINE)))
            for name, metric in COUNTERS.items()
        }

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        server = psutil.Process(self.process.pid)
        return sum(sum(p.cpu_times()[:2]) for p in [server, *server.children(recursive=True)])

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def flags(arguments: dict[str, Any]) -> list[str]:
    """Engine arguments as vLLM's command line takes them."""
    words: list[str] = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if value is True or value is False:
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", value if isinstance(value, str) else json.dumps(value)]
    return [word for word in words if word != "--no-trust-remote-code"]  # an option that cannot be negated


@contextmanager
def serving(plan: Plan, logs: Path, options: argparse.Namespace) -> Iterator[dict[str, Server]]:
    """Role to its server, all started side by side; stopped at the end, whatever happens. Options: see same_work.py."""
    servers: dict[str, Server] = {}
    try:
        for role in plan.roles:
            log = logs / f"{role}.log"
            servers[role] = Server(role, plan, log, sequences=options.sequences, threads=options.threads)
        for server in servers.values():
            server.wait()
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def since(before: dict[str, dict[str, int]], servers: Sequence[Server]) -> dict[str, dict[str, int]]:
    """Role to what it did after `before` was read: requests, generated, prefilled, cached."""
    done = {}
    for server in servers:
        change = {name: now - before[server.role][name] for name, now in server.counts().items()}
        done[server.role] = {
            "requests": change["requests"],
            "generated": change["generated"],
            "prefilled": change["prompt"] - change["cached"],
            "cached": change["cached"],
        }
    return done
