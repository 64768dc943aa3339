"""Real vLLM engines (the CPU build here) serving the demo family: what the decoding core relies on."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.config import Config
from tasks.decoding.decode import advance
from tasks.decoding.models import LanguageModel, Models, RewardModel
from tasks.decoding.requests import Scored, ScoreRequest, StepRequest, Written
from tasks.decoding.trajectory import Context, Failure, Trajectory
from tasks.engines import open_engines
from tasks.engines.supervision import Supervisor
from tasks.engines.vllm import VllmEngine
from tasks.errors import UserError
from tasks.planning.plan import Plan, make_plan
from tasks.problems.reader import shards
from tasks.storage.stores import Stores

pytestmark = pytest.mark.tier2

DEMO = Path(__file__).parents[3] / "deploy" / "demo"
PROBLEMS = 24


def plan(temperature: float = 0.0, method: str = "rsd", **arguments: object) -> Plan:
    engine = {"kv_cache_memory_bytes": 256 << 20, **arguments}
    config = {
        "input": {"path": str(DEMO / "problems.parquet"), "limit": PROBLEMS},
        "output": {"path": "unused"},
        "models": {
            role: {"model": str(DEMO / "models" / role), "engine": engine} for role in ("draft", "target", "prm")
        },
        "decoding": {"method": method, "max_tokens": 300, "temperature": temperature},
    }
    return make_plan(Config.model_validate(config))


def opened(
    of: Plan,
    roles: tuple[str, ...] = ("draft", "target", "prm"),
    say: Callable[[str], None] = print,
    patience: float = 600.0,
) -> AbstractAsyncContextManager[dict[str, Supervisor]]:
    vocabularies = {role: of_role.vocabulary for role, of_role in of.roles.items()}
    specs = [of.roles[role].engine for role in roles]
    return open_engines(specs, vocabularies, say, say, restarts=5, patience=patience)


def trajectories(of: Plan) -> list[Trajectory]:
    ((_, problems, rejected),) = shards(of.survey, Stores.of(of.config), 1000, lambda shard: True)
    assert not rejected
    prompts = of.prompts(problems)
    return [
        Trajectory(p.problem_id, 0, {role: Context.of(prompts[role][i]) for role in prompts})
        for i, p in enumerate(problems)
    ]


async def solve(of: Plan, models: Models, size: int) -> dict[str, list[tuple[object, ...]]]:
    """Every attempt of every problem, decoded `size` at a time."""
    found = trajectories(of)[::-1] if size == 7 else trajectories(of)

    room = asyncio.Semaphore(size)

    async def follow(t: Trajectory) -> None:
        async with room:
            while await advance(t, models, of.config.decoding):
                pass

    await asyncio.gather(*map(follow, found))
    assert not [t.error for t in found if t.error]
    return {
        t.problem_id: [
            (a.step, a.attempt, a.role, tuple(a.token_ids), a.text, a.finish, a.accepted) for a in t.attempts
        ]
        for t in found
    }


@pytest.mark.parametrize("temperature", [0.0, 0.8])
async def test_three_engines_write_and_score_as_the_core_expects(temperature: float) -> None:
    """One set of engines, several claims: starting them takes most of the test's time."""
    of = plan(temperature, dtype="float32")
    async with opened(of) as engines:
        models = Models(
            {role: LanguageModel(engines[role], of.roles[role].vocabulary) for role in ("draft", "target")},
            RewardModel(engines["prm"], of.format),
            of.limits,
            seed=1,
            sampling=of.sampling,
        )
        # the same solutions however many are in flight, whatever their order and what the caches hold
        together = await solve(of, models, PROBLEMS)
        usage = {role: replace(used) for role, used in models.usage.items()}
        assert await solve(of, models, 7) == together

        # each role computes about its new tokens only: what is cached makes up for the prompts' growth
        for role in ("draft", "prm"):
            assert usage[role].cached > usage[role].prefilled

        # what it was told to forget it computes again
        await asyncio.gather(*(engine.reset_prefix_cache() for engine in engines.values()))
        models.usage.clear()
        assert await solve(of, models, PROBLEMS) == together
        for role, used in models.usage.items():
            assert used.prefilled > 0.9 * usage[role].prefilled

        # texts are what the tokenizer makes of the ids, with nothing lost between steps
        for attempts in together.values():
            accepted = [a for a in attempts if a[-1]]
            ids = [i for a in accepted for i in a[3] if i != of.roles["draft"].vocabulary.tokenizer.eos_token_id]
            whole = of.roles["draft"].vocabulary.tokenizer.decode(ids, skip_special_tokens=True)
            assert "".join(str(a[4]) for a in accepted) == whole

        await rewards_agree_with_transformers(of, engines["prm"], together)
        await ends_are_told_apart(of, engines["draft"])


async def rewards_agree_with_transformers(
    of: Plan, engine: object, solved: dict[str, list[tuple[object, ...]]]
) -> None:
    """Scores of growing solutions against one plain forward pass of transformers in float32."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, Qwen2Model

    folder = DEMO / "models" / "prm"
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    backbone = Qwen2Model(AutoConfig.from_pretrained(folder)).float().eval()
    backbone.load_state_dict({n.removeprefix("model."): w for n, w in weights.items() if n.startswith("model.")})

    @torch.no_grad()
    def plain(ids: list[int]) -> list[float]:
        hidden = backbone(torch.tensor([ids])).last_hidden_state[0]
        inner = torch.relu(hidden @ weights["score.0.weight"].T + weights["score.0.bias"])
        right = torch.softmax(inner @ weights["score.2.weight"].T + weights["score.2.bias"], -1)[:, 1]
        return [float(right[i]) for i, token in enumerate(ids) if token == of.format.tag]

    checked = 0
    for t in trajectories(of)[:8]:
        texts = [str(a[4]) for a in solved[t.problem_id] if a[-1]]
        steps = of.format.encode_steps(texts, range(len(texts)))
        ids = list(t.contexts["prm"].ids)
        prompts = [ids := [*ids, *step] for step in steps]
        scores = [(await engine.ask([ScoreRequest(prompt, 0)]))[0] for prompt in prompts]  # type: ignore[attr-defined]
        assert all(isinstance(score, Scored) for score in scores), scores
        for score, expected in zip(scores, plain(prompts[-1]), strict=True):
            assert score.reward == pytest.approx(expected, abs=1e-4)
            checked += 1
    assert checked > 30


async def ends_are_told_apart(of: Plan, engine: object) -> None:
    """Separator, length and EOS; and a prompt that the engine refuses costs nobody else."""
    prompt = trajectories(of)[0].contexts["draft"].ids
    vocabulary = of.roles["draft"].vocabulary
    write = engine.ask  # type: ignore[attr-defined]

    step, cut, refused = await write(
        [StepRequest(prompt, 200, 0), StepRequest(prompt, 3, 0), StepRequest([5] * 5000, 10, 0)]
    )
    assert isinstance(step, Written)
    assert step.finish == "step"
    assert vocabulary.decode_steps([step.token_ids])[0].endswith("\n\n")
    assert isinstance(cut, Written)
    assert (cut.finish, len(cut.token_ids)) == ("length", 3)
    assert isinstance(refused, Failure)

    context, last = list(prompt), step
    for _ in range(30):
        if last.finish == "eos":
            break
        context += last.token_ids
        (last,) = await write([StepRequest(context, 200, 0)])
    assert last.finish == "eos"
    assert last.token_ids[-1] == vocabulary.tokenizer.eos_token_id


async def test_speculation_writes_what_the_target_alone_writes() -> None:
    written = []
    for method in ("target", "speculative"):
        of = plan(method=method, dtype="float32")
        async with opened(of, ("target",)) as engines:
            target = LanguageModel(engines["target"], of.roles["target"].vocabulary)
            models = Models({"target": target}, None, of.limits, seed=1, sampling=of.sampling)
            written.append(await solve(of, models, 5))
    assert written[0] == written[1]
    # as many guesses as a whole number of batches has
    guesses = models.usage["draft"].generated
    assert guesses % of.config.decoding.speculative_tokens == 0
    assert guesses >= models.usage["target"].generated // 2


async def test_an_engine_whose_tokenizer_reads_otherwise_than_ours_is_refused(tmp_path: Path) -> None:
    """As one that a library repairs in one place and not in another: its separator would never be seen."""
    of = plan(dtype="float32")
    broken = Path(shutil.copytree(DEMO / "models" / "draft", tmp_path / "draft"))
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    ids[".ĊĊ"], ids["a"] = ids["a"], ids[".ĊĊ"]
    (broken / "tokenizer.json").write_text(json.dumps(tokenizer))
    spec = replace(of.roles["draft"].engine, model=str(broken))
    with pytest.raises(UserError, match=r"models\.draft\.model: vLLM reads its tokens differently from transformers"):
        async with open_engines([spec], {"draft": of.roles["draft"].vocabulary}, print, print, 0, 60):
            pass
    assert not processes()


async def test_an_engine_that_cannot_start_says_why() -> None:
    of = plan(kv_cache_memory_bytes=1 << 16)  # less than one context takes: its own process finds that out
    with pytest.raises(UserError, match=r"the (draft|target|prm) engine did not start: \w+Error: .*cache") as told:
        async with opened(of):
            pass
    assert "\n" not in str(told.value)


def processes() -> list[multiprocessing.process.BaseProcess]:
    return [p for p in multiprocessing.active_children() if p.name.startswith("stepwave-")]


async def test_an_engine_that_is_killed_or_hangs_is_replaced_in_the_middle_of_a_batch() -> None:
    of = plan(dtype="float32")
    said: list[str] = []
    async with opened(of, ("draft",), said.append, patience=6) as engines:
        draft = engines["draft"]
        asks = [StepRequest(t.contexts["draft"].ids, 250, 0) for t in trajectories(of)] * 8

        async def batch() -> list[object]:
            return [isinstance(r, Written) and (r.token_ids, r.finish) for r in await draft.ask(asks)]

        async def struck(number: signal.Signals) -> asyncio.Task[list[object]]:
            """A batch whose engine gets a signal once it has written some of it."""
            engine = draft.engine
            assert isinstance(engine, VllmEngine)
            before = engine.progress()
            call = asyncio.create_task(batch())
            while engine.progress() == before:  # noqa: ASYNC110
                await asyncio.sleep(0)
            os.kill(processes()[0].pid or 0, number)
            return call

        undisturbed = await batch()
        assert all(undisturbed)
        for number, reason in (
            (signal.SIGKILL, "its process ended on a signal (Killed)"),
            (signal.SIGSTOP, "it gave no answer for 6 s"),
            (signal.SIGTERM, None),  # that is for the run, which closes its engines when it has stopped
            (signal.SIGINT, None),
        ):
            del said[:]
            assert await (await struck(number)) == undisturbed
            assert [reason is not None and reason in text for text in said] == [True] * (reason is not None)
            assert len(processes()) == 1

        # asleep it has no process; awake it goes on as before
        engine = draft.engine
        assert isinstance(engine, VllmEngine)
        await engine.sleep()
        assert not processes()
        await engine.wake()
        assert await batch() == undisturbed

        # a run that ends while its engine starts again leaves neither the old process nor the new one
        old = processes()
        call = await struck(signal.SIGKILL)
        while not set(processes()) - set(old):
            await asyncio.wait([call], timeout=0.05)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert not processes()
    assert not processes()


async def test_replicas_and_ranks_of_one_role_write_what_one_engine_writes() -> None:
    of = plan(dtype="float32")
    ranks = replace(of.roles["draft"].engine, arguments=of.roles["draft"].engine.arguments | {"data_parallel_size": 2})
    pair = replace(of.roles["draft"].engine, replicas=({}, {}))
    vocabularies = {"draft": of.roles["draft"].vocabulary}
    asks = [StepRequest(t.contexts["draft"].ids, 250, 0, affinity=i) for i, t in enumerate(trajectories(of))]
    refused = StepRequest([5] * 5000, 10, 0)
    found = []
    for spec in (of.roles["draft"].engine, pair, ranks):
        async with open_engines([spec], vocabularies, print, print, restarts=0, patience=60) as engines:
            *written, last = await engines["draft"].ask([*asks, refused])
            assert isinstance(last, Failure)
            found.append([isinstance(w, Written) and (w.token_ids, w.finish) for w in written])
        assert not processes()
    assert all(found[0])
    assert found[0] == found[1] == found[2]


async def test_a_core_with_a_process_of_its_own_is_found_dead_at_work_and_idle() -> None:
    """As on GPUs. vLLM's client for one thread waits for ever for a core that was killed."""
    of = plan(dtype="float32")
    usual = of.roles["draft"].engine
    spec = replace(usual, environment=usual.environment | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    vocabularies = {"draft": of.roles["draft"].vocabulary}
    asks = [StepRequest(t.contexts["draft"].ids, 250, 0) for t in trajectories(of)] * 8
    said: list[str] = []
    async with open_engines([spec], vocabularies, print, said.append, restarts=5, patience=60) as engines:
        draft = engines["draft"]
        assert isinstance(draft, Supervisor)

        async def batch() -> list[object]:
            return [isinstance(r, Written) and (r.token_ids, r.finish) for r in await draft.ask(asks)]

        undisturbed = await batch()
        assert all(undisturbed)
        for busy in (True, False):
            engine = draft.engine
            assert isinstance(engine, VllmEngine)
            (core,) = [p for p in engine.workers if "EngineCore" in p.name()]
            before = engine.progress()
            call = asyncio.create_task(batch()) if busy else None
            while call and engine.progress() == before:
                await asyncio.wait([call], timeout=0.01)
            core.kill()
            await asyncio.wait_for(engine.gone.wait(), 30)
            assert await (call or batch()) == undisturbed
        assert len(said) == 2
    assert not processes()


def test_engines_start_in_a_directory_that_has_a_tasks_module_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("raise ImportError('not ours')")
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "sys.path = [path for path in sys.path if path != sys.argv[1]]\n"
        "from tasks.engines.plugin import die_with_parent\n"
        "from tasks.engines.forked_from import PROCESSES, prepare\n"
        "if __name__ == '__main__':\n"
        "    prepare()\n"
        "    process = PROCESSES.Process(target=die_with_parent)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    sys.exit(process.exitcode)\n"
    )
    root = str(Path(__file__).parents[3])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run(
        [sys.executable, "run.py", str(tmp_path)],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
