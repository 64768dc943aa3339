"""A dataset pushed to a hub, which stands here as a server that remembers what it was sent."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from export.made import draft, made, solved, write_run
from tasks.errors import StoreError, UserError
from tasks.export.destination import CARD, RECORD

OLD = "data/test-00000-of-00001.parquet"
OURS = b'{"kind": "sft", "complete": true}'


class Hub(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.tokens: set[str | None] = set()
        self.made: list[dict[str, Any]] = []
        self.commit: list[dict[str, Any]] = []
        self.refuses = 0
        """Status with which it answers a commit, where that is not 0."""
        self.files: dict[str, bytes] | None = {".gitattributes": b"*", CARD: b"# Data", OLD: b"12", RECORD: OURS}
        """What the repository holds; None: there is no such repository."""


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        files, (path, _, name) = self.server.files, self.path.partition("/resolve/main/")
        if files is None:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in path:
            kept = [{"type": "file", "path": key, "oid": "0" * 40, "size": len(of)} for key, of in files.items()]
            self._answer(kept)
        elif name in files:
            about = {"ETag": f'"{name}"', "X-Repo-Commit": "1" * 40}
            self._send(files[name], 200, "application/octet-stream", about)
        else:  # what the library asks for by itself
            self._answer({"id": "me/data"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            self.server.made.append(json.loads(sent))
            self._answer({"url": f"http://{self.headers['Host']}/datasets/me/data", "name": "me/data"})
        elif "/preupload/" in self.path:
            files = json.loads(sent)["files"]
            self._answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        elif "/commit/" in self.path and self.server.refuses:
            self._answer({"error": "no"}, self.server.refuses)
        elif "/commit/" in self.path:
            self.server.commit = [json.loads(line) for line in sent.splitlines()]
            self._answer(
                {"commitUrl": f"http://{self.headers['Host']}/datasets/me/data/commit/1", "commitOid": "1" * 40}
            )
        else:
            self._answer({"errors": [], "warnings": []})

    def _answer(self, value: Any, status: int = 200, about: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, "application/json", about or {})

    def _send(self, content: bytes, status: int, kind: str, about: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **about}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the library remembers of a hub stays out of the user's home."""
    monkeypatch.setattr("huggingface_hub.constants.AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    files = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    yield server
    server.shutdown()
    server.server_close()


def test_one_commit_takes_the_place_of_what_was_there(tmp_path: Path, hub: Hub) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("It is 4."))]])
    made("sft", run, tmp_path / "data", push="me/data")
    assert hub.made[0] | {"name": "data", "type": "dataset"} == hub.made[0]
    assert hub.made[0].get("private", hub.made[0].get("visibility")) in (True, "private")
    assert hub.tokens == {"Bearer hf_from_the_environment"}
    changes = [line for line in hub.commit if line["key"] != "header"]
    written = {line["value"]["path"]: line["value"]["content"] for line in changes if line["key"] == "file"}
    for name in (CARD, "data/train-00000-of-00001.parquet", RECORD):
        assert base64.b64decode(written.pop(name)) == (tmp_path / "data" / name).read_bytes()
    assert written == {}
    assert [line["value"]["path"] for line in changes if line["key"].startswith("deleted")] == [OLD]
    made("sft", run, tmp_path / "open", push="me/data", public=True)
    assert hub.made[1].get("private", hub.made[1].get("visibility")) in (False, "public")


def test_a_hub_that_refuses_is_told_in_a_line(tmp_path: Path, hub: Hub) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("It is 4."))]])
    hub.refuses = 403
    with pytest.raises(UserError, match="--push: the hub did not take me/data") as told:
        made("sft", run, tmp_path / "data", push="me/data")
    assert "hf_from" not in str(told.value)
    assert (tmp_path / "data" / "README.md").exists(), "what was written stays"
    hub.refuses = 404
    with pytest.raises(UserError):
        made("sft", run, tmp_path / "data", push="me/data")


@pytest.mark.parametrize(
    "files",
    [
        None,
        {},
        {".gitattributes": b"*.parquet filter=lfs"},
        {".gitattributes": b"*", CARD: b"---\nlicense: mit\n---\n"},
    ],
)
def test_a_repository_with_nothing_in_it_is_taken(files: dict[str, bytes] | None, tmp_path: Path, hub: Hub) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("It is 4."))]])
    create = Answers.do_POST

    def creates(self: Answers) -> None:
        hub.files = hub.files or {}
        create(self)

    hub.files = files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Answers, "do_POST", creates)
        made("sft", run, tmp_path / "data", push="me/data")
    assert hub.commit


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({CARD: b"---\nlicense: mit\n---\n# My notes"}, "files that are not an export's (such as README.md)"),
        ({"data/train-00000-of-00001.parquet": b"mine"}, "files that are not an export's (such as data/train-"),
        ({RECORD: b'{"mine": 1}'}, "files that are not an export's (such as export.json)"),
        ({RECORD: OURS.replace(b"sft", b"prm"), CARD: b"# Data"}, "a dataset of kind prm"),
    ],
)
def test_what_others_have_in_a_repository_stays(files: dict[str, bytes], told: str, tmp_path: Path, hub: Hub) -> None:
    run = write_run(tmp_path / "run", [[solved("p0", draft("It is 4."))]])
    hub.files = files
    with pytest.raises(UserError, match=re.escape(f"--push: me/data holds {told}")):
        made("sft", run, tmp_path / "data", push="me/data")
    assert not (tmp_path / "data").exists(), "nothing was begun"
    assert hub.made == hub.commit == []


def test_a_hub_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    run = write_run(tmp_path / "run", [[solved("p0", draft("It is 4."))]])
    with pytest.raises(StoreError, match="--push: the hub cannot be reached for me/data"):
        made("sft", run, tmp_path / "data", push="me/data")
