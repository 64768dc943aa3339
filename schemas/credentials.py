"""Credentials in a configuration are refused, because it is written to the output and shown by Prefect. They are
recognised by the names of keys and by the shape of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MEND = (
    "credentials must not be written here; set them in the environment (AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, HF_TOKEN)"
)

_NAME = re.compile(
    r"(^|_)(secrets?|passwords?|passwd|passphrase|credentials?|bearer|authorization|api_?key|(access|private)_?key)(_|$)"
    r"|(^|_)(hf|hub|auth|access|session|api|bearer|security)_token$|^(token|auth|cookie|sas)$"
)
_USER = (
    r"(?<=://)[^/\s?\#@]{0,999}@"  # user:password@host
    r"|(?<=://)[^/\s?\#@:]{0,999}:(?!\d{1,5}(?:[/\s?\#]|$))\S{0,999}@"  # the same with a slash in the password
)
_QUERY = (
    r"(?<=[?&;])((?:[\w-]*[_-])?(?:signature|credential|security-token|token|access_?key_?(?:id)?|api_?key|secret|password)"
    r"|awsaccesskeyid|sig|key)=[^&\s'\"]*"
)
_VALUE = re.compile(
    rf"{_USER}|https?://\S{{0,999}}?{_QUERY}"
    r"|://\S{0,999}?[?&;][\w-]{0,40}(signature|credential|secret|password|access_?key(_?id)?)="  # elsewhere a glob's
    r"|\b(?-i:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bhf_[a-z0-9]{30}|\bgh[pousr]_[a-z0-9]{36}|\bgithub_pat_\w{40}|\b(sk|sk-proj)-[a-z0-9]{32}|\bglpat-[\w-]{20}"
    r"|\beyJ[\w-]{8,400}\.[\w-]{8}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?!AKIA|ASIA)[A-Z_][A-Z0-9_]{0,99}")
_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+")
_WORD = re.compile(r"[a-z]{1,24}\d?(_[a-z]{1,24}\d?)*(?![A-Za-z0-9])|[A-Z]{1,24}(_[A-Z]{1,24})*(?![A-Za-z0-9])")


class CredentialError(Exception):
    """Names the key that holds a credential. It is no ValueError: pydantic would show the value of one."""


def holds_credentials(text: str) -> bool:
    """True if a part of the text looks like a credential: an address with a password, a signature, a known token."""
    return _VALUE.search(text) is not None


def find_credentials(values: Any) -> str | None:
    """The dotted key of the first credential in a configuration, prompts left out; None if it holds none."""
    return next(_find(values, ()), None)


def refuse_credentials(values: Any) -> Any:
    """The configuration, unchanged. Raises CredentialError where it holds a credential."""
    if where := find_credentials(values):
        raise CredentialError(f"{where}: {MEND}")
    return values


def _find(value: Any, path: tuple[Any, ...]) -> Iterator[str]:
    if isinstance(value, str):
        if holds_credentials(value):
            yield shown_key(path)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _find(item, (*path, i))
    elif isinstance(value, dict):
        for key, item in value.items():
            if not path and key == "prompt":
                continue
            if str(key).endswith("_env") and isinstance(item, str) and _VARIABLE.fullmatch(item):
                continue  # says where one is kept
            secret = _NAME.search(_SNAKE.sub("_", str(key)).lower()) and item is not None and not isinstance(item, bool)
            if secret or holds_credentials(str(key)):
                yield shown_key((*path, key))
            yield from _find(item, (*path, key))


def shown_key(path: tuple[Any, ...] | list[Any]) -> str:
    """A dotted key that a message may show. A key can hold anything, such as the value that was meant to follow it."""
    return ".".join(_shown(str(part)) for part in path)


def _shown(part: str) -> str:
    if not part or part.isdigit():
        return part[:20]
    word = _WORD.match(part)
    if word is None:
        return "..."
    return word[0][:40] + ("..." if len(part) > len(word[0][:40]) else "")


def redacted(text: str) -> str:
    """The text, such as that of an error, without the passwords and signatures of addresses in it."""
    return re.sub(_QUERY, r"\1=***", re.sub(_USER, "***@", text), flags=re.IGNORECASE)
