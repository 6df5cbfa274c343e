"""Sinks and what takes their data."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tierlake.connector.observe import configuration, hooks


@pytest.fixture(autouse=True)
def _observes_nothing() -> Iterator[None]:
    """A test leaves no sink behind, for none after it in this process."""
    before = hooks.sinks()
    yield
    for sink in hooks.sinks():
        if sink not in before:
            hooks.remove(sink)
            sink.close()
    configuration._configured.observing = configuration.Observing()
    configuration._configured.sinks = ()
    configuration._configured.unavailable = None


@dataclass
class Receiver:
    """A server that takes whatever is sent.

    Attributes:
        url: Its address.
        received: The method, path and body of each request.
    """

    url: str = ""
    received: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes pushes."""
    taken = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            taken.received.append((self.command, self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = _take  # noqa: N815 -- as the library names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        taken.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield taken
        server.shutdown()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
