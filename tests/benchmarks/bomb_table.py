"""What small files that are made to do harm cost before they are refused, or survived: each in a process of its own.

    python tests/benchmarks/bomb_table.py [BEGINNING_OF_NAMES...]

Prints a line for each kind: seconds by the clock and of processor time, the most memory held with all libraries, and
what was told. The files are those of the tests.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT),
    *(str(ROOT / "tests" / "tasks" / of) for of in ("problems", "models", "configuration", "grading")),
]
DRAFT = ROOT / "deploy" / "demo" / "models" / "draft"
SECONDS, MEMORY = 30, 1 << 30
Act = Callable[[], Any]


def model(folder: str, **files: bytes | str) -> Path:
    """A copy of the demo's draft with other files."""
    made = Path(shutil.copytree(DRAFT, Path(folder) / "model"))
    for name, content in files.items():
        path = made / name.replace("__", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return made


def tokenizer(made: Path) -> Act:
    from schemas.config import ModelConfig, PromptConfig
    from tasks.models.tokenizer import ModelVocabulary

    return lambda: ModelVocabulary("draft", ModelConfig(model=str(made)), PromptConfig()).size


def checkpoint(made: Path) -> Act:
    from schemas.config import ModelConfig
    from tasks.models.checkpoint import inspect

    return lambda: inspect("draft", ModelConfig(model=str(made))).parameters


def problems(folder: str, name: str, write: Callable[[str], None]) -> Act:
    import bombs

    path = f"{folder}/{name}"
    bombs.apart(lambda: write(path))
    return lambda: bombs.read(path)


def config(text: str) -> Act:
    from tasks.configuration.parsing import parse_config

    return lambda: parse_config(text, [], "job.yaml")


def graded(answer: str, reference: str) -> Act:
    from tasks.grading import Grader

    grader = Grader()
    grader.grade([(r"\boxed{x+x}", "2x", None)])  # what its processes need to start does not count
    return lambda: {"told": ", ".join(str(grade.verdict) for grade in grader.grade(_asked(answer, reference)))}


def _asked(text: str, reference: str) -> list[Any]:
    """A bomb as an answer, as a reference, as both, and as an option."""
    asked = [(text, "x+5", None), (r"\boxed{5}", reference, None), (text, f"{reference}+1", None)]
    return [*asked, (text, "B", [f"{reference}+1", "8"])]


def _zeros(path: str, opened: Any = gzip.open) -> None:
    with opened(path, "wb") as f:
        f.write(b'{"problem": "')
        for _ in range(2000):
            f.write(b"x" * (1 << 20))


def _text(content: bytes) -> Callable[[str], None]:
    return lambda path: Path(path).write_bytes(content) and None


def kinds() -> dict[str, Callable[[str], Act]]:
    """Name of each to what makes it in a folder, and says how it goes off."""
    import bombs
    import latex_bombs
    import test_chat
    import test_checkpoint_files as files
    import test_hostile_configs as configs

    def of_problems(name: str) -> Callable[[str], Act]:
        return lambda folder: problems(folder, f"{name}.parquet", lambda path: bombs.write(name, folder) and None)

    found = {f"Parquet: {name}": of_problems(name) for name in (*bombs.BOMBS, *bombs.LYING)}
    found |= {
        f"template: {name}": lambda folder, t=text: tokenizer(model(folder, chat_template__jinja=t))
        for name, text in (test_chat.BOMBS | {"ignores the problem": "What is 1 + 1?"}).items()
    }
    found |= {
        f"header: {name}": lambda folder, h=header: checkpoint(model(folder, model__safetensors=h))
        for name, header in files.HEADERS.items()
        if "length" in name or "end" in name or "beyond" in name
    }
    found |= {
        f"config.json: {name}": lambda folder, c=content: checkpoint(model(folder, config__json=c))
        for name, content in files.CONFIGS.items()
    }
    whole = json.loads((DRAFT / "tokenizer.json").read_bytes())
    found |= {
        f"tokenizer: {name}": lambda folder, c=change, v=value: tokenizer(
            model(folder, tokenizer__json=json.dumps(files._tokenizer(c, v, whole)))
        )
        for name, (change, value) in files.TOKENIZERS.items()
    }
    found |= {
        f"configuration: {name}": lambda folder, t=text: config(configs.GOOD + t)
        for name, text in {"lists": configs.LISTS, "merges": configs.MERGES, "keys": configs.KEYS}.items()
    }
    found["configuration: deep"] = lambda folder: config(configs.GOOD + "x: " + "[" * 300_000)
    lines = {
        "deep": b'{"problem": ' + b"[" * 2_000_000 + b"\n",
        "deep, ended": b'{"problem": "a", "x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}\n",
        "one line": b'{"problem": "' + b"x" * 200_000_000 + b'"}\n',
        "a number": b'{"problem": "a", "x": ' + b"9" * 1_000_000 + b"}\n",
    }
    found |= {
        f"JSON lines: {name}": lambda folder, c=c: problems(folder, "p.jsonl", _text(c)) for name, c in lines.items()
    }
    found |= {
        f"LaTeX: {name}": lambda folder, a=answer: graded(rf"\boxed{{{a}}}", a)
        for name, answer in latex_bombs.ANSWERS.items()
    }
    found |= {
        f"solution: {name}": lambda folder, s=solution: graded(s, s) for name, solution in latex_bombs.SOLUTIONS.items()
    }
    found["gzip: two gigabytes of one line"] = lambda folder: problems(folder, "p.jsonl.gz", _zeros)
    found["CSV: one cell"] = lambda folder: problems(folder, "p.csv", _text(b"problem\n" + b"x" * 200_000_000))
    found["CSV: an open quote"] = lambda folder: problems(folder, "p.csv", _text(b'problem\n"' + b"x\n" * 99_000_000))
    return found


def one(name: str, folder: str) -> tuple[float, float, int, str]:
    """In a process of its own: make the bomb, then see what it costs."""
    from tasks.errors import UserError

    act = kinds()[name](folder)
    Path("/proc/self/clear_refs").write_text("5")  # what was needed to make it does not count
    made = resource.getrusage(resource.RUSAGE_CHILDREN)
    over, seen = threading.Event(), [0]
    watch = threading.Thread(target=_watch, args=[over, seen])
    watch.start()
    began, worked = time.monotonic(), time.process_time()
    try:
        said = act()
        said = said.get("told", "survived") if isinstance(said, dict) else "survived"
    except UserError as error:
        said = str(error)
    took, work = time.monotonic() - began, time.process_time() - worked
    over.set()
    watch.join()
    for child in _children():
        work += sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    work += ended.ru_utime + ended.ru_stime - made.ru_utime - made.ru_stime
    return took, work, _held("self") + max(seen), said.replace(folder, "")[:110]


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _watch(over: threading.Event, seen: list[int]) -> None:
    """What the children hold together at most, those that end as well."""
    while True:
        ended = over.is_set()
        with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
            seen.append(sum(map(_held, _children())))
        if ended:
            return
        time.sleep(0.02)


def _held(process: str) -> int:
    """Most bytes that a process has held."""
    return int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0]) << 10


def main(*names: str) -> None:
    import bombs
    import transformers.models.auto.tokenization_auto  # noqa: F401 - once, for all of them

    over = 0
    for name in [kind for kind in kinds() if not names or kind.startswith(names)]:
        with tempfile.TemporaryDirectory() as folder:
            found = bombs.apart(lambda name=name, folder=folder: one(name, folder))
        took, work, held, said = found or (0.0, 0.0, 0, "its process died")
        over += found is None or work > SECONDS or held > MEMORY
        print(f"{name:48} {took:7.1f} s {work:6.1f} s of work {held >> 20:5} MiB  {said}", flush=True)
    print(f"{over} beyond {SECONDS} s of work or {MEMORY >> 20} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
