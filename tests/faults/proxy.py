"""A proxy between client and server that can cut in at any request.

One connection carries one request (`Connection: close`), so that a request is known as a whole before it is passed on.
The `Host` header stays as the client signed it.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from tests.faults.answers import Answer

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """One request, whole.

    Attributes:
        number: Counts from 0 in the order in which requests were complete.
        method: GET, PUT, ...
        target: Path and query.
    """

    number: int
    method: str
    target: str


Hook = Callable[[Request], None]
Answering = Callable[[Request], Answer | None]
"""Returns what happens instead of passing the request on and its answer back; None: just that."""


def _nothing(_: Request) -> None:
    return


@dataclass
class Proxy:
    """Listens on a free loopback port; use as a context manager.

    Attributes:
        upstream: The server's URL.
        before: Called before a request is passed on; what it returns is the answer.
        after: Called when the server has answered, before the client hears of it.
    """

    upstream: str
    before: Answering = _nothing
    after: Hook = _nothing
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    proxy._pass_on(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.request_queue_size = 128
        self._server.allow_reuse_address = True
        self._server.server_bind()
        self._server.server_activate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, client: socket.socket) -> None:
        client.settimeout(_TIMEOUT_SECONDS)
        with client.makefile("rb") as reader:
            head = _head(reader)
            if not head:
                return
            if any(line.lower().startswith(b"expect:") for line in head):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _body(reader, head)
        method, target, _ = head[0].decode("latin-1").split(" ", 2)
        self.look(method, head, body)
        with self._lock:
            request = Request(len(self.requests), method, target)
            self.requests.append(request)
        answer = self.before(request)
        if answer is not None:
            answer.give(client, lambda: self._ask(head, body))
            return
        told = self._ask(head, body)
        self.after(request)
        client.sendall(told)

    def look(self, method: str, head: list[bytes], body: bytes) -> None:
        """Nothing; for those that look at more of a request than its hooks see."""

    def _ask(self, head: list[bytes], body: bytes) -> bytes:
        address = urlsplit(self.upstream)
        kept = [line for line in head if not line.lower().startswith((b"expect:", b"connection:"))]
        with socket.create_connection((address.hostname, address.port), _TIMEOUT_SECONDS) as server:
            server.sendall(b"\r\n".join([*kept, b"Connection: close", b"", body]))
            pieces = []
            while piece := server.recv(1 << 16):
                pieces.append(piece)
            return _closing(b"".join(pieces))


def _closing(answer: bytes) -> bytes:
    """Tell the client too: one that kept the connection would wait on it for an answer to its next request."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close"]) + blank + body


def _head(reader: socket.SocketIO) -> list[bytes]:
    lines = []
    while (line := reader.readline().rstrip(b"\r\n")) or (not lines and line):
        lines.append(line)
    return lines


def _body(reader: socket.SocketIO, head: list[bytes]) -> bytes:
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
    if b"content-length" in headers:
        return reader.read(int(headers[b"content-length"]))
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return b""
    pieces = []
    while True:
        size = reader.readline()
        length = int(size.split(b";")[0], 16)
        chunk = reader.read(length + 2)
        pieces += [size, chunk]
        if length == 0:
            return b"".join(pieces)
