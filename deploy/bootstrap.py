"""Set Stepwave up in this checkout, and run the demo or the tests with it.

    python3 deploy/bootstrap.py demo [arguments of `stepwave demo`]
    python3 deploy/bootstrap.py test [--all | arguments of pytest]
    python3 deploy/bootstrap.py          only sets up

Makes `.venv` in the checkout, or brings it up to date, and asks nothing. Commands run in the checkout's root, and their
exit code is this script's. Needs Python 3.11, 3.12 or 3.13 and its standard library, on Linux (macOS is untried).
With an NVIDIA GPU it installs vLLM; without one a third-party build of it for CPUs. STEPWAVE_DEVICE=cpu or =gpu decides
instead. pip's find-links and index settings hold for uv too, where uv has none of its own.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
INPUTS = ("pyproject.toml", "deploy/constraints.txt", "deploy/overrides.txt")  # what the packages in .venv follow from
WHOLE = ("-n", "2", "--dist", "loadfile")  # tests in two processes, each of which takes a file at a time
STAMP = "stepwave.json"  # in .venv: what it was made for, and whether the installation came to its end
TAIL_LINES, TAIL_WIDTH = 12, 240  # of a failed command's output

NO_NETWORK = re.compile(
    r"dns error|name resolution|NameResolutionError|NewConnectionError|error sending request|Network is unreachable"
    r"|Connection refused|ConnectTimeout|No route to host|operation timed out",
    re.IGNORECASE,
)
# Of what uv prints: its stages, and downloads of 20 MiB or more.
WORTH_SHOWING = re.compile(
    r"(Resolved|Building|Prepared|Installed) |Downloading .*\((([2-9]\d|\d{3,})\.\d+MiB|.*GiB)\)"
)
PIP_TO_UV = {
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
PIP_SECTIONS = (":env:", "install", "global")  # the first that has a setting wins
UV_INDEX_NAMES = {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"}


def unsupported(version, platform):
    """Why Stepwave cannot be set up with this Python version (a tuple) on this sys.platform; None where it can."""
    if platform == "win32":
        return "Windows is not supported (vLLM does not run there); use Linux, or WSL 2."
    if not (3, 11, 1) <= tuple(version[:3]) < (3, 14):
        have = ".".join(str(part) for part in version[:3])
        return f"Stepwave needs Python 3.11.1 or later up to 3.13; this is {have}. Run this script with one of those."
    return None


# Before any annotation or newer syntax is evaluated, so that an old Python gets this line and not a traceback.
if __name__ == "__main__" and unsupported(sys.version_info, sys.platform):
    sys.exit(f"bootstrap: {unsupported(sys.version_info, sys.platform)}")


class SetupError(Exception):
    """Setting up failed; the text says why in a form fit for the user."""


def say(text: str) -> None:
    # stderr, so that stdout is the command's alone (`demo --json` prints one JSON object there).
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def choose_device(environ: dict[str, str]) -> str:
    """'cpu' or 'gpu': STEPWAVE_DEVICE where it is set, else whether an NVIDIA driver lists a GPU."""
    wanted = environ.get("STEPWAVE_DEVICE", "").strip().lower()
    if wanted in ("cpu", "gpu"):
        return wanted
    if wanted:
        raise SetupError(f"STEPWAVE_DEVICE is {wanted!r}; it may be cpu or gpu, or unset to find out.")
    answer = ask(["nvidia-smi", "-L"])
    return "gpu" if answer.returncode == 0 and re.search(r"^GPU \d+", answer.stdout, re.MULTILINE) else "cpu"


def wanted_stamp(root: Path, device: str, version: tuple[int, ...]) -> dict[str, str]:
    """What a ready .venv of this checkout says in its stamp. A moved checkout makes its scripts' paths wrong."""
    inputs = hashlib.sha256()
    for name in INPUTS:
        inputs.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return {
        "state": "ready",
        "checkout": str(root),
        "device": device,
        "python": ".".join(str(part) for part in version[:2]),
        "inputs": inputs.hexdigest(),
    }


def read_stamp(venv: Path) -> dict[str, str]:
    """The stamp, or {} where there is none that can be read."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, stamp: dict[str, str]) -> None:
    new = venv / f"{STAMP}.new"
    new.write_text(json.dumps(stamp, indent=1) + "\n")
    new.replace(venv / STAMP)


def reason_to_recreate(stamp: dict[str, str], wanted: dict[str, str], venv_python: str | None) -> str | None:
    """Why an existing .venv cannot be kept, or None.

    `venv_python` is the 'major.minor' of its Python, None if that does not run.
    """
    if venv_python is None:
        return "its Python does not run"
    if venv_python != wanted["python"]:
        return f"it was made with Python {venv_python}, and this is {wanted['python']}"
    if not stamp:
        return None  # made by hand: installing into it does no harm
    if stamp.get("state") != "ready":
        return "an earlier installation in it did not come to its end"
    for what in ("checkout", "device"):
        if stamp.get(what) != wanted[what]:
            return f"it was made for another {what} ({stamp.get(what)})"
    return None


def ask(command: Sequence[str | Path], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a short command for its answer; one that cannot be run, or takes two minutes, has failed."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def version_of(python: Path) -> str | None:
    """'major.minor' of an interpreter, or None when it does not run."""
    answer = ask([python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    return answer.stdout.strip() if answer.returncode == 0 and answer.stdout.strip() else None


def failure(doing: str, code: int, output: str) -> SetupError:
    """What to tell the user of a command that failed: its likely cause where it is plain, and the end of its output."""
    why = f"{doing} failed (exit code {code})."
    if NO_NETWORK.search(output):
        why = f"{doing} failed: the network, or the package index, could not be reached."
    if "ensurepip" in output:
        why += " This Python lacks parts of the venv module; on Debian and Ubuntu the package python3-venv brings them."
    tail = "\n".join(f"    {line[:TAIL_WIDTH]}" for line in output.rstrip().splitlines()[-TAIL_LINES:])
    return SetupError(f"{why} The end of its output:\n{tail}\nRun the same command again once that is put right.")


def run(doing: str, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
    """Run a command of the installation, showing uv's milestones; SetupError with the end of its output if it fails."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if WORTH_SHOWING.match(line):
                    say(f"  {lines[-1]}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise failure(doing, process.returncode, "\n".join(lines))


def uv_settings(environ: dict[str, str], pip_config: str) -> dict[str, str]:
    """Environment for uv: `environ`, and pip's settings (`pip config list`) where uv has none of its own.

    pip takes the best version from all its indexes, uv from the first that has the package: where pip's extra indexes
    are taken over, so is pip's way.
    """
    settings: dict[str, str] = {}
    for line in pip_config.splitlines():
        key, _, value = line.partition("=")
        with contextlib.suppress(ValueError, SyntaxError):
            settings[key] = str(ast.literal_eval(value))
    env = dict(environ)
    own_index = bool(UV_INDEX_NAMES & environ.keys())
    for name, (variable, separator) in PIP_TO_UV.items():
        if variable in env or (own_index and variable in UV_INDEX_NAMES):
            continue
        values = [settings[f"{section}.{name}"] for section in PIP_SECTIONS if f"{section}.{name}" in settings]
        if values and values[0].strip():
            env[variable] = separator.join(values[0].split())
            if variable == "UV_INDEX":
                env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return env


def torch_pin(constraints: Path) -> str:
    """The line of the constraints that pins PyTorch's CPU build."""
    return next(line.strip() for line in constraints.read_text().splitlines() if line.startswith("torch=="))


def install_packages(device: str, env: dict[str, str]) -> None:
    """Install the checkout and what it needs with uv, which .venv has by now."""
    # Compiled now: vLLM's import takes more than twice as long where Python is told to write no bytecode, or may not.
    uv_install: list[str | Path] = [PYTHON, "-m", "uv", "pip", "install", "--compile-bytecode", "--python", PYTHON]
    packages = ["--override", "deploy/overrides.txt", "-c", "deploy/constraints.txt", "-e", ".[cpu,test]"]
    if device == "gpu":
        packages = ["--torch-backend", "auto", "-e", ".[gpu,test]"]
    else:
        # PyPI has no CPU build of PyTorch. A wheel at hand (find-links, a mirror) comes first, else PyTorch's own
        # index; that in a step of its own, since uv would look nowhere else for some packages beside it (triton).
        pin = torch_pin(ROOT / "deploy" / "constraints.txt")
        answer = ask([*uv_install, "--dry-run", "--no-deps", pin], env)
        if answer.returncode != 0 and NO_NETWORK.search(answer.stderr):
            raise failure("Looking for PyTorch", answer.returncode, answer.stderr)
        if answer.returncode != 0:
            say(f"{pin} is not in the configured places: taking it from PyTorch's own package index")
            run("Installing PyTorch", [*uv_install, "--torch-backend", "cpu", "--no-deps", pin], env)
    run("Installing the packages", [*uv_install, *packages], env)


def make_venv() -> None:
    # The base interpreter: this one may be the .venv's own, about to be removed.
    base = getattr(sys, "_base_executable", None) or sys.executable
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    run("Making .venv", [base, "-m", "venv", VENV])


def install(device: str, fresh: bool) -> None:
    """Install what pyproject.toml asks for into .venv; `fresh` says that there is little in it yet."""
    quiet_pip: list[str | Path] = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    if ask([PYTHON, "-m", "uv", "--version"]).returncode != 0:
        say("installing uv into .venv (a fast installer; a few seconds)")
        pip_install = [*quiet_pip, "install", "--quiet", "-c", "deploy/constraints.txt", "uv"]
        run("Installing uv", pip_install, dict(os.environ, PIP_USER="0"))
    env = uv_settings(dict(os.environ), ask([*quiet_pip, "config", "list"]).stdout)
    if fresh:
        size = "several GB" if device == "gpu" else "about 1 GB to fetch, 4 GB unpacked"
        say(f"installing Stepwave, vLLM and PyTorch for {device.upper()}: {size};")
        say("half a minute where the packages are at hand, some minutes on a slow line")
    install_packages(device, env)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let one bootstrap at a time work on this checkout; another waits."""
    import fcntl  # not on Windows, which is refused before

    with open(ROOT / "pyproject.toml", "rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bootstrap is setting this checkout up; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield


def set_up() -> None:
    """Bring .venv to what the checkout asks for; nothing to do where its stamp says so."""
    device = choose_device(dict(os.environ))
    with only_one():
        wanted = wanted_stamp(ROOT, device, sys.version_info[:2])
        stamp = read_stamp(VENV)
        exists = os.path.lexists(VENV)
        why = reason_to_recreate(stamp, wanted, version_of(PYTHON)) if exists else None
        if exists and not why:
            if stamp == wanted and (VENV / "bin" / "stepwave").exists():
                say(f"the environment in .venv is up to date (for {device.upper()})")
                return
            if ask([PYTHON, "-m", "pip", "--version"]).returncode != 0:
                why = "it has no working pip"
        keep = exists and not why
        begin = time.monotonic()
        if keep:
            say("bringing .venv up to date")
        else:
            say(f"making .venv anew: {why}" if why else f"making .venv with Python {wanted['python']}")
            make_venv()
        write_stamp(VENV, wanted | {"state": "installing"})
        try:
            install(device, fresh=not keep)
        except SetupError:
            if keep:  # uv resolves everything before it touches anything: what was there most likely still works
                write_stamp(VENV, stamp)
            raise
        write_stamp(VENV, wanted)
        say(f"ready after {time.monotonic() - begin:.0f} s")


def become(command: Sequence[str | Path]) -> None:
    """Turn this process into the command, in the checkout and with .venv's programs first on the path."""
    os.chdir(ROOT)
    env = dict(
        os.environ, VIRTUAL_ENV=str(VENV), PATH=f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    )
    env.pop("PYTHONHOME", None)
    sys.stdout.flush()
    try:
        os.execve(command[0], [str(part) for part in command], env)
    except OSError as error:
        raise SetupError(f"cannot run {command[0]}: {error.strerror}") from None


def terminated(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


def main(arguments: list[str]) -> int:
    action, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if action in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0
    if action not in ("", "demo", "test"):
        say(f"{action!r} is not something it does: say demo, test, or nothing (--help tells more)")
        return 2
    if sys.platform != "linux":
        say("Stepwave is tried on Linux only; here the packages may turn out not to exist")
    signal.signal(signal.SIGTERM, terminated)  # so that an installer under way is ended too
    try:
        set_up()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if action == "demo":
            become([VENV / "bin" / "stepwave", "demo", *rest])
        if action == "test":
            become([PYTHON, "-m", "pytest", *(WHOLE if rest in ([], ["--all"]) else ()), *rest])
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or ROOT}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command starts over")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
