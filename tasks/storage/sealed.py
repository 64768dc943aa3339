"""JSON files with a checksum: whoever reads one knows whether it is as it was written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

FORMAT = 2
"""Version of the files of a run."""


def seal(value: dict[str, Any]) -> bytes:
    """JSON with a checksum of all that stands before it."""
    value = value | {"checksum": _checksum(value)}
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def unseal(content: bytes | None) -> dict[str, Any] | None:
    """The object that was sealed; None where it is not there or not as it was written."""
    value = _object(content)
    return value if value.pop("checksum", None) == _checksum(value) and value.get("format") == FORMAT else None


def format_of(content: bytes | None) -> Any:
    """The format of a file of a run, where it is whole; the first format had no checksums."""
    value = _object(content)
    if "checksum" in value:
        return value.get("format") if value.pop("checksum") == _checksum(value) else None
    return value.get("format") if "run_id" in value and value.get("format") == 1 else None


def _object(content: bytes | None) -> dict[str, Any]:
    """A JSON object; an empty one where the content is none."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(content or b"")
        return value if isinstance(value, dict) else {}
    return {}


def _checksum(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
