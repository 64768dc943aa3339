"""Asks vLLM whether it accepts an engine's arguments, without loading weights.

It imports vLLM, which takes seconds, so that it is asked only where a configuration gives arguments that Stepwave
passes on unread. In a process of its own: vLLM sets up its platform as it is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from schemas.engine_kinds import ENGINE_KINDS
from tasks.engines.engine_log import named_fault
from tasks.engines.spec import EngineSpec
from tasks.errors import UserError, in_brief
from tasks.processes import started_as

READ = {"max_model_len", "device_ids", "gpu_memory_utilization", "kv_cache_memory_bytes"}
"""Arguments that the plan looks at, and needs no second opinion of."""
PATIENCE = 180
"""Seconds that it may take, of which vLLM's import is most."""


def check_arguments(specs: Iterable[EngineSpec], given: dict[str, set[str]]) -> None:
    """UserError with vLLM's words where it refuses what an engine would be started with. `given`: role to the arguments
    that its configuration gives."""
    asked = [spec for spec in specs if ENGINE_KINDS[spec.kind].placed and given.get(spec.role, set()) - READ]
    if not asked:
        return
    questions = [[spec.role, {"model": spec.model, "max_model_len": spec.window} | spec.arguments] for spec in asked]
    process = started_as("tasks.engines.opinion", asked[0].environment)
    try:
        answer = subprocess.run(
            **process, input=json.dumps(questions), capture_output=True, text=True, timeout=PATIENCE
        )
        role, fault = json.loads(answer.stdout.rpartition("\n")[2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return  # it has no opinion: what is wrong shows when the engine starts
    if fault:
        raise UserError(f"models.{role}.engine: vLLM refuses the arguments that it would be started with: {fault}")


def answered(questions: list[tuple[str, dict[str, Any]]]) -> tuple[str, str]:
    """The first role whose engine vLLM would refuse, and why; empty where it would take all."""
    from vllm.engine.arg_utils import EngineArgs

    for role, arguments in questions:
        try:
            EngineArgs(**arguments).create_engine_config()
        except Exception as error:
            return role, _plain(error)
    return "", ""


def _plain(error: Exception) -> str:
    """Of a fault that pydantic found what is wrong, without what it was given."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return named_fault(error)
    first = errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    return in_brief(f"{where}: {text}" if where else text, 500)


if __name__ == "__main__":
    asked_of_us = json.load(sys.stdin)
    said = answered(asked_of_us)
    sys.stdout.write("\n" + json.dumps(said))
