"""The parameters of flows: how a configuration that a person, a deployment or a schedule gives becomes a Config."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import fields
from typing import Any, TypeVar, cast
from zlib import crc32

from prefect import Flow, get_client, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run as own
from prefect.states import Failed
from pydantic import TypeAdapter, ValidationError

from tasks.configuration.parsing import absolute, from_values
from tasks.configuration.placeholders import C, Due, fill, fill_path
from tasks.errors import UserError, on_one_line
from tasks.output.config_file import load

Options = TypeVar("Options")


async def resolve(kind: type[C], given: C | str | dict[str, Any], changes: list[str] | None = None) -> C:
    """The configuration that a flow's parameter `config` stands for, with `dotted.key=value` changes.

    `given`: the configuration itself, or the path of its file (local or s3://), which is read here, where the flow
    runs. Relative paths start at the flow's working directory. `{date}` and `{time}` in input and output paths and in
    the seed are filled from the time for which the flow run was scheduled, `{run}` in the seed from its id: they stay
    the same when the flow run is started again.
    Raises UserError for any mistake: the flows take their parameters unchecked, so that it is told in one line.
    """
    due, changes = _due(), listed(changes)
    if isinstance(given, str):
        return await to_thread(load, kind, given, changes, due)
    if isinstance(given, kind):
        if not changes:
            return absolute(fill(given, due))
        given = given.model_dump(mode="json", exclude_unset=True)
    return from_values(kind, given, changes, "config", due)


def _due() -> Due:
    return Due(own.scheduled_start_time, crc32((own.id or "").encode()))


def listed(changes: Any) -> list[str]:
    """The parameter `changes`. Raises UserError if it is not a list of texts."""
    if changes is None:
        return []
    if not isinstance(changes, list) or not all(isinstance(change, str) for change in changes):
        raise UserError("changes: must be a list of dotted.key=value, such as [input.limit=100]")
    return changes


def options(kind: type[Options], given: Any) -> Options:
    """The parameter `options` as an object. Raises UserError that names the option that is wrong."""
    if isinstance(given, kind):
        return given
    if given is None:
        return kind()
    known = [field.name for field in fields(cast(Any, kind))]
    if not isinstance(given, dict):
        raise UserError(f"options: must be a mapping with some of {', '.join(known)}")
    if unknown := [str(name) for name in given if name not in known]:
        raise UserError(f"options: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"options.{first['loc'][0]}: {first['msg']}") from None


def path(name: str, given: Any) -> str:
    """The path in a flow's parameter, its placeholders filled in as by `resolve`."""
    if not isinstance(given, str) or not given:
        raise UserError(f"{name}: must be a path, local or s3://")
    return fill_path(given, _due(), name)


async def refuse_unknown(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Hook of a crashed flow run. Prefect does not begin a flow run with an unknown parameter. That is a mistake, so it
    is set to failed and not started again."""
    known = flow.parameters.properties
    if unknown := [key for key in flow_run.parameters if key not in known]:
        message = f"UserError: {', '.join(unknown)}: unknown parameter; known here: {', '.join(known)}"
        async with get_client() as client:
            await client.set_flow_run_state(flow_run.id, Failed(message=on_one_line(message)), force=True)


async def name(text: str) -> None:
    """Give this flow run its name in Prefect. If the server is away, it keeps the old name."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        async with get_client() as client:
            await client.set_flow_run_name(context.flow_run.id, on_one_line(text))
    except Exception as error:
        get_run_logger().warning("the flow run keeps its name: %s", on_one_line(str(error)))
