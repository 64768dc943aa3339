"""The timeline: every process's lanes in one picture, and nothing of it can harm a run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tasks.storage.store import Store
from tasks.telemetry.metering import Meters
from tasks.telemetry.timeline import FOLDER, PICTURE, draw, keep, processes
from tasks.telemetry.timeline_svg import without_pauses


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def leave(store: Store, session: str, began: float, roles: tuple[str, ...] = ("draft", "target", "prm")) -> None:
    now = [0]
    meters = Meters(lambda: now[0])
    for _ in range(5):
        for role in roles:
            with meters.call(role, 3):
                now[0] += 700_000
    keep(store, session, began, meters)


def texts(store: Store) -> list[str]:
    root = ET.fromstring(store.read(PICTURE))
    return ["".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("}text")]


def test_every_process_has_its_lanes(store: Store) -> None:
    leave(store, "cccc", 5000.0)
    leave(store, "bbbb", 1000.0)
    draw(store, pytest.fail)
    found = texts(store)
    assert [text for text in found if text in ("draft", "prm", "target")] == ["draft", "prm", "target"] * 2
    assert [text for text in found if text.startswith("process")] == ["process bbbb", "process cccc"]
    assert any(text.startswith("stopped for 66.5 min") for text in found)
    drawn = store.read(PICTURE)
    draw(store, pytest.fail)
    assert store.read(PICTURE) == drawn, "the same bars give the same bytes"


def test_damaged_bars_are_left_out(store: Store) -> None:
    leave(store, "aaaa", 1000.0)
    [key] = store.keys(FOLDER)
    for n, content in enumerate((b"", b"[]", b'{"roles": {"draft": 3}}', store.read(key)[:-9])):
        store.write(f"{FOLDER}/000000200{n}-dddd.json", content)
    assert [process.session for process in processes(store)] == ["aaaa"]
    draw(store, pytest.fail)
    assert "draft" in texts(store)


def test_what_cannot_be_drawn_is_told_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(store, "aaaa", 1000.0)

    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("tasks.telemetry.timeline_svg.picture", broken)
    told: list[str] = []
    draw(store, told.append)
    assert len(told) == 1
    assert "no ink" in told[0]
    assert store.read_or_none(PICTURE) is None


def test_a_process_that_had_no_engine_leaves_nothing(store: Store) -> None:
    keep(store, "aaaa", 0.0, Meters())
    draw(store, pytest.fail)
    assert store.keys("report") == []


def test_bars_are_read_as_they_were_kept(store: Store) -> None:
    leave(store, "aaaa", 1000.0)
    [key] = store.keys(FOLDER)
    kept = json.loads(store.read(key))["roles"]
    [process] = processes(store)
    for lane in process.lanes:
        assert [[list(bar) for bar in track] for track in lane.tracks] == kept[lane.role]["work"]


@pytest.mark.parametrize(
    ("spans", "places", "pauses"),
    [
        ([], [], []),
        ([(5, 10), (8, 3), (15, 1)], [0, 3, 10], []),
        ([(5, 10), (35, 4), (100, 1)], [0, 10, 14], [(10, 20), (14, 61)]),
    ],
)
def test_pauses_are_cut_out(
    spans: list[tuple[float, float]], places: list[float], pauses: list[tuple[float, float]]
) -> None:
    assert without_pauses(spans) == (places, pauses)
