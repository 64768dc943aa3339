"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

from cyclopts import App, Parameter, Token, convert

from flows.interruption import Halt, Interruption, say
from flows.safe_path import apart
from schemas.export import ExportOptions
from schemas.rollouts import RolloutOptions
from tasks.errors import EngineError, FleetError, RunCancelled, StoreError, UserError, on_one_line

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors of writing to a file that is full or broken, to which stdout may go."""
DEMO = Path(__file__).resolve().parent.parent / "deploy" / "demo" / "config.yaml"


def _converted(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of an option, as cyclopts converts it. Raises ValueError for a fraction where a whole number is wanted:
    cyclopts would round it."""
    if kind in (int, int | None) and "." in tokens[0].value:
        raise ValueError(f"must be a whole number, not {tokens[0].value}")
    return convert(kind, tokens)


def _version() -> str:
    """Of the package as it is installed."""
    from importlib import metadata

    try:
        return metadata.version("stepwave")
    except metadata.PackageNotFoundError:
        return "unknown: stepwave is not installed"


app = App(
    name="stepwave",
    version=_version,
    help="Reasoning solutions in bulk by reward-guided speculative decoding.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
    default_parameter=Parameter(converter=_converted),
)

Changes = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Change the configuration: dotted.key=value. May be repeated."),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON object on stdout.")]


@app.command
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
    again = _command("demo", "--out", out, changes=changes)
    changes = [f"{key}={json.dumps(str(path))}" for key, path in paths.items()] + (changes or [])
    _generate(str(DEMO), changes, as_json, again, "another --out tries them again")


@app.command
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
    retry = _command("generate", config, "--retry-failed", changes=changes)
    again = retry if retry_failed else _command("generate", config, changes=changes)
    _generate(config, changes or [], as_json, again, f"to try them again: {retry}", retry_failed)


@app.command
def evaluate(config: str, /, *, changes: Changes = None, as_json: Json = False) -> None:
    """Compare methods on benchmarks. Run again on the same output, it does what is not done yet.

    Example: stepwave evaluate evaluation.yaml --set benchmarks.0.limit=100

    Parameters
    ----------
    config
        Configuration file of an evaluation (YAML), local or s3://.
    """
    again = _command("evaluate", config, changes=changes)
    interruption = Interruption(again)
    from schemas.evaluation import EvaluationConfig
    from tasks.config_file import load

    settings = load(EvaluationConfig, config, changes or [])
    found = _run_flow("evaluate", interruption, settings)
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


@app.command
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
    _calibrate(config, changes or [], asked, as_json, _command(*again, changes=changes))


@app.command
def status(out: str, /, *, changes: Changes = None, as_json: Json = False) -> None:
    """Say how far a run is, during it and after, and which files are damaged.

    Example: stepwave status s3://bucket/runs/x

    Parameters
    ----------
    out
        Output of a run or of an evaluation, local or s3://. Of the configuration only --set storage.* counts here.
    """
    from flows import evaluation_status, status
    from tasks.config_file import parse_storage

    storage = parse_storage(changes or [])
    looking = evaluation_status if evaluation_status.is_evaluation(out, storage) else status
    report = looking.status(out, storage)
    print(json.dumps(report) if as_json else "\n".join(looking.lines(report)))


@app.command
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
    from tasks.config_file import parse_storage

    found = showing.show(out, problem_id, sample, parse_storage(changes or []))
    print(json.dumps(found) if as_json else "\n".join(showing.lines(found)))


@app.command
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
    from tasks.config_file import parse_storage

    done = write(out, price, parse_storage(changes or []))
    print(json.dumps(done) if as_json else on_one_line(f"report written to {done['report']}"))


@app.command
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
    storage, of_runs = exporting.read_changes(changes or [])
    again = on_one_line(shlex.join(["stepwave", *sys.argv[1:]]))
    halt = Halt(again)
    halt.watch()
    try:
        done = exporting.export(kind, outs, dest, options or ExportOptions(), storage, of_runs, halt)
    except KeyboardInterrupt:
        halt.end()
        sys.exit(130)
    except EngineError as error:
        error.add_note(f"rewards of whole shards are kept; to go on: {again}")
        raise
    print(json.dumps(done) if as_json else "\n".join(exporting.lines(done)))


@app.command
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
    from tasks.rollouts.work import look

    if look(out, dest, asked, changes or []).config.run.workers is not None:
        from flows.server import check_server

        check_server()
    report = _run_flow("rollouts", interruption, out, dest, asked, changes or [])
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


@app.command
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
    from tasks.config_file import load_either
    from tasks.engines.devices import read_gpus

    sizes = None if gpus is None else read_gpus(gpus)
    settings = load_either(config, changes or [])
    if isinstance(settings, EvaluationConfig):
        report = evaluation_check.check(settings, sizes, show)
        text = evaluation_check.lines(report)
    else:
        report = of_run.check(settings, sizes, show)
        text = of_run.lines(report)
    print(json.dumps(report) if as_json else "\n".join(text))


@app.command(name="import")
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
    from schemas.config import StorageConfig
    from tasks.importing import import_problems

    done = import_problems(format, src, dest, StorageConfig())
    report = {"path": done.path, "rows": done.rows, "answered": done.answered, "columns": done.columns}
    text = f"{done.rows:,} problems, {done.answered:,} with an answer, written to {done.path}"
    print(json.dumps(report) if as_json else on_one_line(text))


def _command(*words: str, changes: list[str] | None) -> str:
    """The command line that goes on with a run."""
    return shlex.join(["stepwave", *words, *(part for change in changes or [] for part in ("--set", change))])


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
    from tasks.config_file import load_config

    wish = read_wish(asked.target_share, asked.flops_per_problem, asked.tolerance)
    thresholds = None if asked.thresholds is None else read_thresholds(asked.thresholds)
    if asked.problems is not None and asked.problems < 1:
        raise UserError("--problems: at least 1")
    if asked.out == "":
        raise UserError("--out: the directory's name is empty")
    config = load_config(path, changes)
    out = asked.out or config.output.path.rstrip("/") + "-calibration"
    few = [] if asked.problems is None else [asked.problems]
    report = _run_flow("calibrate", interruption, config, out, wish, thresholds, *few)
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


def _generate(path: str, changes: list[str], as_json: bool, again: str, retry: str, retry_failed: bool = False) -> None:
    """Run the flow and print its summary. `again`: the command that goes on; `retry`: what to do about failed rows."""
    interruption = Interruption(again)
    from tasks.config_file import load_config

    config = load_config(path, changes)
    if config.run.workers is not None:
        from flows.server import check_server

        check_server()
    manifest = _run_flow("generate", interruption, config, retry_failed)
    if as_json:
        print(json.dumps(manifest | {"output": config.output.path}))
    else:
        from flows import summary

        print("\n".join(summary.lines(manifest, config.output.path)))
    if failed := manifest["counts"]["failed"]:
        where = on_one_line(f"{config.output.path}/solutions")
        say(f"{failed} solutions failed: see status and error in {where}; {retry}")
        sys.exit(3)


def _run_flow(name: str, interruption: Interruption, *arguments: Any) -> dict[str, Any]:
    """Run the flow of this name, from the module of this name, with progress shown; returns the flow's result.

    Without a Prefect server the function that the flow is made of is called.
    """
    from flows import server

    recorded = server.settle_environment()
    from flows.progress import Progress, shown

    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    work = flow if recorded else flow.fn
    try:
        with Progress() as progress, shown(progress):
            return interruption.run(lambda: work(*arguments))
    except (EngineError, StoreError, FleetError, RunCancelled) as error:
        error.add_note(f"what was committed or checkpointed is kept; to go on: {interruption.again}")
        raise


def main() -> NoReturn:
    """Entry point. Exits with 2 and a line or two for mistakes of the user, with 130 where it is interrupted."""
    _open_streams()
    _read_utf8()
    apart()
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except UserError as error:
        _leave(str(error), 2)
    except (EngineError, StoreError, FleetError, RunCancelled) as error:
        code = 130 if isinstance(error, RunCancelled) else 1
        _leave("\nstepwave: ".join([str(error), *getattr(error, "__notes__", [])]), code)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:  # whoever read stdout has gone
        _drop_stdout()
        sys.exit(1)
    except Exception as error:
        from cyclopts import CycloptsError

        if isinstance(error, CycloptsError):
            told = re.sub(r"=[^'\"\]]*", "=...", str(error))  # a value may be a secret that went astray
            _leave(f"{told} (see stepwave --help)", 2)
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            _drop_stdout()
            _leave(f"the result cannot be shown: writing to stdout failed ({error.strerror})", 1)
        if isinstance(error, FileNotFoundError) and _is_nowhere():
            _leave("the working directory no longer exists: change to another one", 2)
        raise
    sys.exit(0)


def _read_utf8() -> None:
    """Start this process again with UTF-8 for names of files and text, if the locale has ASCII or a code page.
    Characters that the terminal cannot show are escaped."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_streams() -> None:
    """Standard streams that whoever started this has closed lead nowhere, so that what is printed does no harm, and no
    file that is opened later takes their numbers, to which engines and children print."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        else:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _is_nowhere() -> bool:
    """Was the working directory removed?"""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _drop_stdout() -> None:
    """Discard all further output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(message: str, code: int) -> NoReturn:
    say(f"stepwave: {message}")
    sys.exit(code)
