"""JSON files with a checksum: whoever reads one knows whether it is as it was written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import zlib
from typing import Any

from pydantic import TypeAdapter, ValidationError

FORMAT = 2
"""Version of the files of a run."""
MOST_PARTS = 1 << 21
"""Lists and objects in a file: each takes many times the memory that its two characters do."""


def seal(value: dict[str, Any]) -> bytes:
    """JSON with a checksum of all that stands before it."""
    value = value | {"checksum": _checksum(value)}
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def unseal(content: bytes | None, shape: TypeAdapter[Any] | None = None) -> dict[str, Any] | None:
    """The object that was sealed; None where it is not there, not as it was written, or not of that shape: a checksum
    says that a file is whole, not who wrote it."""
    value = _object(content)
    with contextlib.suppress(RecursionError, ValidationError):  # nested almost too deeply to be read
        if value.pop("checksum", None) == _checksum(value) and value.get("format") == FORMAT:
            if shape is not None:
                shape.validate_python(value)
            return value
    return None


def packed(content: bytes) -> str:
    """Bytes as text, smaller where they repeat."""
    return base64.b64encode(zlib.compress(content)).decode()


def unpacked(text: str, size: int) -> bytes:
    """So many bytes that were `packed`. Raises ValueError where it is not those."""
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    except zlib.error as error:
        raise ValueError("what it packs cannot be read") from error
    if len(content) != size:
        raise ValueError("what it packs has another size")
    return content


def format_of(content: bytes | None) -> Any:
    """The format of a file of a run, where it is whole; the first format had no checksums."""
    value = _object(content)
    if "checksum" in value:
        with contextlib.suppress(RecursionError):
            return value.get("format") if value.pop("checksum") == _checksum(value) else None
        return None
    return value.get("format") if "run_id" in value and value.get("format") == 1 else None


def _object(content: bytes | None) -> dict[str, Any]:
    """A JSON object; an empty one where the content is none."""
    with contextlib.suppress(ValueError, RecursionError):
        value = parsed(content or b"")
        return value if isinstance(value, dict) else {}
    return {}


def parsed(content: bytes) -> Any:
    """JSON that somebody else may have written. Raises ValueError or RecursionError where it is none, is nested too
    deeply or has too many parts."""
    if content.count(b"{") + content.count(b"[") > MOST_PARTS:
        raise ValueError("it has too many parts")
    return json.loads(content)


def _checksum(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
