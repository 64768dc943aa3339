"""A problem set is read twice: what is read the second time is what was surveyed, or the user is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from schemas.config import InputConfig
from tasks.errors import UserError
from tasks.problems.parquet import problem_file
from tasks.problems.reader import shards
from tasks.problems.snapshot import InputFile
from tasks.problems.survey import Survey, survey
from tasks.storage.stores import Stores

LOCAL = Stores()
ROWS = [f"{n}?" for n in range(20)]
Write = Callable[..., str]


def surveyed(path: str) -> Survey:
    return survey(InputConfig(path=path), LOCAL, lambda rows: [False] * len(rows))


def texts(found: Survey) -> list[str]:
    return [problem.text for _, some, _ in shards(found, LOCAL, 3, lambda number: True) for problem in some]


@pytest.fixture
def path(problem_set: Write) -> Path:
    return Path(problem_set({"problem": ROWS}))


@pytest.fixture
def other(problem_set: Write) -> Path:
    """Another content of as many rows and bytes."""
    return Path(problem_set({"problem": ROWS[::-1]}, "other.parquet"))


def mend_is_told(error: pytest.ExceptionInfo[UserError], path: str, what: str) -> None:
    assert f"{path}: {what}" in str(error.value)
    assert "run the same command again, or give another output.path" in str(error.value)


CHANGES: dict[str, Callable[[Path, Path], Any]] = {
    "replaced": lambda path, other: other.rename(path),
    "written over": lambda path, other: path.write_bytes(other.read_bytes()),
    "written over at an equal time": lambda path, other: (
        times := path.stat().st_mtime_ns,
        path.unlink(),
        path.write_bytes(other.read_bytes()),
        os.utime(path, ns=(times, times)),
    ),
    "cut": lambda path, other: os.truncate(path, 100),
    "emptied": lambda path, other: path.write_bytes(b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed(path: Path, other: Path, change: str) -> None:
    found = surveyed(str(path))
    CHANGES[change](path, other)
    with pytest.raises(UserError) as caught:
        texts(found)
    mend_is_told(caught, str(path), "changed since it was first read")


@pytest.mark.parametrize("replace", [lambda path: None, Path.mkdir], ids=["nothing", "a folder"])
def test_a_file_that_is_gone(path: Path, replace: Callable[[Path], None]) -> None:
    found = surveyed(str(path))
    path.unlink()
    replace(path)
    with pytest.raises(UserError) as caught:
        texts(found)
    mend_is_told(caught, str(path), "is gone")


def test_a_copy_of_the_file_will_do(path: Path) -> None:
    found = surveyed(str(path))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert texts(found) == ROWS


@pytest.fixture
def begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[Any]]:
    """Read the file, and do something to it after the first of its batches."""
    monkeypatch.setattr(problem_file, "BATCH", 3)

    def read(act: Callable[[], Any]) -> list[Any]:
        rows = surveyed(str(path)).files[0].read_again(LOCAL)
        read = next(rows)["problem"].to_pylist()
        act()
        return read + [text for batch in rows for text in batch["problem"].to_pylist()]

    return read


@pytest.mark.parametrize("change", ["written over", "cut", "emptied"])
def test_a_file_that_is_written_to_while_it_is_read(begun: Any, path: Path, other: Path, change: str) -> None:
    with pytest.raises(UserError) as caught:
        begun(lambda: CHANGES[change](path, other))
    mend_is_told(caught, str(path), "changed since it was first read")


def test_a_file_that_is_touched_or_replaced_while_it_is_read(begun: Any, path: Path, other: Path) -> None:
    """What is open is still the surveyed one."""
    assert begun(lambda: os.utime(path, (0, 0))) == ROWS
    assert begun(lambda: other.rename(path)) == ROWS


def test_a_file_that_goes_between_listing_and_survey(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.problems.survey.list_files", lambda *_: [f"{path}.gone"])
    with pytest.raises(UserError, match=r"\.gone: is gone"):
        surveyed(str(path))


def test_a_duplicate_is_not_told_from_a_file_that_changed(problem_set: Write, other: Path) -> None:
    """Ids whose hashes are equal are read again as well."""
    path = Path(problem_set({"problem": ["same", "same"]}))

    def too_long(rows: list[dict[str, Any]]) -> list[bool]:
        path.write_bytes(other.read_bytes())
        return [False] * len(rows)

    with pytest.raises(UserError, match="changed since it was first read"):
        survey(InputConfig(path=str(path)), LOCAL, too_long)


# --- on S3


@pytest.fixture
def on_s3(s3: str, path: Path) -> tuple[Any, str, str]:
    """A client, and bucket and key of the file."""
    client = boto3.client("s3")
    client.upload_file(str(path), s3[5:], "p.parquet")
    return client, s3[5:], "p.parquet"


def test_an_object_that_changed_or_is_gone(on_s3: tuple[Any, str, str], s3: str, path: Path, other: Path) -> None:
    client, bucket, key = on_s3
    found = surveyed(f"{s3}/{key}")
    client.upload_file(str(other), bucket, key)
    with pytest.raises(UserError) as caught:
        texts(found)
    mend_is_told(caught, f"{s3}/{key}", "changed since it was first read")
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(UserError) as caught:
        texts(found)
    mend_is_told(caught, f"{s3}/{key}", "is gone")
    client.upload_file(str(path), bucket, key)
    assert texts(found) == ROWS


def test_an_object_without_a_version_is_compared(on_s3: tuple[Any, str, str], s3: str, other: Path) -> None:
    client, bucket, key = on_s3
    [file] = surveyed(f"{s3}/{key}").files
    unknown = InputFile(file.path, file.rows, file.sha256, version="")
    assert [text for batch in unknown.read_again(LOCAL) for text in batch["problem"].to_pylist()] == ROWS
    client.upload_file(str(other), bucket, key)
    with pytest.raises(UserError, match="changed since it was first read"):
        list(unknown.read_again(LOCAL))


def test_an_object_that_goes_while_it_is_read(on_s3: tuple[Any, str, str], s3: str) -> None:
    """It is not taken for a damaged one."""
    client, bucket, key = on_s3
    with LOCAL.open_input(f"{s3}/{key}") as f:
        client.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(UserError, match=r"p\.parquet: was removed while it was read"):
            f.read(1)
