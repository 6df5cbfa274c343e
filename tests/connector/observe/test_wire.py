"""Metrics count what goes over the wire: the same as a proxy does, whichever library makes the requests."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.connector.observe.test_metrics import scraped
from tests.faults.answers import Cut, LostReply, Refusal
from tests.faults.proxy import Proxy
from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector import LakeFileSystem, observe
from tierlake.connector.errors import AlreadyExists, LakeError, ObjectNotFound
from tierlake.connector.observe.exporters import exported
from tierlake.pipelines import Dataset

_METHODS = (("head_", "HEAD"), ("list_", "GET"), ("get_", "GET"), ("abort_", "DELETE"), ("delete_objects", "POST"))
_OTHERS = (("delete_", "DELETE"), ("create_multipart", "POST"), ("complete_", "POST"), ("", "PUT"))


def method_of(operation):
    return next(method for prefix, method in (*_METHODS, *_OTHERS) if operation.startswith(prefix))


@dataclass
class Seen:
    """What a proxy has seen.

    Attributes:
        requests: Requests by method and class of the answer's status, and by who made them.
        sent: Bytes of objects in requests.
        received: Bytes of objects in answers, by their heads.
    """

    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0

    def by(self, agent):
        """Requests by method and class of status, of those whose user agent names this."""
        counted = Counter()
        for (method, status, name), number in self.requests.items():
            counted[method, status] += number if agent in name else 0
        return +counted


class Listening:
    """A client's connection whose answer is looked at."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.answer = b""

    def sendall(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 100"):
            self.answer += data[: 1 << 14]
        self._client.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class CountingProxy(Proxy):
    """Counts what passes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen, self._counting, self._this = Seen(), threading.Lock(), threading.local()

    def _pass_on(self, client: socket.socket) -> None:
        listening = Listening(client)
        self._this.request = None
        try:
            super()._pass_on(listening)  # type: ignore[arg-type] # it has the methods that are called
        finally:
            self._count(listening.answer)

    def look(self, method: str, head: list[bytes], body: bytes) -> None:
        self._this.request = (method, head, body)

    def _count(self, answer: bytes) -> None:
        if self._this.request is None:
            return
        method, head, body = self._this.request
        headers = headers_of(head[1:])
        target = head[0].decode("latin-1").split(" ")[1]
        query = parse_qs(urlsplit(target).query, keep_blank_values=True).keys()
        whole = answer.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1.1 (\d)\d\d", answer) if whole[1] else None
        is_object = not query - {"partNumber", "uploadId", "x-id", "versionId"}
        with self._counting:
            agent = headers.get("user-agent", "")
            self.seen.requests[method, f"{status[1].decode()}xx" if status else "none", agent] += 1
            if method == "PUT" and is_object and "x-amz-copy-source" not in headers:
                self.seen.sent += int(headers.get("x-amz-decoded-content-length") or len(body))
            if method == "GET" and is_object and status and status[1] == b"2":
                self.seen.received += int(headers_of(whole[0].split(b"\r\n")[1:])["content-length"])


def headers_of(lines):
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def act(fs, bucket, folder):
    """Reads, writes, parts, lists, copies, deletions, and errors that callers ask for."""
    fs.pipe_file(f"{bucket}/a", b"x" * 1000)
    fs.pipe_file(f"{bucket}/large", b"y" * (11 << 20), chunksize=5 << 20)
    (folder / "local").write_bytes(b"z" * (6 << 20))
    fs.put_file(str(folder / "local"), f"{bucket}/d/local")
    assert fs.cat_file(f"{bucket}/a", start=10, end=20) == b"x" * 10
    assert fs.cat_file(f"{bucket}/large") == b"y" * (11 << 20)
    fs.get_file(f"{bucket}/d/local", str(folder / "back"))
    with fs.open(f"{bucket}/w", "wb") as file:
        file.write(b"w" * 100)
    with fs.open(f"{bucket}/w") as file:
        assert file.read() == b"w" * 100
    fs.copy(f"{bucket}/a", f"{bucket}/b")
    fs.mv(f"{bucket}/b", f"{bucket}/c")
    assert not fs.exists(f"{bucket}/none")
    with pytest.raises(ObjectNotFound):
        fs.cat_file(f"{bucket}/none")
    with pytest.raises(AlreadyExists):
        fs.put_if(f"{bucket}/a", b"", if_none_match=True)
    assert len(fs.find(bucket)) == 5
    fs.ls(bucket)
    fs.rm([f"{bucket}/a", f"{bucket}/c"])
    fs.rm(f"{bucket}/w")


@pytest.fixture
def metrics():
    """What is scraped meanwhile."""
    taking = exported(["prometheus:0"], frozenset())
    observe.add(taking)
    return taking


def total(shown, name):
    return sum(value for key, value in shown.items() if key[0] == f"tierlake_{name}_total")


def requests_in(shown):
    """The requests that metrics have, by method and class of status."""
    counted = Counter()
    for key, value in shown.items():
        if key[0] == "tierlake_request_count_total":
            labels = dict(key[1:])
            counted[method_of(labels["operation"]), labels["status_class"]] += int(value)
    return counted


def through(server, proxy, **options):
    place = {**server.storage_options, "endpoint_url": proxy.url, "retry_seconds": 30, "profile": server.name}
    return LakeFileSystem(**{**place, **options}, skip_instance_cache=True)


def by_method(counted):
    """Without the status, which a client does not know of an answer that breaks."""
    methods = Counter()
    for (method, _), number in counted.items():
        methods[method] += number
    return methods


def compare(server, bucket, folder, metrics, before=lambda _: None, *, breaks=False):
    with CountingProxy(server.endpoint_url, before=before) as proxy:
        act(through(server, proxy, max_retries=20, read_timeout=5), bucket, folder)
    shown = scraped(metrics)
    if breaks:
        assert by_method(requests_in(shown)) == by_method(proxy.seen.by("tierlake"))
    else:
        assert requests_in(shown) == proxy.seen.by("tierlake")
        assert total(shown, "received_bytes") == proxy.seen.received
    assert proxy.seen.by("tierlake").total() == len(proxy.requests)
    times = sum(value for key, value in shown.items() if key[0] == "tierlake_response_time_seconds_count")
    assert times == total(shown, "request_count")
    assert total(shown, "sent_bytes") == proxy.seen.sent
    assert total(shown, "received_bytes") <= proxy.seen.received
    return shown, proxy


def test_requests_and_bytes(server, bucket, engine, tmp_path, metrics):
    shown, _ = compare(server, bucket, tmp_path, metrics)
    assert total(shown, "retry_count") == total(shown, "throttle_count") == 0
    codes = {dict(key[1:])["code"] for key in shown if key[0] == "tierlake_error_count_total"}
    assert codes <= {"object_not_found", "already_exists", "precondition_failed"}
    assert {dict(key[1:])["kind"] for key in shown if key[0] == "tierlake_error_count_total"} == {"answer"}


def test_requests_that_are_refused(server, bucket, engine, tmp_path, metrics):
    def before(request):
        return Refusal(is_head=request.method == "HEAD") if request.number % 4 == 1 else None

    shown, proxy = compare(server, bucket, tmp_path, metrics, before)
    refused = len(range(1, len(proxy.requests), 4))
    assert total(shown, "retry_count") == refused
    assert 0 < total(shown, "throttle_count") <= refused


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Cut(), Cut(reset=True), LostReply(), LostReply(reset=True)], ids=repr)
def test_answers_that_break(server, bucket, engine, tmp_path, metrics, answer):
    def before(request):
        return answer if request.number % 7 == 3 else None

    compare(server, bucket, tmp_path, metrics, before, breaks=True)


def test_what_deltalake_asks_for_is_its_own(server, bucket, metrics):
    """It makes its requests in Rust, and shows none of them: its name in the proxy tells them apart."""
    with CountingProxy(server.endpoint_url) as proxy:
        dataset = Dataset.create(trip_spec(bucket), fs=through(server, proxy))
        dataset.ingest(make_trips(2))
        assert dataset.read().num_rows == 20
    ours, others = proxy.seen.by("tierlake"), proxy.seen.by("object_store/")
    assert requests_in(scraped(metrics)) == ours
    assert others.total() > 0
    assert ours.total() + others.total() == len(proxy.requests)


def test_a_signed_url_is_used_by_others(server, bucket, metrics):
    fs = LakeFileSystem(**server.storage_options, skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/x", b"x")
    before = requests_in(scraped(metrics))
    url = fs.sign(f"{bucket}/x", expiration=60)
    assert urllib.request.urlopen(url, timeout=10).read() == b"x"  # noqa: S310 -- a server of this test
    assert requests_in(scraped(metrics)) == before


def test_an_endpoint_that_is_down_is_no_response(offline, metrics):
    with pytest.raises(LakeError):
        offline.cat_file("bucket/x")
    shown = scraped(metrics)
    assert set(requests_in(shown)) == {("GET", "none")}
    assert total(shown, "error_count") == total(shown, "request_count") > 1
    assert total(shown, "retry_count") == total(shown, "request_count") - 1
