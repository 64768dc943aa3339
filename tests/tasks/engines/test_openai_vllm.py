"""vLLM's own servers (the CPU build here) give what its engines in this process give, and say what they cached."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formats import published

from schemas.config import Config
from tasks.decoding.requests import Sampling, Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Failure
from tasks.engines import open_engines
from tasks.planning.plan import Plan, make_plan
from tasks.problems.reader import shards
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

DEMO = Path(__file__).parents[3] / "deploy" / "demo"
START = (
    "--host 127.0.0.1 --dtype float32 --kv-cache-memory-bytes 268435456 --block-size 32 --enforce-eager "
    "--no-enable-chunked-prefill --max-num-batched-tokens 8192 --enable-prompt-tokens-details --disable-log-stats "
    "--distributed-executor-backend vllm.v1.executor.uniproc_executor.UniProcExecutor"
)
ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONPATH": str(DEMO.parents[1]),
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Role to the address of its server; both load at the same time."""
    folder = tmp_path_factory.mktemp("servers")
    servers: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
    try:
        for role, more in (("target", ""), ("prm", prm_start())):
            port = free_port()
            command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port)]
            command += ["--model", str(DEMO / "models" / role), *shlex.split(START), *shlex.split(more)]
            with open(folder / f"{role}.log", "wb") as log:
                process = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=log, stderr=log)
            servers[role] = process, f"http://127.0.0.1:{port}"
        for role, (process, url) in servers.items():
            while not healthy(url):
                assert process.poll() is None, (folder / f"{role}.log").read_text()[-3000:]
                time.sleep(0.5)
        yield {role: url for role, (_, url) in servers.items()}
    finally:
        for process, _ in servers.values():
            process.terminate()
        for process, _ in servers.values():
            process.wait()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def prm_start() -> str:
    """What a person whose server lacks it is told to start it with."""
    scoring = plan({role: {} for role in ("target", "prm")}).roles["prm"].engine.scoring
    assert scoring is not None
    return scoring.server


def plan(engines: dict[str, dict[str, Any]]) -> Plan:
    models = {role: {"model": str(DEMO / "models" / role), "engine": engine} for role, engine in engines.items()}
    config = {
        "input": {"path": str(DEMO / "problems.parquet"), "limit": 12},
        "output": {"path": "unused"},
        "models": models | {"draft": {"model": str(DEMO / "models" / "draft")}},
    }
    return make_plan(Config.model_validate(config))


async def solve(of: Plan) -> tuple[list[Any], list[list[float]], int, int]:
    """Steps that the target writes to each problem, greedily; the rewards of what is written so far after each of them;
    and tokens of prompts that the target had and had not in its cache."""
    ((_, problems, _),) = shards(of.survey, Stores.of(of.config), 1000, lambda shard: True)
    prompts = of.prompts(problems)
    specs = [of.roles[role].engine for role in ("target", "prm")]
    vocabularies = {role: of_role.vocabulary for role, of_role in of.roles.items()}
    cached = computed = 0
    steps: list[Any] = [[] for _ in problems]
    rewards: list[list[float]] = [[] for _ in problems]
    async with open_engines(specs, vocabularies, print, print, restarts=0, patience=600) as engines:
        contexts, shown = [list(ids) for ids in prompts["target"]], [list(ids) for ids in prompts["prm"]]
        live = list(range(len(problems)))
        while live:
            answers = await engines["target"].ask([StepRequest(contexts[i], 200, 0, affinity=i) for i in live])
            for i, answer in zip(live, answers, strict=True):
                assert isinstance(answer, Written), answer
                steps[i].append((answer.token_ids, answer.finish))
                cached += answer.cached
                computed += len(contexts[i]) - answer.cached
                contexts[i] += answer.token_ids
            texts = vocabularies["target"].decode_steps([a.token_ids for a in answers])  # type: ignore[union-attr]
            numbers = [len(rewards[i]) for i in live]
            for i, ids in zip(live, of.format.encode_steps(texts, numbers), strict=True):
                shown[i] += ids
            for i, score in zip(live, await engines["prm"].ask([ScoreRequest(shown[i], i) for i in live]), strict=True):
                rewards[i].append(score.reward)  # type: ignore[union-attr]
            live = [i for i in live if steps[i][-1][1] == "step"]
        too_long, fine = await engines["target"].ask(
            [StepRequest([5] * 5000, 10, 0), StepRequest(prompts["target"][0], 3, 0)]
        )
        assert isinstance(too_long, Failure)
        assert "2048" in too_long.error
        assert isinstance(fine, Written)
        assert (fine.finish, len(fine.token_ids)) == ("length", 3)
    return steps, rewards, cached, computed


async def test_servers_write_and_score_as_engines_in_this_process_do(endpoints: dict[str, str]) -> None:
    here = await solve(plan({role: {"dtype": "float32", "kv_cache_memory_bytes": 256 << 20} for role in endpoints}))
    there = await solve(plan({role: {"kind": "openai", "endpoints": [url]} for role, url in endpoints.items()}))
    assert there[0] == here[0]
    assert [len(steps) for steps in there[0]] != [1] * 12
    for ours, theirs in zip(here[1], there[1], strict=True):
        assert theirs == pytest.approx(ours, abs=1e-5)
    assert there[2:] == here[2:]
    assert there[2] > 0


async def test_a_server_that_writes_judges_as_well_and_says_how_sure_it_was(endpoints: dict[str, str]) -> None:
    target: dict[str, Any] = {
        "model": str(DEMO / "models" / "target"),
        "engine": {"kind": "openai", "endpoints": [endpoints["target"]]},
    }
    config = {
        "input": {"path": str(DEMO / "problems.parquet"), "limit": 1},
        "output": {"path": "unused"},
        "models": {"target": target, "prm": {"same_as": "target", "format": "judge"}},
        "decoding": {"method": "best_of_n", "writer": "target", "samples": 2, "temperature": 1.0},
    }
    of = make_plan(Config.model_validate(config))
    assert of.format is not None
    folder, steps = DEMO / "models" / "target", ["He has 3 + 4 = 7.\n\n", "So 7."]
    async with open_engines(of.engines, {"target": of.roles["target"].vocabulary}, print, print, 0, 60) as engines:
        engine = of.by_role(engines)["prm"]
        [context] = of.roles["prm"].vocabulary.prompts(["Why?"])
        for number, expected in enumerate(published.judge(folder, "Why?", steps)[1]):
            context += of.format.encode_steps([steps[number]], [number])[0]
            [scored] = await engine.ask([ScoreRequest(context + of.format.tail)])
            assert isinstance(scored, Scored), scored
            assert scored.reward == pytest.approx(expected, abs=1e-3)
        [written] = await engine.ask([StepRequest(context, 9, 0, sampling=Sampling(0.0, 1.0, "\n\n", "mean"))])
        expected = published.confidence(folder, list(context), list(written.token_ids), "mean")
        assert written.confidence == pytest.approx(expected, abs=1e-3)
