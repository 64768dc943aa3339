"""deploy/bootstrap.py: its decisions, without installing anything."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stepwave_bootstrap", ROOT / "deploy" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, bootstrap: ModuleType) -> Path:
    """A checkout with a space in its name that holds what the stamp is made of."""
    root = tmp_path / "a checkout"
    for name in bootstrap.INPUTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for nvidia-smi, alone on the path: `nvidia_smi(script)`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(script: str) -> None:
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


@pytest.mark.parametrize("version", [(3, 11, 1), (3, 12, 0), (3, 13, 9)])
def test_supported_pythons(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    assert bootstrap.unsupported(version, "linux") is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 11, 0), (3, 14, 0)])
def test_other_pythons_are_refused_in_one_line(bootstrap: ModuleType, version: tuple[int, ...]) -> None:
    line = bootstrap.unsupported(version, "linux")
    assert ".".join(map(str, version)) in line
    assert "3.11" in line
    assert "\n" not in line


def test_windows_is_refused(bootstrap: ModuleType) -> None:
    assert "Windows" in bootstrap.unsupported((3, 12, 0), "win32")


@pytest.mark.parametrize(("value", "device"), [("cpu", "cpu"), ("gpu", "gpu"), (" GPU ", "gpu")])
def test_the_environment_decides_the_device(bootstrap: ModuleType, value: str, device: str) -> None:
    assert bootstrap.choose_device({"STEPWAVE_DEVICE": value}) == device


def test_an_unknown_device_is_refused(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match="tpu"):
        bootstrap.choose_device({"STEPWAVE_DEVICE": "tpu"})


@pytest.mark.parametrize(
    ("script", "device"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", "gpu"),
        ("echo 'No devices were found'", "cpu"),
        ("echo 'GPU 0: broken driver'; exit 9", "cpu"),
    ],
)
def test_the_driver_decides_the_device(bootstrap: ModuleType, nvidia_smi, script: str, device: str) -> None:
    nvidia_smi(script)
    assert bootstrap.choose_device({}) == device


def test_without_a_driver_it_is_a_cpu(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.choose_device({"STEPWAVE_DEVICE": ""}) == "cpu"


def test_the_stamp_follows_everything_that_decides_the_packages(bootstrap: ModuleType, checkout: Path) -> None:
    def stamp(device: str = "cpu", version: tuple[int, int] = (3, 11)) -> dict[str, str]:
        return bootstrap.wanted_stamp(checkout, device, version)

    first = stamp()
    assert stamp() == first
    assert stamp(device="gpu") != first
    assert stamp(version=(3, 12)) != first
    for name in bootstrap.INPUTS:
        before = stamp()
        with open(checkout / name, "a") as file:
            file.write("# changed\n")
        assert stamp() != before


def test_a_stamp_is_read_back_and_a_broken_one_is_none(bootstrap: ModuleType, checkout: Path) -> None:
    assert bootstrap.read_stamp(checkout) == {}
    wanted = bootstrap.wanted_stamp(checkout, "cpu", (3, 11))
    bootstrap.write_stamp(checkout, wanted)
    assert bootstrap.read_stamp(checkout) == wanted
    (checkout / bootstrap.STAMP).write_text('{"state": ')
    assert bootstrap.read_stamp(checkout) == {}


def test_what_makes_an_environment_unfit(bootstrap: ModuleType, checkout: Path) -> None:
    wanted = bootstrap.wanted_stamp(checkout, "cpu", (3, 11))

    def reason(venv_python: str | None = "3.11", **changed: str) -> str | None:
        return bootstrap.reason_to_recreate(wanted | changed, wanted, venv_python)

    assert reason() is None
    assert reason(inputs="other") is None, "installing on top is enough"
    assert bootstrap.reason_to_recreate({}, wanted, "3.11") is None, "made by hand"
    assert "does not run" in reason(venv_python=None)
    assert "3.12" in reason(venv_python="3.12")
    assert "did not come to its end" in reason(state="installing")
    assert "gpu" in reason(device="gpu")
    assert "checkout" in reason(checkout="/elsewhere")


def test_pip_settings_reach_uv(bootstrap: ModuleType) -> None:
    config = (
        ":env:.find-links='/wheels /more'\n"
        "global.extra-index-url='\\nhttps://a.example/simple\\nhttps://b.example/simple'\n"
        "global.find-links='/other'\n"
        "global.index-url='https://main.example/simple'\n"
        "not a setting\n"
    )
    assert bootstrap.uv_settings({"HOME": "/h"}, config) == {
        "HOME": "/h",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_DEFAULT_INDEX": "https://main.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_uv_settings_of_its_own_win(bootstrap: ModuleType) -> None:
    own = {"UV_DEFAULT_INDEX": "https://uv.example/simple", "UV_FIND_LINKS": "/uv"}
    config = "global.extra-index-url='https://a.example/simple'\nglobal.find-links='/wheels'\n"
    assert bootstrap.uv_settings(own, config) == own


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("error: client error (Connect)\n  cause: dns error", "the network"),
        ("error: No solution found when resolving dependencies", "exit code 2"),
        ("The virtual environment was not created successfully because ensurepip is not available.", "python3-venv"),
    ],
)
def test_a_failure_tells_its_cause_and_the_end_of_the_output(bootstrap: ModuleType, output: str, says: str) -> None:
    text = str(bootstrap.failure("Installing", 2, "early line\n" * 50 + output))
    assert says in text
    assert output.splitlines()[-1] in text
    assert len(text.splitlines()) < 20


def test_a_failing_command_becomes_a_setup_error(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.SetupError, match="no luck"):
        bootstrap.run("Trying", [sys.executable, "-c", "import sys; sys.exit('no luck')"])


def test_the_constraints_pin_a_cpu_build_of_torch_and_name_no_place(bootstrap: ModuleType) -> None:
    constraints = ROOT / "deploy" / "constraints.txt"
    assert bootstrap.torch_pin(constraints).endswith("+cpu")
    assert not [line for line in constraints.read_text().splitlines() if "/" in line or " @ " in line]


def test_an_unknown_action_exits_2_and_does_nothing() -> None:
    script = ROOT / "deploy" / "bootstrap.py"
    done = subprocess.run([sys.executable, script, "frobnicate"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert done.stdout == ""
