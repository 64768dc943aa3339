"""Small files that come to gigabytes are refused, or survived, without taking the machine's memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bombs import BOMBS, LYING

MOST = 560 << 20
"""Bytes by which reading one may let a process grow: with torch and tokenizers beside it, that is a gigabyte."""
REFUSED = {
    "a_page": "is 200,000,0",
    "a_page_of_bytes": "is 200,000,0",
    "many_large_cells": "it is packed too densely",
    "a_list_of_everything": "lists of column 'tags.list.element' in row group 0 have 40,000,000 values",
    "values_of_fixed_size": "a value of column 'image' has 20,000,000 bytes",
    "rows_of_nothing": "it says that it has 40,000,000 rows",
    "columns_in_ten_thousands": "it has more than 10,000 columns",
    "a_bottomless_column": "its columns are nested too deeply",
    "metadata_of_the_file": "its footer has ",
    "rows_that_are_not_there": "it says that it has 1,000,000,000,000 rows",
    "rows_by_the_billion": "it says that it has 1,000,000,000 rows",
    "fewer_than_no_rows": "its footer makes no sense",
    "a_footer_of_lists": "its footer makes no sense",
    "a_list_without_end": "its footer makes no sense",
    "a_page_that_says_two_gigabytes": "is 2,147,483,647 bytes when unpacked",
}
"""What is told of those that are no input; the others lose rows at most."""


@pytest.fixture(scope="module")
def went(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("bombs.py")), str(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {found["name"]: found["went"] for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.tier2
@pytest.mark.parametrize("name", [*BOMBS, *LYING])
def test_a_bomb_does_not_go_off(name: str, went: dict[str, Any]) -> None:
    found = went[name]
    assert found is not None, "its process died"
    assert found["grown"] < MOST
    if name in REFUSED:
        assert REFUSED[name] in found["told"]
        assert found["told"].isprintable()
    else:
        assert "told" not in found
