"""What the driver tells of the GPUs, and waiting for one that another process still holds."""

from __future__ import annotations

import os
import re

import psutil
import pynvml
import pytest

from tasks.engines import cards as of_driver
from tasks.engines.cards import cards, driver, wait_until_free
from tasks.errors import UserError

from .fake_nvml import Fake, install

GIB = 1 << 30
MACHINE = [
    Fake("GPU-aa11", 80 * GIB, 10 * GIB, [(os.getpid(), 69 * GIB), (2**22 + 1, None)]),
    Fake("GPU-bb22", 40 * GIB, divided=True, parts=[Fake("MIG-b1", 20 * GIB), Fake("MIG-b2", 10 * GIB)]),
    Fake("GPU-cc33", 24 * GIB, parts=[Fake("MIG-off", GIB)]),
]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, MACHINE)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, ["GPU-aa11", "MIG-b1", "GPU-cc33"]),
        ("2", ["GPU-cc33"]),
        ("2,0", ["GPU-cc33", "GPU-aa11"]),
        ("GPU-a", ["GPU-aa11"]),
        ("GPU-c, 1", ["GPU-cc33", "MIG-b1"]),
        ("MIG-b2", ["MIG-b2"]),
        ("MIG-b2,MIG-b1", ["MIG-b2", "MIG-b1"]),
        ("GPU-bb22", ["MIG-b1"]),
    ],
)
def test_a_process_has_the_cards_and_parts_that_it_may_use(
    visible: str | None, uuids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.uuid for card in cards()] == uuids


@pytest.mark.parametrize("name", ["7", "-1", "GPU-zz", "MIG-zz", "MIG-off", "x", "", "1.0"])
def test_one_that_is_not_there_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"0,{name}")
    with pytest.raises(
        UserError, match=re.escape(f"CUDA_VISIBLE_DEVICES: {name} is none of the GPUs here (0 to 2: GPU-aa")
    ):
        cards()


@pytest.mark.parametrize("visible", ["0,0", "2,GPU-cc33", "MIG-b1,1"])
def test_one_that_is_named_twice_is_told(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES: {visible} names a GPU twice"):
        cards()


def test_a_card_without_memory_of_its_own_has_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, [Fake("GPU-spark", None)])
    assert cards()[0].total == psutil.virtual_memory().total


def test_a_machine_without_a_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    with pytest.raises(UserError, match=r"no NVIDIA GPU answers here .* the driver is missing"):
        driver()


async def test_a_card_that_is_held_is_waited_for_and_then_its_holders_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of_driver, "LOOK", 0)
    said: list[str] = []
    with pytest.raises(UserError) as told:
        await wait_until_free("target", [0], 0.5, said.append)
    name = re.escape(psutil.Process().name())
    assert re.match(
        rf"GPU 0 has 10\.0 of 80\.0 GiB free, and the target engine wants 40\.0 GiB; held by "
        rf"pid {os.getpid()} \({name}, 69\.0 GiB\), pid {2**22 + 1} \(another container's, or gone\)\. "
        "Stop what holds it",
        str(told.value),
    )
    assert len(said) == 1


async def test_an_engine_starts_once_the_card_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_driver, "LOOK", 0)
    card = Fake("GPU-aa11", 80 * GIB, 10 * GIB, [(os.getpid(), 69 * GIB)])
    install(monkeypatch, [card])

    def given_back(_: str) -> None:
        card.free, card.holders = 79 * GIB, []

    await wait_until_free("target", [0], 0.5, given_back)
    assert card.free == 79 * GIB


async def test_a_share_that_is_free_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(text: str) -> None:
        raise AssertionError(text)

    await wait_until_free("prm", [0, 1], 0.125, never)
