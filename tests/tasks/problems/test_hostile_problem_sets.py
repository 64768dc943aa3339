"""Problem sets that are none, or whose cells and names are meant to do harm: told in a line, or carried as they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.config import Config, InputConfig
from tasks.errors import UserError
from tasks.planning.plan import make_plan
from tasks.problems.importing import import_problems
from tasks.problems.parquet.problem_file import batches, open_parquet
from tasks.problems.reader import Problem, Rejected, shards
from tasks.problems.survey import Survey, survey
from tasks.storage.stores import Stores

pytestmark = pytest.mark.usefixtures("no_hang")
LOCAL = Stores()
TOO_LONG = {"the prompt is longer than the models take": 1}
Write = Callable[..., str]


def read(path: str, size: int = 10) -> tuple[Survey, list[Problem], list[Rejected]]:
    found = survey(InputConfig(path=path), LOCAL, lambda rows: [False] * len(rows))
    usable, rejected = [], []
    for _, here, bad in shards(found, LOCAL, size, lambda number: True):
        usable += here
        rejected += bad
    assert (len(usable), len(usable) + len(rejected)) == (found.usable, found.rows)
    return found, usable, rejected


def told(path: str) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1500
    return message


# --- what is no file of problems


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "loop.parquet").symlink_to(tmp_path / "loop.parquet")
    (tmp_path / "nowhere.parquet").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "pipe.parquet", tmp_path / "loop.parquet", tmp_path / "nowhere.parquet", "/dev/zero"):
        assert str(path) in told(str(path))
    assert "xxx" in told("/" + "x" * 10_000)


def test_a_pipe_among_files(problem_set: Write, tmp_path: Path) -> None:
    problem_set({"problem": ["p"]}, "set/a.parquet")
    os.mkfifo(tmp_path / "set" / "b.parquet")
    for path in ("set", "set/*", "set/**/*.parquet"):
        assert "b.parquet: is a pipe" in told(str(tmp_path / path))


@pytest.mark.parametrize("to", ["gone", "b.parquet"])
@pytest.mark.parametrize("path", ["set", "set/*", "set/**/*.parquet"])
def test_a_link_to_nowhere_among_files(problem_set: Write, tmp_path: Path, path: str, to: str) -> None:
    """To pass over it would lose its problems in silence."""
    problem_set({"problem": ["p"]}, "set/a.parquet")
    (tmp_path / "set" / "b.parquet").symlink_to(to)
    assert f"{tmp_path}/set/b.parquet: " in told(str(tmp_path / path))
    (tmp_path / "set" / "b.parquet").unlink()
    (tmp_path / "set" / "b.parquet").symlink_to("a.parquet")
    (tmp_path / "set" / "notes.txt").symlink_to(to)
    assert len(read(str(tmp_path / path))[2]) == 1  # the same problem twice


def test_folders_that_lead_back_are_not_followed(problem_set: Write, tmp_path: Path) -> None:
    problem_set({"problem": ["p"]}, "set/a.parquet")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    for path in ("set", "set/**/*.parquet"):
        assert [p.text for p in read(str(tmp_path / path))[1]] == ["p"]


@pytest.mark.parametrize("footer", [b"", b"\xff" * 8, b"\0" * 8, b"\0" * 4 + b"\xff\xff\xff\x7f", b"x" * 5000])
@pytest.mark.parametrize("magic", [b"", b"P", b"PAR1", b"PARE"])
def test_bytes_that_are_no_parquet(magic: bytes, footer: bytes, tmp_path: Path) -> None:
    content = magic + footer + magic
    (tmp_path / "p.parquet").write_bytes(content)
    assert f"{tmp_path}/p.parquet: not a whole Parquet file" in told(str(tmp_path / "p.parquet"))


@pytest.mark.parametrize("count", [b"\x04", b"\x05", b"\x08", b"\x00"], ids=["2", "-3", "4", "0"])
def test_a_footer_that_contradicts_itself_loses_no_row(problem_set: Write, tmp_path: Path, count: bytes) -> None:
    """Three rows, said to be another number of them, in each of the places that say so."""
    path = problem_set({"problem": ["p", "q", "r"]}, compression="none", use_dictionary=False)
    whole, told_of = Path(path).read_bytes(), 0
    for at in (i for i in range(len(whole)) if whole[i : i + 2] == b"\x16\x06"):
        Path(path).write_bytes(whole[: at + 1] + count + whole[at + 2 :])
        try:
            assert [p.text for p in read(path)[1]] == ["p", "q", "r"]
        except UserError:
            told_of += 1
    assert told_of >= 2


def test_a_page_that_differs_from_its_checksum(problem_set: Write) -> None:
    """Without checksums, which not every tool writes, what the file says is what counts."""
    options = {"compression": "none", "use_dictionary": False}
    for checksum, expected in ((False, ["another problem"]), (True, None)):
        path = Path(problem_set({"problem": ["aproblem problem"]}, write_page_checksum=checksum, **options))
        path.write_bytes(path.read_bytes().replace(b"aproblem problem", b"another problem "))
        if expected is None:
            assert "checksum" in told(str(path))
        else:
            assert [p.text.strip() for p in read(str(path))[1]] == expected


def test_one_broken_file_among_good_ones_is_named(problem_set: Write, tmp_path: Path) -> None:
    for name in "acd":
        problem_set({"problem": [name]}, f"set/{name}.parquet")
    whole = (tmp_path / "set" / "a.parquet").read_bytes()
    (tmp_path / "set" / "b.parquet").write_bytes(whole[: len(whole) // 2])
    assert f"{tmp_path}/set/b.parquet: not a whole Parquet file" in told(str(tmp_path / "set"))


def test_an_encrypted_file(tmp_path: Path) -> None:
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):
        def __init__(self, _: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, master: str) -> bytes:
            return key.hex().encode()

        def unwrap_key(self, key: bytes, master: str) -> bytes:
            return bytes.fromhex(key.decode())

    factory = encryption.CryptoFactory(Keys)
    keys = encryption.EncryptionConfiguration(footer_key="f", column_keys={"k": ["problem"]})
    table = pa.table({"problem": ["secret"]})
    for name, plaintext_footer in (("closed", False), ("open", True)):
        keys.plaintext_footer = plaintext_footer
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), keys)
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)
        assert f"{tmp_path}/{name}.parquet: " in told(str(tmp_path / f"{name}.parquet"))


def test_benchmark_files_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path, message in (
        (str(tmp_path / "pipe.jsonl"), "is a pipe"),
        ("/dev/zero", "is a pipe, a device"),
        (str(tmp_path), "directory"),
    ):
        with pytest.raises(UserError, match=message):
            import_problems("jsonl", path, str(tmp_path / "p.parquet"), LOCAL)
    assert not (tmp_path / "p.parquet").exists()


# --- names


def test_names_of_files_are_data(problem_set: Write, tmp_path: Path) -> None:
    odd = ["a\nb", "\x1b[31m", "*?[", "🦀", "%s{}", " ", "#?x=1"]
    for name in odd:
        problem_set({"problem": [f"<{name}>", None]}, f"set/{name}.parquet")
    _, usable, rejected = read(str(tmp_path / "set"))
    assert sorted(p.text for p in usable) == sorted(f"<{name}>" for name in odd)
    assert sorted(r.file for r in rejected) == sorted(f"{tmp_path}/set/{name}.parquet" for name in odd)
    for name in odd:
        assert [p.text for p in read(f"{tmp_path}/set/{name}.parquet")[1]] == [f"<{name}>"]
        Path(f"{tmp_path}/set/{name}.parquet").write_bytes(b"broken")
    assert "not a whole Parquet file" in told(str(tmp_path / "set"))


def test_a_name_that_is_not_utf8(problem_set: Write, tmp_path: Path) -> None:
    """It could not stand in a table."""
    whole = problem_set({"problem": ["p"]}, "set/a.parquet")
    os.link(whole, os.fsencode(tmp_path) + b"/set/\xff.parquet")
    for path in ("set", "set/*"):
        assert "\\udcff.parquet: its name is not UTF-8 text" in told(str(tmp_path / path))


def test_names_of_columns_are_data(problem_set: Write) -> None:
    names = ["a\nb", "\x1b[31m", "x" * 100_000, "", "../..", "🦀", '"', "problem.id", "\0"]
    path = problem_set(pa.table([pa.array(["p"])] + [pa.array([1])] * len(names), names=["problem", *names]))
    metadata = read(path)[1][0].metadata
    assert metadata is not None
    assert list(json.loads(metadata)) == names
    path = problem_set(pa.table([pa.array([1])] * len(names), names=names))
    assert "column 'problem' is missing; the file has a\\nb, \\x1b[31m, xxx" in told(path)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a\n" * 500: {"b": "x"}}]),
        pa.array([[["x"]]]),
        pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
        pa.array([b"p"]),
        pa.array([b"p"], pa.large_binary()),
        pa.array([b"p"], pa.binary(1)),
        pa.array([1.0]).dictionary_encode(),
        pa.array([b"p"]).dictionary_encode(),
        pa.array([True]),
    ],
    ids=lambda column: str(column.type)[:20],
)
@pytest.mark.parametrize("name", ["problem", "problem_id", "answer", "choices"])
def test_columns_of_another_type(problem_set: Write, column: pa.Array, name: str) -> None:
    path = problem_set(pa.table({"problem": ["p"]} | {name: column}))
    assert f"{path}: column '{name}' is " in told(path)


# --- cells

IDS = ["../../x", "/etc/passwd", "a\nb", "a\r\n", "x" * 10_000, "🦀", "\0", "\x1b[31m", "=cmd()", 'a"b\\', " ", "."]
IDS += ["%s{x}", "\u202ertl", "\ufeff", "\uffff", "\U0010ffff", "null", "0", "a,b;c\t", "<script>", "[bold]"]


def test_ids_are_carried_as_they_are(problem_set: Write) -> None:
    _, usable, _ = read(problem_set({"problem": [f"p{i}" for i in range(len(IDS))], "problem_id": IDS}))
    assert [p.problem_id for p in usable] == IDS


def test_bytes_that_are_half_of_a_surrogate_pair(problem_set: Write) -> None:
    texts = pa.array([b"p", b"\xed\xa0\x80", b"q"]).view(pa.string())
    for columns in ({"problem": texts}, {"problem": ["a", "b", "c"], "problem_id": texts}):
        _, usable, rejected = read(problem_set(pa.table(columns)))
        assert (len(usable), [r.row for r in rejected]) == (2, [1])


@pytest.fixture
def rejected(configured: Callable[..., Config], problem_set: Write) -> Callable[..., dict[str, int]]:
    """What a run would say of the rows it cannot use, with the bundled tokenizers."""

    def plan(columns: dict[str, Any] | pa.Table, **options: Any) -> dict[str, int]:
        problem_set(columns, **options)
        found = make_plan(configured())
        for _, usable, _ in shards(found.survey, LOCAL, 100, lambda number: True):
            assert all(len(ids) < 2048 for of_role in found.prompts(usable).values() for ids in of_role)
        return found.survey.rejected()

    return plan


@pytest.mark.parametrize("part", ["The sum is 7. ", "a", " ", "🦀", "e\u0301", "<|im_end|>", "\0", "\u0958"])
def test_a_problem_of_a_hundred_megabytes(rejected: Callable[..., dict[str, int]], part: str) -> None:
    huge = part * (100_000_000 // len(part.encode())) + "x"
    assert rejected({"problem": ["a", huge, "b"]}) == TOO_LONG


def test_other_cells_of_a_hundred_megabytes(rejected: Callable[..., dict[str, int]]) -> None:
    huge = "x" * 100_000_000
    columns = {name: [huge, "y"] for name in ("problem_id", "answer", "source")}
    assert rejected({"problem": ["a", "b"], **columns}) == {}


def test_a_hundred_thousand_options(rejected: Callable[..., dict[str, int]]) -> None:
    """More than there are letters, and than there are characters before those that stand for none."""
    assert rejected({"problem": ["a", "b"], "choices": [["x"] * 100_000, ["y"]]}) == TOO_LONG
    assert rejected({"problem": ["a", "b"], "choices": [[""] * 30, [None] * 30]}) == {}


def test_few_bytes_that_stand_for_gigabytes(problem_set: Write) -> None:
    """A dictionary's one entry, in every row: decoded a few rows at a time."""
    long = pa.array(["x" * 1_000_000], pa.large_string())
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), long)
    path = problem_set(pa.table({"problem": rows}), compression="zstd", store_schema=False)
    assert os.path.getsize(path) < 100_000
    seen = []
    with open(path, "rb") as f:
        for batch in batches(open_parquet(f, path), path, 5000):
            seen.append((len(batch), batch.nbytes))
    assert sum(rows for rows, _ in seen) == 5000
    assert max(size for _, size in seen) < 200_000_000


def test_large_rows_come_in_small_batches_and_in_order(problem_set: Write) -> None:
    texts = [f"{i} " + "y" * (i % 7 * 200_000) for i in range(300)]
    options: dict[str, Any]
    for options in ({}, {"use_dictionary": False, "row_group_size": 50}):
        _, usable, _ = read(problem_set({"problem": texts}, **options), size=64)
        assert [p.text for p in usable] == texts
