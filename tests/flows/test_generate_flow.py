"""Whole runs on scripted engines: the invariants hold, and nothing that should not matter does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from invariants import check, read_tables
from polars.testing import assert_frame_equal
from rows import MIXED

from schemas.config import Config
from tasks.decoding.requests import StepRequest
from tasks.engines.scripted import ScriptedEngine
from tasks.errors import EngineError, UserError
from tasks.output import claims
from tasks.output.directory import RunDirectory
from tasks.output.liveness import LivenessTracker
from tasks.storage.store import Store

pytestmark = pytest.mark.tier2

Job = Callable[..., Config]
Generate = Callable[[Config], dict[str, Any]]
PLACE = ("run_id", "shard", "wave")


def same(one: Path, other: Path, but: tuple[str, ...] = ()) -> None:
    """The tables of two runs are equal but for some columns."""
    for a, b in zip(read_tables(one), read_tables(other), strict=True):
        assert_frame_equal(a.select(pl.exclude(*but)), b.select(pl.exclude(*but)))


def content(out: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time of change, but for the timeline, which tells of every process."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.relative_to(out).parts[0] != "report"]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


# --- the invariants


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["decoding.accept={rule: logistic, threshold: 0.4, alpha: 3}", "decoding.temperature=0"],
        ["decoding.method=target"],
        ["decoding.method=draft", "models.target=null", "models.prm=null"],
        ["decoding.max_tokens=4096", "decoding.max_steps=100", "models.target.engine.max_model_len=200"],
        ["models.prm.engine.max_model_len=190", "decoding.max_tokens=4096"],
        ["decoding.max_tokens=1"],
        ["decoding.max_steps=1", "run.in_flight=8"],
        ["input.limit=20", "prompt.separator=', '"],
        ["decoding.candidates=3"],
        ["decoding.method=speculative", "decoding.temperature=0", "decoding.samples=1"],
        ["decoding.method=majority", "models.target=null"],
        ["decoding.method=best_of_n", "decoding.pick=weighted", "decoding.aggregation=min"],
        ["decoding.method=process_best_of_n", "decoding.candidates=4", "models.target=null"],
        ["decoding.method=beam", "decoding.candidates=3", "decoding.writer=target", "models.draft=null"],
        ["prompt.template='{system}: {user}>'", "prompt.system=null"],
    ],
    ids=lambda changes: ", ".join(changes) or "as usual",
)
def test_invariants_hold(generate: Generate, job: Job, out: Path, mixed: str, changes: list[str]) -> None:
    manifest = generate(job(*changes))
    check(out, mixed)
    if not changes:
        assert manifest["input"] | {"files": None} == {
            "files": None,
            "rows": 60,
            "usable": 56,
            "rejected": {
                "problem is null": 1,
                "problem is empty": 1,
                "problem_id (or the problem, where there is no id) is that of an earlier row": 1,
                "the prompt is longer than the models take": 1,
            },
        }
        ends = Counter(read_tables(out)[0]["status"])
        assert set(ends) == {"finished", "max_tokens", "max_steps"}
        assert manifest["counts"]["with_reference"] == 6
        roles = Counter(read_tables(out)[1].filter("accepted")["role"])
        assert min(roles["draft"], roles["target"]) > 50


def test_each_shard_is_committed_once(generate: Generate, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a shard's last trajectories end at the same time."""
    commits: Counter[int] = Counter()
    commit = RunDirectory.commit

    def counted(self: RunDirectory, shard: int, *rest: Any) -> Any:
        commits[shard] += 1
        return commit(self, shard, *rest)

    import flows.lifecycle.at_work

    decode = flows.lifecycle.at_work.decode_shard

    async def slow_to_return(*arguments: Any) -> None:
        """Prefect may do anything between the end of a task's body and its return."""
        await decode(*arguments)
        await asyncio.sleep(0.2)

    monkeypatch.setattr(flows.lifecycle.at_work, "decode_shard", slow_to_return)
    monkeypatch.setattr(RunDirectory, "commit", counted)
    generate(job("decoding.max_steps=1", "run={shard_size: 20, in_flight: 40}"))
    assert commits == {0: 1, 1: 1, 2: 1}


def other_tokenizer(models: Path, to: Path) -> str:
    """The target's checkpoint with other token ids, and with fewer merges."""
    shutil.copytree(models / "target", to)
    tokenizer = json.loads((to / "tokenizer.json").read_text())
    special = {token["content"] for token in tokenizer["added_tokens"]}
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    plain = [token for token in vocabulary if token not in special]
    ids = sorted(vocabulary[token] for token in plain)
    tokenizer["model"]["vocab"] |= dict(zip(plain, reversed(ids), strict=True))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:200]
    (to / "tokenizer.json").write_text(json.dumps(tokenizer))
    return str(to)


def test_draft_and_target_of_different_tokenizers(
    generate: Generate, job: Job, out: Path, mixed: str, models: Path, tmp_path: Path
) -> None:
    from flows.check import check as look

    config = job(f"models.target.model={other_tokenizer(models, tmp_path / 'other')}")
    assert look(config)["shared_vocabulary"] is False
    generate(config)
    check(out, mixed)
    target = read_tables(out)[1].filter(role="target")
    assert len(target) > 50
    again = job(f"models.target.model={tmp_path / 'other'}", "run.in_flight=3", output=str(tmp_path / "again"))
    generate(again)
    same(out, tmp_path / "again", but=("wave",))


# --- what must not matter


@pytest.fixture
def plain(generate: Generate, job: Job, out: Path) -> Path:
    """A run of its own, never interrupted."""
    generate(job())
    return out


@pytest.mark.parametrize(
    "run",
    [
        "{shard_size: 1000, in_flight: 500}",
        "{shard_size: 13, in_flight: 8}",
        "{shard_size: 5, in_flight: 14}",
        "{shard_size: 9}",
        "{shard_size: 13, in_flight: 16, sharing: turns}",
    ],
)
def test_sizes_do_not_matter(generate: Generate, job: Job, plain: Path, tmp_path: Path, run: str) -> None:
    generate(job(f"run={run}", output=str(tmp_path / "other")))
    check(tmp_path / "other")
    same(plain, tmp_path / "other", but=PLACE)


def test_order_and_neighbours_do_not_matter(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, problem_set: Callable[..., str]
) -> None:
    rows = [dict(zip(MIXED, row, strict=True)) for row in zip(*MIXED.values(), strict=True)]
    del rows[40]  # the duplicate: which of the two is used depends on the order, as it should
    random.Random(5).shuffle(rows)
    rows = rows[:35]
    path = problem_set({name: [row[name] for row in rows] for name in MIXED}, "shuffled.parquet")
    generate(job(input=path, output=str(tmp_path / "other")))
    check(tmp_path / "other", path)
    few = set(read_tables(tmp_path / "other")[0]["problem_id"])
    assert len(few) > 25
    for all_, some in zip(read_tables(plain), read_tables(tmp_path / "other"), strict=True):
        here = all_.filter(pl.col("problem_id").is_in(few))
        assert_frame_equal(here.select(pl.exclude(PLACE)), some.select(pl.exclude(PLACE)))


def test_prompts_are_read_right_while_steps_are_read(job: Job) -> None:
    """A shard's prompts are tokenized in a thread while other shards go on in the event loop."""
    from tasks.models.tokenizer import ModelVocabulary

    config = job()
    vocabulary = ModelVocabulary("draft", config.model("draft"), config.prompt)
    users = [f"Milo has {n} spoons." for n in range(50)]
    prompts, steps = vocabulary.prompts(users), vocabulary.encode_steps(["so then <|im_end|>\n\n"])
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: [vocabulary.encode_steps(["so then <|im_end|>\n\n"]) for _ in range(3000)])
        for _ in range(100):
            assert vocabulary.prompts(users) == prompts
        assert all(found == steps for found in other.result())


def test_seeds_do_matter(generate: Generate, job: Job, plain: Path, tmp_path: Path) -> None:
    generate(job("decoding.seed=1", output=str(tmp_path / "other")))
    one, other = read_tables(plain)[0], read_tables(tmp_path / "other")[0]
    assert (one["solution"] != other["solution"]).mean() > 0.9
    samples = one.group_by("problem_id").agg(pl.col("solution").n_unique())
    assert (samples["solution"] == 2).mean() > 0.9


# --- every method


METHODS = [
    ["decoding.candidates=2"],
    ["decoding.method=best_of_n"],
    ["decoding.method=process_best_of_n", "decoding.candidates=2"],
    ["decoding.method=beam", "decoding.candidates=2", "decoding.beams=3"],
]


@pytest.mark.parametrize("changes", METHODS, ids=lambda changes: changes[0])
def test_a_method_stopped_anywhere_goes_on_with_others_in_flight(
    generate: Generate, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str]
) -> None:
    generate(job(*changes, output=str(tmp_path / "straight")))
    calls, stops = 0, 0
    usual = ScriptedEngine.ask

    async def stopping(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        nonlocal calls
        calls += isinstance(asks[0], StepRequest)
        if isinstance(asks[0], StepRequest) and calls % 9 == 0:
            raise EngineError("stopped")
        return await usual(self, asks, answered)

    monkeypatch.setattr(ScriptedEngine, "ask", stopping)
    for size in range(3, 60):
        with contextlib.suppress(EngineError):
            generate(job(*changes, f"run.in_flight={size}", output=str(tmp_path / "stopped")))
            break
        stops += 1
    assert stops > 2
    check(tmp_path / "stopped")
    same(tmp_path / "straight", tmp_path / "stopped", but=("wave",))


def test_several_candidates_of_one_are_as_before(generate: Generate, job: Job, plain: Path, tmp_path: Path) -> None:
    """The first candidate has the seed that it has by itself."""
    generate(job("decoding.candidates=3", output=str(tmp_path / "three")))
    one, three = (read_tables(out)[1].filter(attempt=0, step=0) for out in (plain, tmp_path / "three"))
    columns = ["problem_id", "sample", "seed", "text"]
    assert_frame_equal(one.select(columns), three.select(columns))


# --- interruptions


def break_after(monkeypatch: pytest.MonkeyPatch, calls: int, error: Callable[[], BaseException]) -> None:
    """Let engines die after so many batches."""
    usual = ScriptedEngine.ask
    left = iter(range(calls))

    async def dying(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if isinstance(asks[0], StepRequest) and next(left, None) is None:
            raise error()
        return await usual(self, asks, answered)

    monkeypatch.setattr(ScriptedEngine, "ask", dying)


@pytest.mark.parametrize("calls", [0, 9, 120])
def test_a_run_whose_engine_died_goes_on(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        break_after(patch, calls, lambda: EngineError("out of memory"))
        with pytest.raises(EngineError, match="out of memory"):
            generate(job(output=str(other)))
    assert not (other / "manifest.json").exists()
    if calls == 9:
        assert list((other / "checkpoints").rglob("*.parquet"))
    generate(job(output=str(other)))
    check(other)
    same(plain, other, but=("wave",))


def test_a_run_stopped_again_and_again_goes_on(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    stops = 0
    for turn in range(100):
        with monkeypatch.context() as patch:
            break_after(patch, 30, lambda: EngineError("gone"))
            # sizes that are not part of what is written may change on the way
            config = job(f"run.in_flight={3 + 2 * (turn % 5)}", output=str(other))
            try:
                generate(config)
                break
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                stops += 1
        for path in list((other / "checkpoints").rglob("*.parquet"))[turn % 3 : turn % 3 + 1]:
            path.write_bytes(path.read_bytes()[: 50 * turn])  # what a torn disk may leave
    assert stops > 3
    check(other)
    same(plain, other, but=("wave",))


def test_a_cancelled_run_leaves_no_claim_and_goes_on(
    prefect: str, job: Job, generate: Generate, plain: Path, tmp_path: Path
) -> None:
    from flows.generate import generate as flow

    other = tmp_path / "other"

    async def cancelled() -> None:
        slow = [f"models.{role}.engine.seconds=0.02" for role in ("draft", "target", "prm")]
        run = asyncio.ensure_future(flow(job(*slow, output=str(other))))
        while not run.done() and not list((other / "checkpoints").rglob("*.parquet")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert not (other / "manifest.json").exists()
    assert not list((other / "checkpoints" / "claims").rglob("*.json"))
    generate(job(output=str(other)))
    same(plain, other, but=("wave",))


def test_a_stray_cancellation_in_an_engine_ends_no_run_as_complete(
    generate: Generate, job: Job, out: Path, mixed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task group takes a member's CancelledError for its quiet end; what it had in hand must not be lost."""
    usual = ScriptedEngine.ask
    strays = iter([asyncio.CancelledError()])

    async def stray(self: ScriptedEngine, asks: Any, answered: Any) -> Any:
        if error := next(strays, None):
            raise error
        return await usual(self, asks, answered)

    monkeypatch.setattr(ScriptedEngine, "ask", stray)
    with contextlib.suppress(EngineError, asyncio.CancelledError):
        generate(job())
    assert not (out / "manifest.json").exists() or check(out, mixed)
    generate(job())
    check(out, mixed)


def test_a_damaged_table_is_made_again(generate: Generate, job: Job, plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(plain, other)
    (other / "steps" / "00002.parquet").write_bytes(b"")
    (other / "solutions" / "00001.parquet").unlink()
    (other / "shards" / "00003.json").write_bytes(b"{")
    generate(job(output=str(other)))
    check(other)
    same(plain, other, but=("wave",))


# --- the same output again


def test_a_complete_run_is_left_alone(generate: Generate, job: Job, plain: Path) -> None:
    from flows.check import check as look

    before = content(plain)
    manifest = generate(job("run.in_flight=8"))
    assert manifest.items() <= json.loads((plain / "manifest.json").read_text()).items()
    report = look(job())
    assert (report["complete"], report["shards_done"], report["shards"]) == (True, 5, 5)
    assert content(plain) == before


def test_another_configuration_or_input_is_refused(
    generate: Generate, job: Job, plain: Path, mixed: str, problem_set: Callable[..., str]
) -> None:
    from flows.check import check as look

    before = content(plain)
    for run in (generate, look):
        with pytest.raises(UserError, match=r"decoding\.accept\.threshold: 0\.5 there, 0\.25 here"):
            run(job("decoding.accept.threshold=0.25"))
        with pytest.raises(UserError, match=r"run\.shard_size: 13 there, 14 here"):
            run(job("run.shard_size=14"))
    problem_set(MIXED | {"level": [9] * 60})
    for run in (generate, look):
        with pytest.raises(UserError, match="another input"):
            run(job())
    assert content(plain) == before


OTHERS = ["00000", "00001", "00002", "00004"]


def elsewhere(out: Path, shard: int, clock: float = 0.0) -> str:
    """A process of another machine that holds a shard; returns its session. `clock`: seconds by which its is off."""
    store, now = Store(str(out)), time.time() + clock
    owner = claims.Owner("abc123", "elsewhere", 7, 0.0, now, now, {}, False)
    store.write("checkpoints/sessions/abc123.json", json.dumps(owner._asdict()).encode())
    store.write(f"checkpoints/claims/{shard:05d}/000001.json", b'{"session": "abc123"}')
    return owner.session


@pytest.mark.parametrize("clock", [0.0, -3600.0, 3600.0])
def test_a_shard_in_other_hands_is_waited_for(
    generate: Generate,
    job: Job,
    out: Path,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: float,
) -> None:
    """The others are made meanwhile; it is taken over once its process was silent for long enough by our own time."""
    from flows.check import check as look

    monkeypatch.setattr("flows.lifecycle.stages.POLL", 0.01)
    monkeypatch.setattr("tasks.output.session.RENEW", 0.05)
    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        break_after(patch, 0, lambda: EngineError("gone"))
        with pytest.raises(EngineError):
            generate(job(output=str(other)))
    elsewhere(other, 3, clock)
    assert look(job(output=str(other)))["held_by"] == ["pid 7 on elsewhere"]
    silent, waited = LivenessTracker.silent, Counter[str]()

    def counted(self: LivenessTracker, who: str, sign: object, since: int) -> bool:
        found = silent(self, who, sign, since)
        if who == "abc123":
            if found and not waited["dead"]:
                assert sorted(path.stem for path in (other / "shards").glob("*.json")) == OTHERS
            waited["dead" if found else "alive"] += 1
        return found

    monkeypatch.setattr(LivenessTracker, "silent", counted)
    generate(job(output=str(other)))
    assert waited["alive"]
    assert waited["dead"]
    check(other)
    same(plain, other, but=("wave",))


def test_a_shard_that_was_taken_over_is_not_committed(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the taker dies at once, so that the shard comes back to the process that had lost it."""
    other = tmp_path / "other"
    commit, taken = RunDirectory.commit, Counter[int]()

    def late(self: RunDirectory, shard: int, *rest: Any) -> Any:
        if shard == 2 and not taken[shard]:
            self.store.write("checkpoints/claims/00002/000009.json", b'{"session": "abc123"}')
        try:
            return commit(self, shard, *rest)
        except BaseException:
            taken[shard] += 1
            assert not (other / "shards" / f"{shard:05d}.json").exists()
            raise

    monkeypatch.setattr(RunDirectory, "commit", late)
    generate(job(output=str(other)))
    assert taken == {2: 1}
    check(other)
    same(plain, other, but=("wave",))


def test_an_output_inside_the_input_does_not_become_input(
    generate: Generate, job: Job, mixed: str, tmp_path: Path
) -> None:
    """Refused before anything is written, or else its own tables are not read as problems."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(mixed, folder)
    config = job(input=str(folder), output=str(folder / "out"))
    told = ""
    try:
        first = generate(config)
    except UserError as error:
        told = str(error)
    if told:
        assert "output.path" in told
    else:
        assert generate(config) == first


# --- failures


def test_failed_problems_are_rows_and_cost_no_others(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, mixed: str
) -> None:
    other = tmp_path / "other"
    manifest = generate(job("models.draft.engine.refuse=' 5 spoons.'", output=str(other)))
    check(other, mixed)
    solutions, steps = read_tables(other)
    failed = solutions.filter(status="failed")
    assert manifest["counts"]["failed"] == len(failed) == 2
    assert failed["error"].to_list() == ["draft: refused by its script"] * 2
    whole, whole_steps = read_tables(plain)
    well = pl.col("problem_id").is_in(failed["problem_id"].to_list()).not_()
    for a, b in ((solutions, whole), (steps, whole_steps)):
        assert_frame_equal(a.filter(well).select(pl.exclude("run_id")), b.filter(well).select(pl.exclude("run_id")))


def test_rows_that_failed_are_taken_up_again_and_no_others(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, mixed: str
) -> None:
    other = tmp_path / "other"
    refusing = "models.target.engine.refuse=' 5 spoons.'"
    generate(job(refusing, output=str(other)))
    before, failed = content(other), read_tables(other)[0].filter(status="failed")
    assert len(failed)
    generate(job(output=str(other)))
    assert content(other) == before, "only when told to"

    again = generate_retrying(generate, job(refusing, output=str(other)))
    check(other, mixed)
    assert (again["retries"], again["counts"]["failed"]) == (1, len(failed))

    manifest = generate_retrying(generate, job(output=str(other)))
    check(other, mixed)
    assert (manifest["retries"], manifest["counts"]["failed"]) == (2, 0)
    same(plain, other, but=("wave",))
    touched = {f"{s:05d}" for s in failed["shard"]}
    for name, what in before.items():
        if Path(name).stem not in touched and not name.endswith("manifest.json"):
            assert content(other)[name] == what, name
    steps, earlier = read_tables(other)[1], read_tables(plain)[1]
    others = [table.join(failed, on=["problem_id", "sample"], how="anti") for table in (steps, earlier)]
    assert_frame_equal(*others)

    finished = content(other)
    assert generate_retrying(generate, job(output=str(other)))["retries"] == 2
    assert content(other) == finished, "nothing failed: nothing to do"


def generate_retrying(generate: Generate, config: Config) -> dict[str, Any]:
    from flows.generate import generate as flow

    return asyncio.run(flow(config, retry_failed=True))


def test_only_a_finished_run_is_retried(
    generate: Generate, job: Job, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_after(patch, 5, lambda: EngineError("gone"))
        with pytest.raises(EngineError):
            generate(job())
    before = content(out)
    with pytest.raises(UserError, match="has not finished"):
        generate_retrying(generate, job())
    assert content(out) == before


@pytest.mark.parametrize("calls", [0, 1, 5])
def test_a_retry_that_is_interrupted_goes_on_with_either_command(
    generate: Generate, job: Job, plain: Path, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    generate(job("models.draft.engine.refuse=' 5 spoons.'", output=str(other)))
    with monkeypatch.context() as patch:
        break_after(patch, calls, lambda: EngineError("gone"))
        with pytest.raises(EngineError):
            generate_retrying(generate, job(output=str(other)))
    assert not (other / "manifest.json").exists()
    run = generate if calls % 2 else lambda config: generate_retrying(generate, config)
    assert run(job(output=str(other)))["counts"]["failed"] == 0
    check(other)
    same(plain, other, but=("wave",))


@pytest.mark.parametrize("role", ["target", "prm"])
def test_a_failure_in_a_later_stage(
    generate: Generate, job: Job, out: Path, mixed: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if role == "prm":  # the PRM reads the problem as well
        config = job("models.prm.engine.refuse=' 5 spoons.'")
    else:
        config = job("models.target.engine.refuse=' 5 spoons.'")
    manifest = generate(config)
    check(out, mixed)
    errors = read_tables(out)[0].filter(status="failed")["error"].unique().to_list()
    assert manifest["counts"]["failed"] in (1, 2)
    assert errors == [f"{role}: refused by its script"]


def test_no_usable_problem(generate: Generate, job: Job, out: Path, problem_set: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"holds no usable problem \(2 rows: problem is null\)"):
        generate(job(input=problem_set({"problem": [None, None]}, "none.parquet")))
    assert not out.exists()


def test_a_shard_of_nothing_but_rejected_rows(
    generate: Generate, job: Job, out: Path, problem_set: Callable[..., str]
) -> None:
    path = problem_set({"problem": [None] * 5 + ["p", "q"] + [""] * 5}, "few.parquet")
    generate(job("run={shard_size: 3, in_flight: 4}", input=path))
    check(out, path)


# --- s3


@pytest.mark.tier1
def test_a_run_on_s3_is_the_same(
    generate: Generate, job: Job, plain: Path, mixed: str, s3: str, tmp_path: Path
) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    fs.put(mixed, f"{s3[5:]}/data/problems.parquet")
    config = job(input=f"{s3}/data/problems.parquet", output=f"{s3}/runs/x")
    with pytest.MonkeyPatch.context() as patch:
        break_after(patch, 12, lambda: EngineError("gone"))
        with pytest.raises(EngineError):
            generate(config)
    generate(config)
    fs.invalidate_cache()
    fs.get(f"{s3[5:]}/runs/x", str(tmp_path / "fetched"), recursive=True)
    check(tmp_path / "fetched", mixed)
    same(plain, tmp_path / "fetched", but=("wave",))
    assert generate(config)["run_id"] == json.loads((plain / "manifest.json").read_text())["run_id"]
    with pytest.raises(UserError, match=r"decoding\.seed: 0 there, 3 here"):
        generate(job("decoding.seed=3", input=config.input.path, output=config.output.path))


# --- the checker itself


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("solutions", pl.col("solution") + " "),
        ("solutions", pl.col("draft_tokens") + 1),
        ("solutions", pl.lit(0, pl.Int32).alias("sample")),
        ("solutions", pl.lit("finished").alias("status")),
        ("steps", pl.lit(True).alias("accepted")),
        ("steps", pl.col("text").str.replace("n", "m")),
        ("steps", pl.col("reward") / 2),
    ],
    ids=str,
)
def test_the_checker_finds_faults(plain: Path, table: str, change: pl.Expr) -> None:
    from invariants import Broken

    path = plain / table / "00001.parquet"
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    with pytest.raises(Broken, match=r"differs from its checksum|has .* bytes"):
        check(plain)
    record = json.loads((plain / "shards" / "00001.json").read_text())
    import hashlib

    record["tables"][table] |= {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (plain / "shards" / "00001.json").write_text(json.dumps(record))
    with pytest.raises(Broken):
        check(plain)
