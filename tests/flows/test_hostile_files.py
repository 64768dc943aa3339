"""JSON files beside a run's own that somebody else made to do harm: of calibrations, roll-outs, processes and what is
kept for later. Commands that read them say so in a line, or make anew what is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import GONE, ODD, changed, places
from report.outputs import few, solution, write_run

from flows import evaluation_status
from flows.calibrate import conclusions
from flows.show import lines as shown
from flows.show import show
from flows.status import lines as told
from flows.status import status
from schemas.rollouts import RolloutOptions
from tasks.calibration import directory as calibrations
from tasks.calibration.settled import settled
from tasks.errors import UserError
from tasks.evaluation import cell_runs as work
from tasks.export.estimates import counted, open_rollouts
from tasks.export.filters import Filters
from tasks.export.rollouts import directory as rollouts
from tasks.export.rollouts.choosing import MORE_OF_SOLUTIONS, choose, problem_set
from tasks.export.runs import open_run
from tasks.export.runs import read as read_shards
from tasks.output import claims
from tasks.planning.threshold import bands
from tasks.report.gather import gather
from tasks.report.places import recommended
from tasks.storage.sealed import seal, unseal
from tasks.storage.store import LONGEST, Store
from tasks.storage.stores import Stores
from tasks.telemetry import timeline

LOCAL = Stores()
CALIBRATION: dict[str, Any] = {
    "wish": {"kind": "target_share", "value": 0.3},
    "input": "/p",
    "problems": 4,
    "thresholds": [
        {"threshold": threshold, "bands": {"target_share": [0.1, 0.4], "reward": None}, "failed": 0}
        | {
            f"{name}{part}": 0.5
            for name in ("accuracy", "target_share", "flops", "draft_tokens", "target_tokens", "prm_tokens")
            for part in ("", "_low", "_high")
        }
        for threshold in (0.5, 0.9)
    ],
    "tokens": {"generated": {"draft": 3}, "separate": {"draft": 4}, "runs": 2, "share": 0.5, "reused_attempts": 0},
    "computed": {"draft": {"requests": 1, "generated": 30, "prefilled": 40, "cached": 50}},
    "recommendation": {"threshold": 0.9, "why": "it is"},
    "costs": None,
    "warning": None,
    "output": "/o",
    "recommended": {"recommended.yaml": {"wish": {"kind": "target_share", "value": 0.3}, "threshold": 0.9}},
    "file": "recommended.yaml",
}
ROLLOUTS: dict[str, Any] = {
    "asked": {"samples": 8, "writer": None, "share": 1.0},
    "of": {"run_id": "r", "config_fingerprint": "c"},
    "shards": {"taken": [0], "of": 1, "whole": True},
    "chosen": {"problems": 1, "attempts": 2, "steps": 2, "left_out": {"why": 1}},
}
SESSION: dict[str, Any] = {
    "session": "abc",
    "host": "h",
    "pid": 7,
    "started": 0.0,
    "began": 1.0,
    "renewed": 2.0,
    "generated": {"draft": 3},
    "ended": False,
    "accounts": {"roles": {"draft": {"busy": 1.0, "ready": 2.0, "in_flight": 3.0}}, "stages": {"write": 1.0}},
    "flow_run": "",
    "sign": 3,
    "ahead": 0.0,
}
BARS: dict[str, Any] = {
    "session": "abc",
    "began": 1.0,
    "roles": {"draft": {"starts": [[[0, 5, 5]]], "ready": [[[5, 6, 1]]], "work": [[[6, 9, 3]]], "busy": 3}},
}


def read_calibration(out: Path) -> None:
    """As a run that goes on, `calibrate` and `report` do."""
    store = Store(str(out))
    if (found := calibrations.load(store)) is not None:
        bands(found)
    known = calibrations._recommended(store)
    assert {*known} <= {"recommended.yaml"}
    tokens = {"generated": {}, "separate": {}, "share": None, "runs": 1, "reused_attempts": 0}
    rest = {"tokens": tokens, "file": "another", "recommended": known, "recommendation": {"threshold": None}}
    conclusions({"warning": None, **rest})
    gather(store, None)


def read_rollouts(out: Path) -> None:
    """As `rollouts` that goes on, and `export --rollouts` do."""
    store = Store(str(out))
    open_rollouts([str(out)], LOCAL)
    record = rollouts.begin(store, ROLLOUTS["asked"], ROLLOUTS["of"], ROLLOUTS["shards"])
    kept = rollouts.keep(store, record, {"steps": 2}, [])
    assert f"{kept['chosen']['steps']:,}{kept['shards']['of'] or '?'}{sorted(kept['shards']['taken'])}"


def read_session(out: Path) -> None:
    """As `status` and other processes do."""
    told(status(str(out), LOCAL))
    claims.claimants(Store(str(out)))
    gather(Store(str(out)), None)


def read_bars(out: Path) -> None:
    """As the process that finishes a run does."""
    wrong: list[str] = []
    timeline.draw(Store(str(out)), wrong.append)
    assert wrong == []


FILES: dict[str, tuple[Any, Callable[[Path], None]]] = {
    "calibration.json": (CALIBRATION, read_calibration),
    "rollouts.json": (ROLLOUTS, read_rollouts),
    "checkpoints/sessions/abc.json": (SESSION, read_session),
    "checkpoints/claims/00000/000001.json": ({"session": "abc"}, read_session),
    "report/timeline/0000000001-abc.json": (BARS, read_bars),
}
UNSEALED = ("checkpoints/", "report/")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A place in which any of FILES may lie."""
    place = tmp_path / "out"
    write_run(Store(str(place)), [few(3)], finished=False)
    write_run(Store(str(place / "run")), [few(3)])
    (place / "recommended.yaml").write_text("decoding: {accept: {threshold: 0.5}}")
    return place


def put(out: Path, name: str, content: bytes) -> None:
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def bytes_of(name: str, value: Any) -> bytes:
    return json.dumps(value).encode() if name.startswith(UNSEALED) else seal({"format": 2} | value)


def read(out: Path, name: str) -> str | None:
    """What is told instead of reading a file."""
    try:
        FILES[name][1](out)
    except UserError as error:
        said = str(error)
        return said if said.isprintable() and len(said) < 1500 else pytest.fail(f"{name}: {said[:200]!r}")
    return None


@pytest.mark.parametrize("name", FILES)
def test_anything_in_any_place(name: str, out: Path) -> None:
    whole = FILES[name][0]
    put(out, name, bytes_of(name, whole))
    assert read(out, name) is None
    for number, path in enumerate(places(whole)):
        for other in (GONE, ODD[number % len(ODD)], ODD[(number * 7 + 3) % len(ODD)]):
            if other is not GONE or isinstance(path[-1], str):
                put(out, name, bytes_of(name, changed(whole, path, other)))
                read(out, name)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_such_file(name: str, out: Path) -> None:
    for content in (b"", b"[" * 100_000, b"9" * 5000, b"\xff" * 99, b"null", b"[]", b'{"session": 1e999}'):
        put(out, name, content)
        read(out, name)


@pytest.mark.parametrize("name", [*FILES, "config.yaml", "manifest.json", "shards/00000.json"])
def test_a_file_of_a_size_that_none_has_is_not_read(name: str, out: Path) -> None:
    put(out, name, b"")
    with open(out / name, "r+b") as f:
        f.truncate(LONGEST[f".{name.rpartition('.')[2]}"] + 1)
    with pytest.raises(UserError, match="has more than"):
        Store(str(out)).read(name)


def test_a_file_of_nothing_but_brackets_counts_as_damaged() -> None:
    many = b'{"a": [' + b"{}," * (1 << 22) + b"{}]}"
    assert unseal(many) is None


COLUMNS = [
    "",
    "null",
    "[1]",
    "{",
    "9" * 5000,
    "[" * 100_000,
    '{"a": ' + "[" * 900 + "]" * 900 + "}",
    '{"choices": 3, "level": {}, "source": [], "steps": "a"}',
    '{"choices": [1, {}], "level": NaN, "source": 1e999, "steps": [null]}',
    '{"choices": ["\\ud800"], "level": "\\ud800", "source": "\\udfff", "steps": ["\\ud800"]}',
    '{"choices": [], "level": true, "source": "\\u001b[2J", "steps": [], "\\u001b[2J": 1}',
]


@pytest.mark.parametrize("metadata", COLUMNS, ids=range(len(COLUMNS)))
def test_what_is_no_problems_columns(metadata: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    write_run(store, [[solution(f"p{n}", "dtd", True, metadata=metadata) for n in range(3)]])
    assert [line for line in shown(show(store.path(), "p1", None, LOCAL)) if not line.isprintable()] == []
    gather(store, None)
    run = open_run(store)
    (shard,) = read_shards(run, MORE_OF_SOLUTIONS)
    problem_set(shard, choose(shard, RolloutOptions(), Filters()))
    assert [len(steps) for steps in counted(run)] == [0]


def test_a_run_that_is_to_find_its_threshold_beside_a_calibration_without_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    report = CALIBRATION | {"recommendation": {"threshold": None, "why": "none"}}
    store.write("calibration.json", calibrations.sealed(report))
    plan: Any = SimpleNamespace(config=SimpleNamespace(decoding=SimpleNamespace(auto=True)))
    with pytest.raises(UserError, match=r"calibration.json: recommends no threshold"):
        settled(plan, store)


@pytest.mark.parametrize("name", ["../../x", "../recommended.yaml", "recommended-flops-../x.yaml", "config.yaml", ""])
def test_a_calibration_that_would_have_other_files_written(name: str, tmp_path: Path) -> None:
    """`calibrate` writes and deletes the files that it names."""
    store = Store(str(tmp_path / "out"))
    whole = calibrations.sealed(CALIBRATION | {"recommended": {name: {"wish": CALIBRATION["wish"], "threshold": 0.9}}})
    store.write("calibration.json", whole)
    assert calibrations.load(store) is None


YAMLS = [
    b"",
    b"prompt: [1]",
    b"prompt: {date: 1e999}",
    b"prompt: {date: .nan}\ndecoding: {accept: {threshold: .nan}}",
    b"prompt: {date: 2026-99-99}",
    b"decoding: {accept: {threshold: 1" + b"0" * 400 + b"}}",
    b"decoding: {accept: {threshold: [0.5]}}",
    b"decoding: " + b"[" * 100_000,
    b"decoding: [" + b"1," * 110_000 + b"1]",
    b"a: &a [" + b"1," * 99 + b"1]\nb: &b [" + b"*a," * 99 + b"*a]\nc: [" + b"*b," * 99 + b"*b]",
    b"\xff\xfe" * 99,
    b"a: &a [*a]",
    b"!!python/object/apply:os.system [id]",
]


@pytest.mark.parametrize("content", YAMLS, ids=range(len(YAMLS)))
def test_what_is_no_configuration_of_an_evaluation_or_calibration(content: bytes, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    store.write("evaluation.yaml", content)
    with pytest.raises(UserError) as told_of:
        evaluation_status.status(store.path(), LOCAL)
    assert str(told_of.value).isprintable()
    assert work._day_of(content) is None
    store.write("recommended.yaml", content)
    assert recommended(store) is None
