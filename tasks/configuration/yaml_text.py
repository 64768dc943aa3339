"""Text as YAML, within limits. Messages about mistakes quote nothing of the text, which may hold a credential."""

from __future__ import annotations

import re
from typing import Any

import yaml

from schemas.credentials import shown_key
from tasks.errors import UserError, in_brief

MOST_VALUES = 100_000
"""Most values of a configuration. An alias counts as often as it is used."""


LONGEST = 4 << 20
"""Characters of a configuration."""


class _TooMany(Exception):
    """A text has more than MOST_VALUES."""


class _Loader(yaml.SafeLoader):
    """Stops at once where there are too many values."""

    composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.composed += 1
        if self.composed > MOST_VALUES:
            raise _TooMany
        return super().compose_node(parent, index)


def read_yaml(text: str, name: str) -> Any:
    """The value that a text is. Raises UserError, which begins with `name`, for one that is not YAML or too large."""
    if len(text) > LONGEST:
        raise UserError(f"{name}: has more than {LONGEST:,} characters")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _sizes(node, {}, name)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UserError:
        raise
    except _TooMany:
        raise UserError(f"{name}: holds more than {MOST_VALUES:,} values") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark and not name.startswith("--set") else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not understood"
        raise UserError(
            f"{name}{where}: not valid YAML ({_unquoted(reason)}); text that begins with a sign such as * [ {{ & ! "
            "goes in quotes"
        ) from error
    except RecursionError:
        raise UserError(f"{name}: nested too deeply") from None
    except Exception as error:  # a date or number that only looks like one: each type has errors of its own
        raise UserError(
            f"{name}: holds a value that YAML cannot read ({_unquoted(error)}); put it in quotes"
        ) from error


def _unquoted(reason: object) -> str:
    """A parser's words without what it quotes."""
    return in_brief(re.sub(r"(['\"]).{2,}\1", "...", " ".join(str(reason).split())))


def _sizes(node: yaml.Node, sizes: dict[int, int], name: str) -> int:
    """Number of values below a node. Values that aliases repeat count each time, so that a few lines cannot stand for
    millions. `sizes`: those of nodes seen before; 0 for a node that is still open, which then contains itself."""
    if (known := sizes.get(id(node))) is not None:
        if known == 0:
            raise UserError(f"{name}: an alias holds itself")
        return known
    sizes[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise UserError(f"{name}, line {key.start_mark.line + 1}: {shown_key([key.value])} is set twice")
                seen.add(key.value)
            count += _sizes(key, sizes, name) + _sizes(value, sizes, name)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_sizes(item, sizes, name) for item in node.value)
    if count > MOST_VALUES:
        raise UserError(f"{name}: holds more than {MOST_VALUES:,} values")
    sizes[id(node)] = count
    return count


def plain(value: Any, name: str) -> Any:
    """A copy of a value in which aliases share nothing, so that a change of one does not change the other."""
    if isinstance(value, dict):
        return {plain(key, name): plain(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, name) for item in value]
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise UserError(f"{name}: holds half of a surrogate pair, which is no character")
    if isinstance(value, int) and abs(value) > 10**100:
        raise UserError(f"{name}: holds a number of more than 100 digits")
    return value
