"""Events that a test makes itself."""

from __future__ import annotations

from typing import Any

from tierlake.connector.observe.events import RequestEvent, SpanContext, SpanEvent

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span_id(number: int) -> str:
    return f"{number:016x}"


def request(number: int, parent: int | None = None, **changes: Any) -> RequestEvent:
    known: dict[str, Any] = {
        "operation": "put_object",
        "server": "minio",
        "engine": "aiobotocore",
        "bucket": "b",
        "key": "k/ü.parquet",
        "status": 200,
        "code": None,
        "server_code": None,
        "request_id": "R1",
        "host_id": "H1",
        "attempt": 1,
        "is_retried": False,
        "is_body": False,
        "bytes_sent": 7,
        "bytes_received": 0,
        "started": 1_700_000_000.25,
        "seconds": 0.5,
        "span": SpanContext(TRACE, span_id(number)),
        "parent_id": None if parent is None else span_id(parent),
        "fields": {"dataset": "lake://b/k"},
    }
    return RequestEvent(**(known | changes))


def verb(number: int, parent: int | None = None, **changes: Any) -> SpanEvent:
    known: dict[str, Any] = {
        "name": "dataset.ingest",
        "started": 1_700_000_000.0,
        "seconds": 1.0,
        "span": SpanContext(TRACE, span_id(number)),
        "parent_id": None if parent is None else span_id(parent),
        "code": None,
        "attributes": {"dataset": "lake://b/k", "partition": "date=2013-01-01"},
    }
    return SpanEvent(**(known | changes))
