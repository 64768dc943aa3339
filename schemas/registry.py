"""Names that a registry knows: fields of the configuration take no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


class KeyOf:
    """Annotation of a string that must be a key of `registry` when it is validated."""

    def __init__(self, registry: Mapping[str, Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"enum": list(self.registry)}

    def _known(self, value: Any) -> str:
        if isinstance(value, str) and value in self.registry:
            return value
        raise PydanticKnownError("literal_error", {"expected": either(map(repr, self.registry))})


def either(names: Iterable[str]) -> str:
    """Names as text: one, two or three becomes "one, two or three"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def with_(registry: Mapping[str, Any], has: Callable[[Any], bool]) -> tuple[str, ...]:
    """The names whose records have something, in the registry's order."""
    return tuple(name for name, record in registry.items() if has(record))
