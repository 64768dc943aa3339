"""The way into Stepwave where it is installed.

Its code is three packages with everyday names: flows, tasks, schemas. In a wheel they lie in a folder of their own, out
of the way of what others call so, and are put first on the path of Stepwave's own processes only. In a checkout that
is installed as editable, the folder is the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
CODE = HERE / "code" if (HERE / "code").is_dir() else HERE.parents[2]
"""Folder of flows, tasks and schemas."""


def main() -> NoReturn:
    """The command `stepwave`."""
    _first_on_path()
    from flows.cli import main

    main()


def register() -> None:
    """What vLLM loads in each of its processes, whoever started them."""
    _first_on_path()
    from tasks.engines.plugin import register

    register()


def _first_on_path() -> None:
    if sys.path[:1] != [str(CODE)]:
        sys.path.insert(0, str(CODE))
