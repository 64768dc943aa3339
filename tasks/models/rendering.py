"""A process that renders chat templates, so that one that never ends or takes all memory costs no run more than a line.

A template is somebody else's program. transformers lets it reach nothing; here it has limits of memory and processor
time as well. The process is asked in JSON, one line each way. It ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from tasks.errors import in_brief
from tasks.processes import limit_memory, limit_work, started_as

SECONDS = 5
"""Processor time that the chats of one request may take."""
MEMORY = 512 << 20
"""Bytes that they may take."""
FRAME = 1 << 20
"""Characters that a template may write beside what it is given."""
COPIES = 8
"""Times that it may write what it is given."""

TEXT: Any = {"encoding": "utf-8", "errors": "surrogatepass"}
"""How lines are written: problems may hold anything."""
Chats = list[list[dict[str, str]]]


class TemplateFault(Exception):
    """A template does not render these chats. The words follow on the template's place, in brackets."""


class Renderer:
    """The process, started when it is first asked. Threads take turns."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.owner = 0
        """Who started it: a fork starts its own."""

    def render(
        self, template: str, tokens: dict[str, Any], day: date, chats: Chats, *, answer: bool
    ) -> tuple[list[str], bool]:
        """The text of each chat, up to where an answer begins if `answer`; and was the time asked for? `tokens`: the
        special ones, by what templates call them. Raises TemplateFault."""
        asked = {"template": template, "tokens": tokens, "day": day.isoformat(), "chats": chats, "answer": answer}
        with self.lock:
            said = self._ask(json.dumps(asked, ensure_ascii=False))
        if "fault" in said:
            raise TemplateFault(said["fault"])
        return said["texts"], said["dated"]

    def _ask(self, line: str) -> dict[str, Any]:
        if self.process is None or self.owner != os.getpid():
            self.process, self.owner = _start(), os.getpid()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return dict(json.loads(self.process.stdout.readline()))
        except (OSError, ValueError) as error:
            ended, self.process = self.process, None
            ended.kill()
            code = ended.wait()
            if code == -signal.SIGXCPU:
                raise TemplateFault(f"it takes more than {SECONDS} s of processor time") from error
            raise TemplateFault(f"the process that rendered it ended, with exit code {code}") from error


def _start() -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(**started_as("tasks.models.rendering"), **pipes, **TEXT)


RENDERER = Renderer()


# --- in the process


def rendered(request: dict[str, Any]) -> dict[str, Any]:
    """What is answered to a request."""
    from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

    day, dated = date.fromisoformat(request["day"]), False

    def strftime_now(form: str) -> str:
        nonlocal dated
        dated = True
        return now(day, form)

    try:
        template, chats = request["template"], request["chats"]
        frozen: dict[str, Any] = {"strftime_now": strftime_now, "lipsum": _no_draw}
        _freeze_draws(_compile_jinja_template(template))
        most = FRAME + COPIES * sum(len(turn["content"]) for chat in chats for turn in chat)
        texts = render_jinja_template(
            chats, chat_template=template, add_generation_prompt=request["answer"], **request["tokens"] | frozen
        )[0]
        if sum(map(len, texts)) > most:
            return {"fault": f"it writes more than {most:,} characters"}
    except MemoryError:
        return {"fault": f"it takes more than {MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"fault": "it is nested too deeply"}
    except Exception as error:
        return {"fault": in_brief(error)}
    return {"texts": texts, "dated": dated}


def now(day: date, form: str) -> str:
    """The beginning of a day, written as strftime writes it in UTC, whatever zone this machine is in."""
    start = datetime(day.year, day.month, day.day)  # as transformers has it: %Z and %z are empty
    seconds = str(int(start.replace(tzinfo=UTC).timestamp()))  # strftime's own %s is by this machine's zone
    return start.strftime(re.sub(r"%(.)", lambda found: seconds if found[1] == "s" else found[0], form))


def _freeze_draws(template: Any) -> None:
    """Have the filter `random` take the first, in the environment in which transformers renders this template."""
    from jinja2 import pass_context

    template.environment.filters["random"] = pass_context(_first)


def _first(context: Any, items: Sequence[Any]) -> Any:
    return next(iter(items), "")


def _no_draw(*_: Any, **__: Any) -> str:
    return "Lorem ipsum."


def _serve() -> None:
    """Answer requests until there are no more. Ctrl-C, and what is sent to the whole group, is for the run."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    import transformers.utils.chat_template_utils  # noqa: F401 - before memory has a limit

    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(**TEXT)  # type: ignore[union-attr]
    limit_memory(MEMORY)
    for line in sys.stdin:
        limit_work(SECONDS)
        sys.stdout.write(json.dumps(rendered(json.loads(line)), ensure_ascii=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
