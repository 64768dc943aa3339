"""A dataset as a whole: splits, sources, places, and what loads it."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from export.made import draft, made, redone, solved, write_run
from flows.export import export, lines
from schemas.export import KINDS, ExportOptions
from tasks.errors import StoreError, UserError
from tasks.export import buckets, destination
from tasks.export.destination import Destination
from tasks.output import liveness
from tasks.output.claims import Owner
from tasks.output.session import Session
from tasks.storage.store import Store
from tasks.storage.stores import Stores

STORES = Stores()


def some(count: int, of: str = "p", correct: bool = True) -> list[Any]:
    return [
        solved(f"{of}{n}", draft(f"First {of}{n}.\n\n"), redone(f"It is {n}.", f"It is {n}0."), correct=correct)
        for n in range(count)
    ]


def split_of(dest: Path) -> dict[str, str]:
    files = sorted((dest / "data").iterdir())
    found: dict[str, str] = {}
    for file in files:
        split = file.name.partition("-")[0]
        for problem_id in pq.read_table(file)["problem_id"].to_pylist():
            assert found.setdefault(problem_id, split) == split, "a problem in two splits"
    return found


def test_splits_go_by_problem_in_every_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_run(tmp_path / "one", [some(60), some(60, "q")])
    two = write_run(tmp_path / "two", [some(40)], run=1)
    options = ExportOptions(splits="validation=0.2,test=0.3")
    done = export("sft", [one], str(tmp_path / "sft"), options, STORES)
    alone = split_of(tmp_path / "sft")
    assert set(alone.values()) == {"train", "validation", "test"}
    assert 0.15 < done["rows"]["test"] / 120 < 0.45
    monkeypatch.setattr(buckets, "BUCKET", 500)
    monkeypatch.setattr(buckets, "LARGEST", 2000)
    monkeypatch.setattr(buckets, "WAITING", 1000)
    monkeypatch.setattr(buckets, "MOST", 3)
    made("step-dpo", [two, one], tmp_path / "pairs", splits=options.splits)
    both = split_of(tmp_path / "pairs")
    assert both == {problem: alone[problem] for problem in both}
    export("sft", [one], str(tmp_path / "again"), options, STORES)
    for file in (tmp_path / "sft" / "data").iterdir():
        assert pq.read_table(file).equals(pq.read_table(tmp_path / "again" / "data" / file.name))


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_loads_it_as_it_is(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="the test extra has datasets")
    mixed = [*some(30), *[solved(f"p{n}", draft(f"No {n}."), correct=False, sample=1) for n in range(30)]]
    run = write_run(tmp_path / "run", [mixed, []])
    made(kind, run, tmp_path / "data", splits="test=0.3")
    done = json.loads((tmp_path / "data" / "export.json").read_text())
    loaded = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(of) for split, of in loaded.items()} == done["rows"]
    assert set(done["rows"]) == {"train", "test"}
    wanted = {
        "sft": ["messages"],
        "step-dpo": ["prompt", "chosen", "rejected"],
        "dpo": ["prompt", "chosen", "rejected"],
        "prm": ["prompt", "completions", "labels"],
    }[kind]
    assert loaded["train"].column_names[: len(wanted)] == wanted
    schema = pq.read_schema(next(iter((tmp_path / "data" / "data").iterdir())))
    assert all(field.metadata[b"description"] for field in schema)


def test_from_and_to_s3(s3: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the test extra has datasets")
    run = write_run(STORES.store(f"{s3}/runs/x"), [some(3)])
    (tmp_path / "bench.jsonl").write_text('{"problem": "What is the value of p1?"}\n')
    STORES.store(s3).write("bench.jsonl", (tmp_path / "bench.jsonl").read_bytes())
    options = ExportOptions(splits="none", decontaminate=[f"{s3}/bench.jsonl"])
    export("sft", [run], f"{s3}/data/x", options, STORES)
    files = {"train": f"{s3}/data/x/data/train-*.parquet"}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["train"]["problem_id"]) == ["p0", "p2"]
    assert STORES.store(f"{s3}/data/x").keys("") == [
        "README.md",
        "data/train-00000-of-00001.parquet",
        "export.json",
    ]


def test_a_place_is_kept_for_one_kind_and_made_anew_as_a_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [some(20)])
    dest = tmp_path / "data"
    export("sft", [run], str(dest), ExportOptions(splits="test=0.5"), STORES)
    assert len(list((dest / "data").iterdir())) == 2
    made("sft", run, dest, per_problem=1)
    assert [file.name for file in (dest / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    record = json.loads((dest / "export.json").read_text())
    assert record["complete"] is True
    assert list(record["files"]) == ["data/train-00000-of-00001.parquet"]
    with pytest.raises(UserError, match="kind sft"):
        made("prm", run, dest)
    with pytest.raises(UserError, match="not an export's"):
        made("sft", run, tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        made("sft", run, tmp_path / "mine")


def test_half_a_dataset_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", [some(20)])
    dest = tmp_path / "data"
    made("sft", run, dest)
    write = Store.write

    def fails(self: Store, key: str, data: bytes) -> Any:
        if key.startswith("data/"):
            raise StoreError("the disk is gone")
        return write(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", fails)
        with pytest.raises(StoreError):
            made("sft", run, dest, per_problem=1)
    assert not (dest / "README.md").exists()
    assert list((dest / "data").glob("*")) == [], "old and new data are never there together"
    assert json.loads((dest / "export.json").read_text()) == {"kind": "sft", "complete": False}
    assert not (dest / "checkpoints").exists()
    assert len(made("sft", run, dest)) == 20


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET", 1)
    run = write_run(tmp_path / "run", [some(500)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = len(os.listdir("/proc/self/fd"))
    made("sft", run, tmp_path / "warm")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 240, hard))
        assert len(made("sft", run, tmp_path / "data", min_solved=0.5)) == 500
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 40, hard))
        with pytest.raises(StoreError, match=r"TMPDIR.*Too many open files"):
            made("sft", run, tmp_path / "never")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list((tmp_path / "never").iterdir()) == []


OTHER = Owner("abc", "elsewhere", 7, 0.0, 0.0, 0.0, {}, False)
"""An export of another machine, whose clock stands at the epoch."""


def writes(dest: Path, owner: Owner) -> None:
    store = Store(str(dest))
    store.write("checkpoints/sessions/abc.json", json.dumps(owner._asdict()).encode())
    store.write("checkpoints/claims/00000/000001.json", b'{"session": "abc"}')


def test_two_exports_to_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", [some(3)])
    dest = tmp_path / "data"
    here = {"host": liveness.host(), "pid": os.getppid(), "started": liveness.started(os.getppid())}
    writes(dest, OTHER._replace(**here))
    with pytest.raises(UserError, match="another export writes here"):
        made("sft", run, dest)
    writes(dest, OTHER._replace(**here | {"started": 1.0}))
    assert len(made("sft", run, dest)) == 3, "whoever left that is gone"
    assert sorted(path.name for path in dest.iterdir()) == ["README.md", "data", "export.json"]
    writes(dest, OTHER)
    monkeypatch.setattr(destination, "POLL", 0.01)
    monkeypatch.setattr("tasks.output.session.RENEW", 0.02)
    assert len(made("sft", run, dest)) == 3, "nothing was heard of it while we listened"
    claim = Session.claim

    def beside_a_living_one(self: Session, place: int) -> bool:
        writes(dest, OTHER._replace(sign=next(signs)))
        return claim(self, place)

    signs = iter(range(1000))
    monkeypatch.setattr(Session, "claim", beside_a_living_one)
    with pytest.raises(UserError, match=r"another export writes here \(pid 7 on elsewhere\)"):
        made("sft", run, dest)


def test_an_export_that_was_taken_for_dead_leaves_the_place_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", [some(3)])
    dest, publish = tmp_path / "data", Destination.publish

    def late(self: Destination, *rest: Any) -> bytes:
        self.store.write("checkpoints/claims/00000/000002.json", json.dumps({"session": "abc", "over": "?"}).encode())
        return publish(self, *rest)

    monkeypatch.setattr(Destination, "publish", late)
    with pytest.raises(UserError, match="another export took this place over"):
        made("sft", run, dest)
    assert [str(path.relative_to(dest)) for path in dest.rglob("*.*")] == ["checkpoints/claims/00000/000002.json"]


def test_an_export_of_an_earlier_release_is_not_disturbed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [some(3)])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "export.lock").write_text("{}")
    with pytest.raises(UserError, match=r"an export of an earlier release writes here; .* remove .*/export\.lock$"):
        made("sft", run, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["export.lock"]


def test_unfinished_runs_give_what_is_committed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [some(2), some(2, "q")], finished=False)
    done = export("sft", [run], str(tmp_path / "data"), ExportOptions(splits="none"), STORES)
    assert done["unfinished"] == {run: [2, None]}
    assert "only the 2 of ? shards" in "\n".join(lines(done))
    assert "unfinished: 2 of ? shards" in (tmp_path / "data" / "README.md").read_text()
    (tmp_path / "run" / "steps" / "00001.parquet").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"00001\.parquet"):
        made("sft", run, tmp_path / "other")


def test_the_card(tmp_path: Path) -> None:
    nasty = "~~~ ``` <script>alert(1)</script> | # " + "x" * 3000
    run = write_run(tmp_path / "run", [[solved("p0", draft(nasty)), *some(3, "q")]])
    made("sft", run, tmp_path / "data", license="apache-2.0", min_reward=0.5)
    text = (tmp_path / "data" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    header = yaml.safe_load(head)
    assert header["license"] == "apache-2.0"
    assert header["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    assert header["size_categories"] == ["n<1K"]
    assert "| train | 4 | 4 |" in body
    assert "`min_reward` | `0.5`" in body
    assert "| rsd | `draft` | `target` | `prm` (qwen) | 0.7 | whole |" in body
    assert "/models/" not in body
    shown = body[body.index("## Examples") :]
    assert "more characters]" in shown or "<script>" not in shown
    outside = [part for n, part in enumerate(shown.split("````")) if n % 2 == 0]
    assert not any("<script>" in part for part in outside)


def test_the_card_says_what_prompts_are(tmp_path: Path, models: Path) -> None:
    nasty = "`<img src=x>`"
    rows = [redone("It is 4.", "It is 5."), draft("So.")]
    run = write_run(tmp_path / "run", [[solved("p0", *rows)]], prompt={"separator": nasty})
    own = write_run(tmp_path / "own", [[solved("p1", *rows)]], run=1, prompt={"template": "{system}|{user}>"})

    def card(kind: str, outs: list[str], **options: Any) -> str:
        made(kind, outs, tmp_path / "data" / f"{kind}{len(outs)}{len(options)}", **options)
        return (tmp_path / "data" / f"{kind}{len(outs)}{len(options)}" / "README.md").read_text()

    text = card("prm", [run])
    assert "Prompts are text: the problem and an empty line" in text
    line = next(line for line in text.splitlines() if "separated by" in line)
    assert "<img" not in "".join(line.split("`")[::2]), "code stays code"
    assert "the run's `prompt.template`" in card("step-dpo", [own])
    both = card("step-dpo", [run, own])
    assert "of other runs the problem and an empty line" in both
    assert "DPOTrainer appends the tokenizer's end-of-text token" in both
    assert "chat template of `target` made" in card("step-dpo", [run], template=str(models / "target"))
    assert "Prompts are chat messages" in card("sft", [run])


def test_mistakes_are_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    run = write_run(tmp_path / "run", [some(2)])

    def refused(what: str, kind: str = "sft", outs: str | list[str] = run, **options: Any) -> None:
        with pytest.raises(UserError, match=what) as told:
            made(kind, outs, tmp_path / "never", **options)
        assert "\n" not in str(told.value)
        assert not (tmp_path / "never" / "data").exists()

    refused("unknown kind", kind="rlhf")
    refused("--license: 'MIT, more or less' is no licence", license="MIT, more or less")
    refused("--license", license="`x`")
    refused("--margin is for step-dpo and dpo", margin=0.1)
    refused("--min-reward: must be from 0 to 1", min_reward=3.0)
    refused("--splits", splits="test=2")
    refused("--splits", splits="train=0.5")
    refused("leaves nothing for train", splits="a=0.5,b=0.5")
    refused("--status: unknown 'done'", status=["done"])
    refused("--ngram is for --decontaminate", ngram=5)
    refused("--min-solved 0.9 is above --max-solved 0.1", min_solved=0.9, max_solved=0.1)
    refused("there is nothing here", outs=str(tmp_path / "none"))
    refused("the same run", outs=[run, run])
    refused("HF_TOKEN", push="me/data")
    refused("--push", push="no repo!")
    refused("reward below the least", min_reward=1.0)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "evaluation.yaml").write_text("{}")
    refused("is an evaluation; name its runs", outs=str(tmp_path / "eval"))
