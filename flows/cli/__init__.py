"""The command line: a file for each group of commands, which registers them with `application.app`."""

from flows.cli import datasets, runs, studies
from flows.cli.application import app, main

__all__ = ["app", "datasets", "main", "runs", "studies"]
