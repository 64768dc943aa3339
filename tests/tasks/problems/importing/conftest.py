"""Files to import, written by the tests themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., str]:
    """Writes records as JSON lines and gives the file's path; a string or bytes is a line as it is."""

    def write(*records: Any, name: str = "source.jsonl") -> str:
        path = tmp_path / name
        path.write_bytes(b"\n".join(_line(record) for record in records) + b"\n")
        return str(path)

    return write


def _line(record: Any) -> bytes:
    if isinstance(record, bytes):
        return record
    return (record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)).encode()
