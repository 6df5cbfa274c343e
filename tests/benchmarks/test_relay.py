"""The relay counts what passes, and holds back the begin of each response and nothing else."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

from benchmarks.relay import Relay

LARGE = bytes(8 << 20)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        else:
            self._answer(LARGE if self.path.startswith("/large") else b"some")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"]))[:2])

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(client: http.client.HTTPConnection, method: str, path: str, **options) -> bytes:
    client.request(method, path, **options)
    with client.getresponse() as response:
        return response.read()


def connection(relay: Relay) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(urlsplit(relay.url).netloc))


def test_requests_of_one_connection_are_counted_with_the_bytes_of_bodies(upstream):
    with Relay(upstream) as relay, connection(relay) as client:
        assert ask(client, "GET", "/bucket/key") == b"some"
        assert ask(client, "HEAD", "/bucket/key") == b""
        assert ask(client, "GET", "/chunked") == b"hello world"
        assert ask(client, "GET", "/bucket?list-type=2&prefix=a") == b"some"
        waiting = {"Expect": "100-continue"}
        assert ask(client, "PUT", "/bucket/key", body=b"0123456789", headers=waiting) == b"01"
        copied = {"x-amz-copy-source": "/bucket/other"}
        assert ask(client, "PUT", "/bucket/key", body=b"ab", headers=copied) == b"ab"
        page = relay.page()
        assert page.requests == {"COPY": 1, "GET": 1, "HEAD": 1, "LIST": 2, "PUT": 1}
        assert (page.down, page.up, page.total) == (4 + 11 + 4 + 2 + 2, 12, 6)
        assert relay.page().total == 0


def test_each_response_is_held_back_once_and_many_at_the_same_time(upstream):
    seconds, requests = 0.2, 20
    with Relay(upstream, seconds) as relay:

        def timed(number: int) -> float:
            with connection(relay) as client:
                began = time.monotonic()
                assert len(ask(client, "GET", f"/large/{number}")) == len(LARGE)
                return time.monotonic() - began

        assert timed(0) >= seconds
        began = time.monotonic()
        with ThreadPoolExecutor(requests) as pool:
            assert min(pool.map(timed, range(requests))) >= seconds
        # one after the other, each of its 32 pieces held back, would be 128 s
        assert time.monotonic() - began < 60
        assert relay.page().down == (requests + 1) * len(LARGE)


def test_a_client_that_leaves_early_breaks_nothing(upstream):
    with Relay(upstream) as relay:
        with connection(relay) as client:
            client.request("GET", "/large/1")
            client.getresponse().read(1000)
        with connection(relay) as client:
            assert ask(client, "GET", "/bucket/key") == b"some"


def test_one_of_so_many_requests_is_reset_and_no_other(upstream):
    with Relay(upstream, reset_every=3) as relay:
        answers = []
        for _ in range(9):
            with connection(relay) as client:
                try:
                    answers.append(ask(client, "GET", "/bucket/key"))
                except ConnectionResetError:
                    answers.append(None)
        assert answers == [b"some", b"some", None] * 3
        with connection(relay) as client:
            assert [ask(client, "GET", "/bucket/key") for _ in range(2)] == [b"some", b"some"]
            with pytest.raises(ConnectionResetError):
                ask(client, "GET", "/bucket/key")
