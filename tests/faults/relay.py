"""A way to a server that can be cut: what a network does, byte for byte, whatever is spoken over it.

with Relay(port) as relay:
    ... http://127.0.0.1:{relay.port} ...
    relay.cut()
    relay.mend()
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Relay:
    """Listens on a port of its own, and passes on what comes to `upstream`, a port of this machine. While it is cut,
    connections are refused, and those that stood are reset."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self._listener: socket.socket | None = None
        self._pairs: list[socket.socket] = []

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def mend(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        pairs, self._pairs = self._pairs, []
        for one in [listener, *pairs] if listener else pairs:
            _end(one)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                return
            self._pairs += [client, server]
            if self._listener is not listener:  # cut in between
                _end(client)
                _end(server)
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=[a, b], daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
