"""JSON lines, read one at a time from a local path or s3://."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from schemas.config import StorageConfig
from tasks.errors import UserError
from tasks.importing.fields import Record, shown
from tasks.input_file import open_file
from tasks.store import told

BOM = b"\xef\xbb\xbf"


def read_records(path: str, storage: StorageConfig) -> Iterator[tuple[int, Record]]:
    """The objects of a file with their line numbers, from 1; blank lines are skipped. Raises UserError."""
    try:
        # Buffered: fsspec's own readline on s3 copies a whole block for every line.
        with told(path), io.BufferedReader(cast(Any, open_file(path, storage)), 1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(BOM)
                if line := line.strip():
                    yield number, _record(line, f"{path}, line {number}")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None


def _record(line: bytes, where: str) -> Record:
    try:
        value = json.loads(line.decode(), parse_constant=_refuse_constant)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not UTF-8 (byte 0x{error.object[error.start]:02x} at column {error.start + 1}); "
            "the file must be JSON lines in UTF-8"
        ) from None
    except UnicodeEncodeError:
        raise UserError(f"{where}: a \\u escape is half of a surrogate pair, not a character") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise UserError(f"{where}: not JSON ({reason}); each line must be one JSON object") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object but {shown(value)}; each line must be one JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
