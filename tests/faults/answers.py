"""What can go wrong between a request and its answer, as values that a proxy's hook returns."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Ask = Callable[[], bytes]
"""Passes the request on; the server's whole answer. A second call makes the request a second time."""

_NO_LINGER = struct.pack("ii", 1, 0)


class Answer(Protocol):
    """What the proxy does with one request instead of passing it on and its answer back."""

    def give(self, client: socket.socket, ask: Ask) -> None:
        """Talk to the client; the connection is closed afterwards."""


@dataclass(frozen=True)
class Refusal:
    """An S3 error in the server's stead: it never sees the request.

    Attributes:
        status: Of the answer.
        code: The server's own.
        request_id: Under which the server would have logged it; None where it says none.
        is_head: The answer to a HEAD has no body.
    """

    status: str = "503 Slow Down"
    code: str = "SlowDown"
    request_id: str | None = None
    is_head: bool = False

    def give(self, client: socket.socket, ask: Ask) -> None:
        known = f"<RequestId>{self.request_id}</RequestId>" if self.request_id else ""
        said = f"<Code>{self.code}</Code><Message>Please reduce your request rate.</Message>{known}"
        body = b"" if self.is_head else f"<Error>{said}</Error>".encode()
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        head += f"x-amz-request-id: {self.request_id}\r\n" if self.request_id else ""
        client.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)


@dataclass(frozen=True)
class Cut:
    """The head and half of the body; of an answer without a body, half of the head.

    Attributes:
        reset: The connection is reset, and does not just end.
    """

    reset: bool = False

    def give(self, client: socket.socket, ask: Ask) -> None:
        client.sendall(_half(ask()))
        if self.reset:
            reset(client)


@dataclass(frozen=True)
class Stall:
    """Half of the answer, and then nothing until the client has had enough."""

    def give(self, client: socket.socket, ask: Ask) -> None:
        client.sendall(_half(ask()))
        client.recv(1)  # ends when the client closes the connection, or with the proxy's own time-out


@dataclass(frozen=True)
class LostReply:
    """The server has done it, and the client never hears of it.

    Attributes:
        reset: The connection is reset, and does not just end.
    """

    reset: bool = False

    def give(self, client: socket.socket, ask: Ask) -> None:
        ask()
        if self.reset:
            reset(client)


@dataclass(frozen=True)
class Twice:
    """The request reaches the server twice, and both answers come back, one behind the other."""

    def give(self, client: socket.socket, ask: Ask) -> None:
        client.sendall(ask() + ask())


def reset(client: socket.socket) -> None:
    """End a connection the hard way."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    client.close()


def _half(answer: bytes) -> bytes:
    head, blank, body = answer.partition(b"\r\n\r\n")
    return head + blank + body[: len(body) // 2] if body else head[: len(head) // 2]


@dataclass
class Times:
    """A hook that gives an answer to the first few requests of each group, and counts them.

    Attributes:
        answer: What they get.
        group: Of a request, by method and target; None: it is left alone.
        times: How many of each group.
    """

    answer: Answer
    group: Callable[[str, str], str | None]
    times: int = 1
    given: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Asked) -> Answer | None:
        group = self.group(request.method, request.target)
        if group is None:
            return None
        with self._lock:
            before = self.given.get(group, 0)
            if before == self.times:
                return None
            self.given[group] = before + 1
        return self.answer


class Asked(Protocol):
    """A request, as far as `Times` looks at it."""

    @property
    def method(self) -> str: ...

    @property
    def target(self) -> str: ...
