"""Commands that look at an output."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from flows.cli.application import Changes, Json
from tasks.errors import on_one_line
from tasks.storage.stores import WAITED_FOR, Stores


def status(out: str, /, *, changes: Changes = None, as_json: Json = False) -> None:
    """Say how far a run is, during it and after, and which files are damaged.

    Example: stepwave status s3://bucket/runs/x

    Parameters
    ----------
    out
        Output of a run or of an evaluation, local or s3://. Of the configuration only --set storage.* counts here.
    """
    from tasks.output.kinds import is_evaluation

    stores = _stores(changes)
    if is_evaluation(stores.store(out)):
        from flows.evaluation_status import lines
        from flows.evaluation_status import status as look
    else:
        from flows.status import lines
        from flows.status import status as look
    report = look(out, stores)
    print(json.dumps(report) if as_json else "\n".join(lines(report)))


def show(
    out: str,
    problem_id: str,
    /,
    *,
    sample: int | None = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Show a problem's solutions step by step: writers, rewards, rejected attempts and verdict.

    Example: stepwave show s3://bucket/runs/x algebra-17 --sample 0

    Parameters
    ----------
    out
        Output of a run, local or s3://. Of the configuration only --set storage.* counts here.
    problem_id
        The problem, as in column problem_id of the run's solutions.
    sample
        Only this sample of the problem, from 0.
    """
    from flows import show as showing

    found = showing.show(out, problem_id, sample, _stores(changes))
    print(json.dumps(found) if as_json else "\n".join(showing.lines(found)))


def report(
    out: str,
    /,
    *,
    price: Annotated[float | None, Parameter(help="Price of an hour of one GPU.")] = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Make an HTML page of a run, an evaluation or a calibration: plots, cost, and the solutions to browse.

    Example: stepwave report s3://bucket/runs/x --price 2.5

    Parameters
    ----------
    out
        Output of `generate`, `evaluate` or `calibrate`, local or s3://. Of the configuration only --set storage.*
        counts here.
    """
    from flows.report import report as write

    done = write(out, price, _stores(changes))
    print(json.dumps(done) if as_json else on_one_line(f"report written to {done['report']}"))


def _stores(changes: list[str] | None) -> Stores:
    """The stores, opened as `storage.*` changes say, with the short patience of a command that somebody waits for."""
    if not changes:
        return Stores(patience=WAITED_FOR)
    from tasks.configuration.parsing import parse_storage

    return Stores(parse_storage(changes), WAITED_FOR)
