"""A relay between clients and a server, in a process of its own, that adds latency, counts, and resets connections.

Each response's first byte is held back for the latency; what follows it passes at full speed, and connections do not
wait for each other: a distant server, not a slow one. Requests are counted by their heads, on connections that are kept
alive too, and the bytes of bodies in both directions.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from benchmarks.http_messages import UNTIL_CLOSE, Messages, body_length, fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
PIECE_BYTES = 1 << 18
_NO_LINGER = struct.pack("ii", 1, 0)  # closing resets


@dataclass(frozen=True)
class Traffic:
    """What passed a relay.

    Attributes:
        requests: How many, by kind: the method, LIST for a listing, COPY for a copy inside the server.
        down: Bytes of the bodies of responses.
        up: Bytes of the bodies of requests.
    """

    requests: Mapping[str, int]
    down: int
    up: int

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())


class Relay:
    """A relay as a child process; use it as a context manager.

    Args:
        upstream: The server's URL.
        delay: Seconds by which each response is held back.
        reset_every: One of so many requests is not passed on, and its connection is reset; 0: none is.
    """

    def __init__(self, upstream: str, delay: float = 0, *, reset_every: int = 0) -> None:
        self._command = [sys.executable, "-m", "benchmarks.relay", upstream, str(delay), str(reset_every)]

    def __enter__(self) -> Self:
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        self.url = self._line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._child:
            assert self._child.stdin is not None
            self._child.stdin.close()

    def page(self) -> Traffic:
        """What passed since the last page."""
        assert self._child.stdin is not None
        self._child.stdin.write("page\n")
        self._child.stdin.flush()
        return Traffic(**json.loads(self._line()))

    def _line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the relay ended: exit code {self._child.wait()}")
        return line.strip()


def kind_of(method: str, target: str, names: dict[str, str]) -> str:
    """The kind of a request."""
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if method == "GET" and ("list-type" in query or "versions" in query or not url.path.strip("/").partition("/")[2]):
        return "LIST"
    return "COPY" if "x-amz-copy-source" in names else method


class _Connection:
    """A client's connection and ours to the server."""

    def __init__(self, ledger: _Ledger, client: socket.socket, server: socket.socket) -> None:
        self._ledger, self._client, self._server = ledger, client, server
        self._requests = Messages(self._on_request)
        self._responses = Messages(self._on_response)
        self._methods: deque[str] = deque()  # of requests that have no answer yet

    def _on_request(self, head: bytes) -> int:
        first, names = fields(head)
        method, target, _ = first.split(" ", 2)
        self._methods.append(method)
        self._ledger.requests[kind_of(method, target, names)] += 1
        if self._ledger.is_to_be_reset():
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            raise ConnectionResetError
        return body_length(names, 0)

    def _on_response(self, head: bytes) -> int:
        first, names = fields(head)
        status = int(first.split(" ", 2)[1])
        if status < 200:  # noqa: PLR2004 - 100 Continue: the answer is still to come
            return 0
        method = self._methods.popleft()
        return 0 if method == "HEAD" or status in {204, 304} else body_length(names, UNTIL_CLOSE)

    async def pass_on(self) -> None:
        """Both directions, until both have ended or one breaks."""
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_requests())
                pumps.create_task(self._pump_responses())
        except* OSError:  # a client or a server that leaves early
            pass
        finally:
            self._client.close()
            self._server.close()

    async def _pump_requests(self) -> None:
        loop, piece = asyncio.get_running_loop(), memoryview(bytearray(PIECE_BYTES))
        while count := await loop.sock_recv_into(self._client, piece):
            data, before = piece[:count], self._requests.body_bytes
            self._requests.feed(data)
            self._ledger.up += self._requests.body_bytes - before
            await loop.sock_sendall(self._server, data)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    async def _pump_responses(self) -> None:
        loop, piece = asyncio.get_running_loop(), memoryview(bytearray(PIECE_BYTES))
        while count := await loop.sock_recv_into(self._server, piece):
            data, before, sent = piece[:count], self._responses.body_bytes, 0
            begins = self._responses.feed(data)
            self._ledger.down += self._responses.body_bytes - before
            for begin in begins if self._ledger.delay else ():
                await loop.sock_sendall(self._client, data[sent:begin])
                await asyncio.sleep(self._ledger.delay)
                sent = begin
            await loop.sock_sendall(self._client, data[sent:])
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)


class _Ledger:
    """What passes, by how much it is held back, and what is reset."""

    def __init__(self, delay: float, reset_every: int) -> None:
        self.delay, self._reset_every = delay, reset_every
        self._until_reset = reset_every
        self._clear()

    def is_to_be_reset(self) -> bool:
        """Whether a request is the one of so many."""
        if not self._reset_every:
            return False
        self._until_reset -= 1
        if self._until_reset:
            return False
        self._until_reset = self._reset_every
        return True

    def _clear(self) -> None:
        self.requests: Counter[str] = Counter()
        self.down = self.up = 0

    def page(self) -> str:
        """The counts as JSON; they begin anew."""
        page = json.dumps({"requests": dict(sorted(self.requests.items())), "down": self.down, "up": self.up})
        self._clear()
        return page


async def _serve(upstream: str, delay: float, reset_every: int) -> None:
    loop, ledger, address = asyncio.get_running_loop(), _Ledger(delay, reset_every), urlsplit(upstream)
    ended = asyncio.Event()

    def commanded() -> None:
        commands = os.read(sys.stdin.fileno(), 1 << 16)
        if not commands:
            ended.set()
        for _ in range(commands.count(b"\n")):
            print(ledger.page(), flush=True)

    async def accept(listener: socket.socket) -> None:
        async with asyncio.TaskGroup() as connections:
            while True:
                client, _ = await loop.sock_accept(listener)
                connections.create_task(connect(client))

    async def connect(client: socket.socket) -> None:
        server = socket.socket()
        try:
            for one in (client, server):
                one.settimeout(0)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(server, (address.hostname, address.port))
        except OSError:
            client.close()
            server.close()
            return
        await _Connection(ledger, client, server).pass_on()

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(0)
        loop.add_reader(sys.stdin.fileno(), commanded)
        accepting = asyncio.create_task(accept(listener))
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({accepting, ending}, return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        with suppress(asyncio.CancelledError):
            await accepting  # raises what broke it: something that is not HTTP


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
