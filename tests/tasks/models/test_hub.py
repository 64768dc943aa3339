"""Models on the hub: what is told if it cannot be asked, and how they are counted."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from models.checkpoints import mistake

from schemas.config import ModelConfig
from tasks.models import checkpoint as weights
from tasks.models.checkpoint import inspect


def test_a_hub_id_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*arguments: object, **options: object) -> str:
        raise OSError("offline\nsecond line")

    monkeypatch.setattr(weights, "unreachable", lambda model: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert "(offline second line)" in mistake("nobody/nothing")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put the hub at an address; nothing is cached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "ASKED", {})
    return lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)


@pytest.mark.parametrize("kind", ["refuses", "is silent", "has no name", "is switched off"])
def test_a_hub_that_cannot_be_asked_is_told_and_asked_once(
    hub: Callable[[str], None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(weights, "HUB_ANSWERS", 0.2)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        addresses = {
            "refuses": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "is silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "has no name": "http://hub.invalid",
        }
        hub(addresses.get(kind, "http://127.0.0.1:9"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", kind == "is switched off")
        asked: list[bool] = []
        fetch = huggingface_hub.hf_hub_download

        def noted(*arguments: str, **options: Any) -> str:
            asked.append(not options["local_files_only"])
            return fetch(*arguments, **options)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", noted)
        questions: list[str] = []
        question = weights._unreachable
        monkeypatch.setattr(weights, "_unreachable", lambda *of: [questions.append(of[0]), question(*of)][1])
        for _ in range(2):
            told = mistake("nobody/nothing")
            assert "neither a directory here nor in the hub's cache, and the hub cannot be asked" in told
            assert len(told.splitlines()) == 1
        assert asked == [False, False]
        assert len(questions) == (kind != "is switched off")


def _drips(connection: socket.socket) -> None:
    """Something every 50 ms, and never all of it, until whoever asked is gone or has heard enough."""
    with contextlib.suppress(OSError):
        for drip in [b"HTTP/1.1 200 OK\r\n", *[b"X-Drip: 1\r\n"] * 90]:
            connection.sendall(drip)
            threading.Event().wait(0.05)


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a server that does this with each request; its address."""
    with contextlib.ExitStack() as stack:

        def start(act: Callable[[socket.socket], None]) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(server.shutdown, socket.SHUT_RDWR)

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection = server.accept()[0]
                        connection.recv(1 << 16)
                        act(connection)
                        connection.close()

            threading.Thread(target=serve, daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}"

        yield start


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"429 Too Many Requests\r\nRetry-After: 300", "answers 429"),
        (b"500 Internal Server Error", "answers 500"),
        (b"503 Service Unavailable\r\nRetry-After: 300", "answers 503"),
        (None, "no answer within"),
    ],
)
def test_a_hub_that_asks_for_patience_is_told_at_once(
    hub: Callable[[str], None],
    answering: Callable[[Callable[[socket.socket], None]], str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    told: str,
) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % answer)

    monkeypatch.setattr(weights, "HUB_ANSWERS", 30.0 if answer else 0.2)
    address = answering(say if answer else _drips)
    hub(address)
    message = mistake("nobody/nothing")
    assert address in message
    assert told in message


def test_what_is_told_is_the_fault_and_not_that_nothing_was_found(
    hub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refused(*arguments: object, **options: object) -> str:
        raise LocalEntryNotFoundError("check your connection") from OSError("404 Not Found\nfor http://mirror")

    monkeypatch.setattr(weights, "_unreachable", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
    hub("http://mirror")
    assert mistake("nobody/nothing").endswith("(404 Not Found for http://mirror)")


def test_a_configuration_in_the_cache_is_enough_where_weights_are_not_needed(
    hub: Callable[[str], None], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hub("http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(checkpoint / "config.json"))
    assert inspect("draft", ModelConfig(model="owner/name", params=5.0)).parameters == 0
    assert "the hub cannot be asked" in mistake("owner/name")


def test_a_model_on_the_hub_is_counted_without_its_weights(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, NotASafetensorsRepoError
    from huggingface_hub.utils import SafetensorsFileMetadata, SafetensorsRepoMetadata, TensorInfo

    def not_cached(*arguments: object, **options: object) -> str:
        raise LocalEntryNotFoundError("not here")

    quantized = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    config = json.loads((checkpoint / "config.json").read_text()) | quantized | {"dtype": "bfloat16"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    packed = TensorInfo(dtype="I32", shape=[4, 64], data_offsets=(0, 1024))
    file = SafetensorsFileMetadata(metadata={}, tensors={"model.q.qweight": packed})
    told = SafetensorsRepoMetadata(
        metadata=None, sharded=False, weight_map={"model.q.qweight": "m"}, files_metadata={"m": file}
    )
    monkeypatch.setattr(weights, "unreachable", lambda model: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", not_cached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(checkpoint / "config.json"))
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda name: told)
    found = inspect("draft", ModelConfig(model="owner/name"))
    assert (found.parameters, found.weights.size) == (4 * 64 * 8, 1024)

    class Api:
        def model_info(self, name: str, files_metadata: bool) -> object:
            class Sibling:
                rfilename, size = "pytorch_model.bin", 2000

            class Info:
                siblings = [Sibling()]  # noqa: RUF012

            return Info()

    def pickled(name: str) -> object:
        raise NotASafetensorsRepoError("no safetensors")

    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", pickled)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    found = inspect("draft", ModelConfig(model="owner/name"))
    assert (found.parameters, found.weights.size) == (1000, 2000)
