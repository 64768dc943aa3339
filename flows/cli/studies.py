"""Commands that compare several runs."""

from __future__ import annotations

import json
import shlex
import sys
from typing import NamedTuple

from flows.cli.application import Changes, Json, command_line, run_flow
from flows.terminal.interruption import Interruption
from flows.terminal.text import say
from tasks.errors import UserError, on_one_line


def evaluate(config: str, /, *, changes: Changes = None, as_json: Json = False) -> None:
    """Compare methods on benchmarks. Run again on the same output, it does what is not done yet.

    Example: stepwave evaluate evaluation.yaml --set benchmarks.0.limit=100

    Parameters
    ----------
    config
        Configuration file of an evaluation (YAML), local or s3://.
    """
    again = command_line("evaluate", config, changes=changes)
    interruption = Interruption(again)
    from schemas.evaluation import EvaluationConfig
    from tasks.output.config_file import load

    settings = load(EvaluationConfig, config, changes or [])
    found = run_flow("evaluate", interruption, settings)
    text = found.pop("text")
    print(
        json.dumps(found) if as_json else "\n".join([*text, "", on_one_line(f"written to {found['output']}/table.md")])
    )
    if found["failed"]:
        cells = [cell for cell in found["cells"] if cell["failed"]]
        say(f"{found['failed']} solutions failed in {len(cells)} cells; to try them again:")
        for cell in cells:
            where = f"{found['output']}/runs/{cell['benchmark']}/{cell['name']}/config.yaml"
            say(f"  {shlex.join(['stepwave', 'generate', on_one_line(where), '--retry-failed'])}")
        sys.exit(3)


def calibrate(
    config: str,
    /,
    *,
    thresholds: str | None = None,
    target_share: float | None = None,
    flops_per_problem: float | None = None,
    tolerance: float | None = None,
    problems: int | None = None,
    out: str | None = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Compare acceptance thresholds and recommend one. Attempts that thresholds share are made once.

    Example: stepwave calibrate job.yaml --thresholds 0.5,0.6,0.7,0.8,0.9 --target-share 0.3

    Parameters
    ----------
    config
        Configuration file (YAML) of a run with method rsd and rule threshold.
    thresholds
        Thresholds to try. By default 0.5 to 0.9; for a share or a budget then up to four more.
    target_share
        Recommend the threshold with the largest share of target steps that is not above this, from 0 to 1.
    flops_per_problem
        Recommend the most accurate threshold that costs at most this many FLOPs a problem.
    tolerance
        Recommend the cheapest threshold whose accuracy is at most this much below the best. The default wish is 0.01.
    problems
        Number of first rows of the input that are used (500).
    out
        Directory of the calibration (the configuration's output with -calibration).
    """
    again = ["calibrate", config]
    given = {
        "--thresholds": thresholds,
        "--target-share": target_share,
        "--flops-per-problem": flops_per_problem,
        "--tolerance": tolerance,
        "--problems": problems,
        "--out": out,
    }
    for name, value in given.items():
        if value is not None:
            again += [name, value if isinstance(value, str) else f"{value:.15g}"]
    asked = CalibrationAsked(thresholds, target_share, flops_per_problem, tolerance, problems, out)
    _calibrate(config, changes or [], asked, as_json, command_line(*again, changes=changes))


class CalibrationAsked(NamedTuple):
    """Options of `stepwave calibrate`, as they were given."""

    thresholds: str | None
    target_share: float | None
    flops_per_problem: float | None
    tolerance: float | None
    problems: int | None
    out: str | None


def _calibrate(path: str, changes: list[str], asked: CalibrationAsked, as_json: bool, again: str) -> None:
    """Run the flow and print what it found; raises UserError where no threshold meets the wish."""
    interruption = Interruption(again)
    from tasks.calibration.directory import read_thresholds
    from tasks.calibration.recommendation import read_wish
    from tasks.output.config_file import load_config

    wish = read_wish(asked.target_share, asked.flops_per_problem, asked.tolerance)
    thresholds = None if asked.thresholds is None else read_thresholds(asked.thresholds)
    if asked.problems is not None and asked.problems < 1:
        raise UserError("--problems: at least 1")
    if asked.out == "":
        raise UserError("--out: the directory's name is empty")
    config = load_config(path, changes)
    out = asked.out or config.output.path.rstrip("/") + "-calibration"
    few = [] if asked.problems is None else [asked.problems]
    report = run_flow("calibrate", interruption, config, out, wish, thresholds, *few)
    if as_json:
        print(json.dumps(report))
    else:
        from flows import calibrate as calibrating

        lines = [*calibrating.table(report), "", *calibrating.conclusions(report)]
        print("\n".join(on_one_line(line) for line in lines))
    if report["recommendation"]["threshold"] is None:
        raise UserError(report["recommendation"]["why"])
    if report["failed"]:
        say(f"{report['failed']} solutions failed: see status and error in {on_one_line(out)}/runs/*/solutions")
        sys.exit(3)
