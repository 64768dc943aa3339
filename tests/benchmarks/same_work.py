"""The work that both sides of a comparison are given, and how it is graded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from schemas.config import Config, Threshold
from tasks.errors import UserError
from tasks.grading import Grader
from tasks.models.formats.qwen import TAG
from tasks.output.config_file import load_config
from tasks.planning.plan import Plan
from tasks.problems.reader import Problem, shards
from tasks.storage.stores import Stores

CONFIG = "deploy/demo/config.yaml"


def read_problems(plan: Plan) -> list[Problem]:
    """Every usable problem of a plan's input."""
    found = shards(plan.survey, Stores.of(plan.config), plan.survey.rows, lambda _: True)
    return [problem for _, problems, _ in found for problem in problems]


def solved(solutions: list[tuple[Problem, str]]) -> float:
    """Share of `(problem, solution)` that are right."""
    with Grader() as grader:
        grades = grader.grade([(text, problem.reference, problem.choices) for problem, text in solutions])
    return sum(grade.correct is True for grade in grades) / len(grades)


def step_tag(plan: Plan) -> int:
    """Id of the token at which the PRM scores a step."""
    tag = plan.roles["prm"].vocabulary.token_id(TAG)
    assert tag is not None
    return tag


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the work, and of the servers of the authors' loop."""
    parser.add_argument("--config", default=CONFIG, help="a run's configuration (default: the demo's)")
    parser.add_argument("--problems", type=int, default=500, help="the first so many problems")
    parser.add_argument("--sequences", type=int, default=256, help="most prompts in one batch of their servers")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="threads of each of their servers on CPUs (default: all cores)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")


def configured(options: argparse.Namespace, folder: str) -> Config:
    """The run that both sides make. Raises UserError where the loop has no such thing."""
    changes = [f"input.limit={options.problems}", f"output.path={folder}/output", *options.set]
    config = load_config(options.config, changes)
    d = config.decoding
    if d.method != "rsd" or not isinstance(d.accept, Threshold) or d.samples != 1 or config.prompt.template:
        raise UserError(
            f"{options.config}: the authors' loop knows decoding.method rsd with accept.rule threshold, one sample and "
            "chat templates only"
        )
    return config


def told(main: Callable[[], int]) -> int:
    """Exit code of `main`; a mistake of the user is told in a line, and is 2."""
    try:
        return main()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
