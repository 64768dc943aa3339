"""Problem sets as files: finding them, and what the folders that they lie in say of their rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import unquote

from fsspec.utils import glob_translate

from tasks.errors import UserError
from tasks.storage.backend import InputFiles
from tasks.storage.stores import Stores

NAMES = (".parquet", ".parq", ".pq")
"""How names of files end that are taken from folders, in small letters or large."""
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""A folder's value that stands for null."""
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def list_files(
    path: str,
    stores: Stores,
    *,
    field: str = "input.path",
) -> list[str]:
    """The Parquet files that a path names: itself, those in it, or those that match it; sorted.

    `field`: where the configuration names the path, for mistakes.
    """
    try:
        files, at = stores.locate(path)
        found = [files.path(key) for key in sorted(_keys(files, at, path))]
        for name in found:
            if any("\ud800" <= c <= "\udfff" for c in name):
                raise UserError(f"{name}: its name is not UTF-8 text")
        return found
    except UserError as error:
        raise UserError(f"{field}: {error}") from None


def _keys(files: InputFiles, at: str, path: str) -> list[str]:
    try:
        # an empty object with a folder's name is how some tools mark the folder in a bucket
        if (found := files.stat(at)) and (found.size or "://" not in path or not _data(files, at)):
            return [at]
        is_folder = found is not None
    except IsADirectoryError:
        is_folder = True
    if is_folder:
        inside = _data(files, at)
        if not (sets := _problem_sets(inside)):
            raise UserError(f"{path} is a directory without .parquet files{_others(inside)}")
        return sets
    if not any(c in at for c in "*?["):
        raise UserError(f"{path} does not exist")
    if any("**" in part and part != "**" for part in at.split("/")):
        raise UserError(f"{path}: ** stands for whole folders only, as in a/**/b.parquet")
    there = matching(files, at)
    if not (sets := _problem_sets(there)):
        raise UserError(f"no .parquet file matches {path}{_others(there)}")
    return sets


def _data(files: InputFiles, folder: str) -> list[str]:
    """Keys of the files below a folder, but for hidden ones and those that mark a folder."""
    inside = {key: stat for key, stat in files.stats(folder).items() if key != folder and not _hidden(key, folder)}
    folders = {key[:end] for key in inside for end in range(len(key)) if key[end] == "/"}
    return [key for key, stat in inside.items() if stat.size or key not in folders]


def _problem_sets(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.lower().endswith(NAMES)]


def _others(keys: Iterable[str]) -> str:
    """What is there instead, for a message."""
    names = sorted({key.rpartition("/")[2] for key in keys})
    return f"; there is {', '.join(name[:40] for name in names[:3])}" if names else ""


def matching(files: InputFiles, pattern: str) -> list[str]:
    """Keys of the files that match: * ? [] within a name, ** for folders of any depth."""
    parts = pattern.split("/")
    start = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    folders = ["/".join(parts[:start])]
    for part in parts[start:]:
        if part == "**":
            matches = re.compile(glob_translate(pattern)).match
            return [key for folder in folders for key in _data(files, folder) if matches(key)]
        inside = [
            [[f"{folder}/{name}".lstrip("/") for name in names if _matches(name, part)] for names in children]
            for folder in folders
            for children in [files.children(folder)]
        ]
        folders = [folder for _, below in inside for folder in below]
    found = [key for keys, below in inside for key in keys if key not in below]
    # and in folders that tools write as if they were files, or as the values of a column
    return found + [key for folder in folders if _is_set(folder) for key in _data(files, folder)]


def _is_set(folder: str) -> bool:
    name = folder.rpartition("/")[2]
    return "=" in name or name.lower().endswith(NAMES)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern[0] in "._" or not _hidden(name))


def _hidden(key: str, folder: str = "") -> bool:
    """Does a name on the way from a folder say that it is no data? One that says a column's value may begin with _."""
    on_the_way = key[len(folder) :].strip("/").split("/")
    return any(name.startswith(".") or (name.startswith("_") and "=" not in name) for name in on_the_way)


def folder_values(paths: list[str]) -> list[dict[str, str | int | None]]:
    """What names of folders such as level=1 say of each file's rows: whole numbers where all of a name's values are."""
    said = [dict(_values(path)) for path in paths]
    texts: dict[str, bool] = {}
    for values in said:
        for name, value in values.items():
            texts[name] = texts.get(name, False) or (value is not None and not WHOLE.fullmatch(value))
    return [
        {name: value if value is None or texts[name] else int(value) for name, value in values.items()}
        for values in said
    ]


def _values(path: str) -> Iterable[tuple[str, str | None]]:
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if name and equals:
            yield unquote(name), None if value == NO_VALUE else unquote(value)
