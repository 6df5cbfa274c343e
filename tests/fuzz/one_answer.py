"""A server on this machine that gives every request the same answer, whatever it is."""

from __future__ import annotations

import socketserver
import threading
from typing import Self

from tierlake.connector.local_server.processes import LOOPBACK

__all__ = ["OneAnswer"]


class OneAnswer:
    """The server.

    Attributes:
        answer: The bytes of the answer, with its head; the connection is closed behind it.
    """

    def __init__(self) -> None:
        self.answer = b""
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(5)
                asked = b""
                while b"\r\n\r\n" not in asked and (more := self.request.recv(65536)):
                    asked += more
                self.request.sendall(outer.answer)

        self._server = socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
