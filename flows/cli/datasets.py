"""Commands that make datasets: of runs, or problem sets of benchmarks."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Annotated

from cyclopts import Parameter

from flows.cli.application import Changes, Json, run_flow
from flows.terminal.interruption import Halt, Interruption
from flows.terminal.text import say
from schemas.export import ExportOptions
from schemas.rollouts import RolloutOptions
from tasks.errors import EngineError, UserError, on_one_line


def export(
    kind: str,
    /,
    *paths: str,
    options: Annotated[ExportOptions | None, Parameter(name="*", negative=())] = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Make a training dataset of one or several runs.

    Example: stepwave export sft s3://bucket/runs/x s3://bucket/data/x --per-problem 4 --decontaminate math.jsonl

    Parameters
    ----------
    kind
        sft (solutions), step-dpo (pairs of steps), dpo (pairs of solutions) or prm (steps with labels).
    paths
        Outputs of runs, and last the dataset's directory; local or s3://. Of the configuration only --set storage.*
        counts here. If the runs' PRMs are asked for rewards, models.prm.* counts too (with same_as models.draft.* or
        models.target.*), and run.engine_restarts, run.engine_patience and run.batch_invariant.
    """
    from flows import export as exporting

    if len(paths) < 2:
        raise UserError("export: name the output of a run, or several, and the dataset's directory after them")
    *outs, dest = paths
    stores, of_runs = exporting.read_changes(changes or [])
    again = on_one_line(shlex.join(["stepwave", *sys.argv[1:]]))
    halt = Halt(again)
    halt.watch()
    try:
        done = exporting.export(kind, outs, dest, options or ExportOptions(), stores, of_runs, halt)
    except KeyboardInterrupt:
        halt.end()
        sys.exit(130)
    except EngineError as error:
        error.add_note(f"rewards of whole shards are kept; to go on: {again}")
        raise
    print(json.dumps(done) if as_json else "\n".join(exporting.lines(done)))


def rollouts(
    out: str,
    dest: str,
    /,
    *,
    options: Annotated[RolloutOptions | None, Parameter(name="*", negative=())] = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Continue each step of a run several times. The share of continuations that end right says what the step is worth.

    Example: stepwave rollouts s3://bucket/runs/x s3://bucket/rollouts/x --samples 8 --share 0.1

    Parameters
    ----------
    out
        Output of a run, local or s3://.
    dest
        Directory of the roll-outs. Run again with the same one, it goes on where it stopped. --set changes the run's
        configuration for the run that writes the roll-outs.
    """
    asked = options or RolloutOptions()
    interruption = Interruption(shlex.join(["stepwave", *sys.argv[1:]]))
    from tasks.export.rollouts.request import read_request

    if read_request(out, dest, asked, changes or []).config.run.workers is not None:
        from flows.prefect_api.server import check_server

        check_server()
    report = run_flow("rollouts", interruption, out, dest, asked, changes or [])
    if as_json:
        print(json.dumps(report))
    else:
        from flows import rollouts as rolling

        print("\n".join(rolling.lines(report)))
    if failed := report["run"]["counts"]["failed"]:
        where = on_one_line(f"{dest.rstrip('/')}/run")
        retry = on_one_line(shlex.join(["stepwave", "generate", f"{where}/config.yaml", "--retry-failed"]))
        say(f"{failed} roll-outs failed: see status and error in {where}/solutions; to try them again: {retry}")
        sys.exit(3)


def import_(format: str, src: str, dest: str, /, *, as_json: Json = False) -> None:
    """Make a problem set of a benchmark's file.

    Example: stepwave import gsm8k gsm8k.jsonl problems.parquet

    Parameters
    ----------
    format
        gsm8k, math500, olympiadbench, gpqa, mmlu_stem, gaokao2023en, minerva_math, aime24 or jsonl.
    src
        The benchmark's file: JSON lines, also packed (gzip, Zstandard, ...), or Parquet; local or s3://.
    dest
        Parquet file to write, local or s3://.
    """
    from tasks.problems.importing import import_problems
    from tasks.storage.stores import Stores

    done = import_problems(format, src, dest, Stores())
    report = {"path": done.path, "rows": done.rows, "answered": done.answered, "columns": done.columns}
    text = f"{done.rows:,} problems, {done.answered:,} with an answer, written to {done.path}"
    print(json.dumps(report) if as_json else on_one_line(text))
