"""Commands about one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.application import Changes, Json, command_line, resumable, run_flow
from flows.terminal.interruption import Interruption
from flows.terminal.text import say
from tasks.errors import UserError, on_one_line

DEMO = Path(__file__).resolve().parent.parent.parent / "deploy" / "demo" / "config.yaml"


def demo(*, out: str = "runs/demo", changes: Changes = None, as_json: Json = False) -> None:
    """Run the bundled models on the bundled problems.

    Example: stepwave demo --out runs/demo --set decoding.accept.threshold=0.9
    """
    if not DEMO.exists():
        raise UserError("the demo's models are not here: run it in a checkout of Stepwave (see README.md)")
    home = DEMO.parent
    paths: dict[str, str | Path] = {
        f"models.{role}.model": home / "models" / role for role in ("draft", "target", "prm")
    }
    paths |= {"input.path": home / "problems.parquet", "output.path": out}
    again = command_line("demo", "--out", out, changes=changes)
    changes = [f"{key}={json.dumps(str(path))}" for key, path in paths.items()] + (changes or [])
    _generate(str(DEMO), changes, as_json, again, "another --out tries them again")


def generate(
    config: str,
    /,
    *,
    retry_failed: Annotated[bool, Parameter(negative=())] = False,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Write solutions for a problem set. Run again on the same output, it goes on where it stopped.

    Example: stepwave generate job.yaml --set output.path=s3://bucket/runs/x

    Parameters
    ----------
    config
        Configuration file (YAML), local or s3://.
    retry_failed
        Solve the rows of a finished run that failed, and no others.
    """
    retry = command_line("generate", config, "--retry-failed", changes=changes)
    again = retry if retry_failed else command_line("generate", config, changes=changes)
    _generate(config, changes or [], as_json, again, f"to try them again: {retry}", retry_failed)


def check(
    config: str,
    /,
    *,
    gpus: str | None = None,
    show: int | None = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Say what a run or an evaluation would do. Loads no weights.

    Example: stepwave check job.yaml --set input.limit=1000 --gpus 4x80 --show 2

    Parameters
    ----------
    config
        Configuration file (YAML), local or s3://.
    gpus
        Plan for a machine with these GPUs instead of this one: number x GiB of each, such as 4x80.
    show
        Print the prompts of this many problems, as each model reads them.
    """
    from flows import check as of_run
    from flows import evaluation_check
    from schemas.evaluation import EvaluationConfig
    from tasks.engines.devices import read_gpus
    from tasks.output.config_file import load_either

    sizes = None if gpus is None else read_gpus(gpus)
    settings = load_either(config, changes or [])
    if isinstance(settings, EvaluationConfig):
        report = evaluation_check.check(settings, sizes, show)
        text = evaluation_check.lines(report)
    else:
        report = of_run.check(settings, sizes, show)
        text = of_run.lines(report)
    print(json.dumps(report) if as_json else "\n".join(text))


def _generate(path: str, changes: list[str], as_json: bool, again: str, retry: str, retry_failed: bool = False) -> None:
    """Run the flow and print its summary. `again`: the command that goes on; `retry`: what to do about failed rows."""
    interruption = Interruption(again)
    from tasks.output.config_file import load_config

    config = load_config(path, changes)
    if config.run.workers is not None:
        from flows.prefect_api.server import check_server

        check_server()
    from flows.lifecycle.first_look import complete

    with resumable(interruption) as progress:
        manifest = complete(config, progress.say, retry_failed)
    if manifest is None:
        manifest = run_flow("generate", interruption, config, retry_failed)
    if as_json:
        print(json.dumps(manifest | {"output": config.output.path}))
    else:
        from flows.terminal import summary

        print("\n".join(summary.lines(manifest, config.output.path)))
    if failed := manifest["counts"]["failed"]:
        where = on_one_line(f"{config.output.path}/solutions")
        say(f"{failed} solutions failed: see status and error in {where}; {retry}")
        sys.exit(3)
