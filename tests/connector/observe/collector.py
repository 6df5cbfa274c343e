"""A collector of traces: takes OTLP over HTTP, as a real one does, and keeps what it took."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    kind: int
    status: int
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for group in request.resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex() or None,
                    span.kind,
                    span.status.code,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _values(span.attributes),
                    resource,
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@dataclass
class Collector:
    """What has arrived, and how the collector behaves.

    Attributes:
        url: Its endpoint.
        spans: In the order of their arrival.
        requests: Headers of each request.
        status: What it responds.
        is_open: While it is not set, requests are not responded to.
    """

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    is_open: threading.Event = field(default_factory=threading.Event)

    @property
    def trace_ids(self) -> set[str]:
        return {span.trace_id for span in self.spans}

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def roots(self) -> list[Seen]:
        """The spans whose parent is not among them."""
        known = {span.span_id for span in self.spans}
        return [span for span in self.spans if span.parent_id not in known]


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    own = Collector()
    own.is_open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            own.is_open.wait(30)
            own.requests.append({"path": self.path, **{name.lower(): text for name, text in self.headers.items()}})
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if own.status == 200:
                own.spans.extend(spans_of(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(own.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield own
    finally:
        own.is_open.set()
        server.shutdown()
        server.server_close()
