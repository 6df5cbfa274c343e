"""Each request over the wire has one event, whatever becomes of it; each error that a caller sees has one report."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.faults.answers import Cut, LostReply, Refusal, Times
from tests.faults.proxy import Proxy
from tests.polling import until
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import (
    AlreadyExists,
    BadCredentials,
    InvalidName,
    LakeError,
    ObjectNotFound,
    RequestRefused,
    Throttled,
    UnknownOption,
)
from tierlake.connector.observe import depth


@pytest.fixture
def through(server, engine):
    """Makes filesystems on a server behind a proxy."""

    def make(proxy, **options):
        place = {**server.storage_options, "endpoint_url": proxy.url, "retry_seconds": 20, "profile": server.name}
        return LakeFileSystem(**{**place, **options}, skip_instance_cache=True)

    return make


def over_the_wire(proxy):
    """Requests by method and object; a query that names an operation is part of it."""
    seen = Counter()
    for request in proxy.requests:
        url = urlsplit(request.target)
        names = {"uploads", "uploadId", "delete", "list-type"} & parse_qs(url.query, keep_blank_values=True).keys()
        seen[(request.method, url.path.strip("/"), *sorted(names))] += 1
    return seen


_AS_SEEN = {
    "get_object": ("GET",),
    "head_object": ("HEAD",),
    "head_bucket": ("HEAD",),
    "put_object": ("PUT",),
    "copy_object": ("PUT",),
    "list_objects_v2": ("GET", "list-type"),
    "create_multipart_upload": ("POST", "uploads"),
    "upload_part": ("PUT", "uploadId"),
    "complete_multipart_upload": ("POST", "uploadId"),
    "abort_multipart_upload": ("DELETE", "uploadId"),
    "delete_object": ("DELETE",),
    "delete_objects": ("POST", "delete"),
}


def reported(recorder):
    seen = Counter()
    for event in recorder.requests:
        method, *names = _AS_SEEN[event.operation]
        seen[(method, "/".join(filter(None, (event.bucket, event.key))), *names)] += 1
    return seen


def act(fs, bucket, tmp_path):
    """All kinds of requests."""
    fs.pipe_file(f"{bucket}/a", b"x" * 1000)
    fs.pipe_file(f"{bucket}/large", b"y" * (11 << 20), chunksize=5 << 20)
    (tmp_path / "local").write_bytes(b"z" * 5000)
    fs.put_file(str(tmp_path / "local"), f"{bucket}/d/local")
    assert fs.cat_file(f"{bucket}/a", start=10, end=20) == b"x" * 10
    assert fs.cat_file(f"{bucket}/large") == b"y" * (11 << 20)
    fs.get_file(f"{bucket}/large", str(tmp_path / "large"))
    with fs.open(f"{bucket}/d/local") as file:
        assert file.read(10) == b"z" * 10
    with fs.open(f"{bucket}/w", "wb") as file:
        file.write(b"w" * 100)
    fs.copy(f"{bucket}/a", f"{bucket}/b")
    assert fs.exists(f"{bucket}/b")
    assert not fs.exists(f"{bucket}/none")
    with pytest.raises(ObjectNotFound):
        fs.cat_file(f"{bucket}/none")
    with pytest.raises(AlreadyExists):
        fs.put_if(f"{bucket}/a", b"", if_none_match=True)
    assert len(fs.find(bucket)) == 5
    fs.rm([f"{bucket}/a", f"{bucket}/b"])


def test_each_request_has_one_event(server, bucket, through, recorder, tmp_path):
    with Proxy(server.endpoint_url) as proxy:
        act(through(proxy), bucket, tmp_path)
    assert reported(recorder) == over_the_wire(proxy)
    assert {event.server for event in recorder.requests} == {server.name}
    assert not [event for event in recorder.requests if event.is_retried]
    assert {event.status // 100 for event in recorder.requests if event.code is None} == {2}
    assert depth.depths() == {"running": 0, "waiting": 0}


def test_each_request_has_one_event_where_a_third_fails(server, bucket, through, recorder, tmp_path):
    refused = Refusal(request_id="R1")

    def third(request):
        return refused if request.number % 3 == 1 else None

    with Proxy(server.endpoint_url, before=third) as proxy:
        act(through(proxy, max_retries=20), bucket, tmp_path)
    assert reported(recorder) == over_the_wire(proxy)
    failed = [event for event in recorder.requests if event.is_retried]
    assert len(failed) == len(range(1, len(proxy.requests), 3))
    assert {event.status for event in failed} <= {503, None}  # a proxy that answers a PUT early may look like a reset
    assert {event.code for event in failed} <= {"throttled", "endpoint_unreachable"}
    assert max(event.attempt for event in recorder.requests) > 1


@pytest.mark.parametrize("answer", [Cut(), Cut(reset=True), LostReply(), LostReply(reset=True)], ids=repr)
def test_each_request_has_one_event_where_answers_break(server, bucket, through, recorder, tmp_path, answer):
    once = Times(answer, lambda method, target: f"{method} {urlsplit(target).path}")
    with Proxy(server.endpoint_url, before=once) as proxy:
        act(through(proxy, max_retries=20, read_timeout=5), bucket, tmp_path)
    assert reported(recorder) == over_the_wire(proxy)
    assert all(event.is_retried for event in recorder.broken_bodies)


def test_a_body_that_breaks_off_is_told_apart(server, bucket, through, recorder):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"x" * 100_000)
    once = Times(
        Cut(), lambda method, target: "x" if "/x" in target and method == "GET" and "list" not in target else None
    )
    with Proxy(server.endpoint_url, before=once) as proxy:
        fs = through(proxy)
        assert fs.cat_file(f"{bucket}/x") == b"x" * 100_000
    broken, gets = recorder.broken_bodies, [one for one in recorder.requests if one.operation == "get_object"]
    assert len(gets) == 2
    assert [(one.key, one.code, one.is_retried) for one in broken] == [("x", "endpoint_unreachable", True)]


def test_the_last_failure_is_the_callers(server, bucket, through, recorder):
    with Proxy(server.endpoint_url, before=lambda _: Refusal(request_id="R17")) as proxy:
        fs = through(proxy, max_retries=2)
        with pytest.raises(Throttled) as caught:
            fs.cat_file(f"{bucket}/x")
    (last,) = recorder.reports_of("throttled")
    assert last.request_id == "R17" == caught.value.request_id
    assert "R17" in str(caught.value)
    assert (last.attempt, last.kind, last.server_code) == (3, "failure", "SlowDown")
    assert [one.is_retried for one in recorder.requests] == [True, True, False]
    assert recorder.errors == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda fs, b: fs.cat_file(f"{b}/none"), ObjectNotFound),
        (lambda fs, b: fs.cat_file(f"{b}/../x"), InvalidName),
        (lambda fs, b: fs.pipe_file(f"{b}/x", b"", ServerSideEncrypton="AES256"), UnknownOption),
        (lambda fs, b: fs.put_if(f"{b}/x", b"", if_match='"no"'), LakeError),
        (lambda fs, b: fs.call_s3("get_object", Bucket=b, Key="x", Range="bytes=99-"), RequestRefused),
        (lambda fs, b: fs.mkdir("A_B"), LakeError),
        (lambda fs, b: fs.ls("no-such-bucket"), FileNotFoundError),
        (lambda fs, b: fs.open(f"{b}/none"), FileNotFoundError),
    ],
    ids=["missing", "name", "option", "condition", "range", "bucket-name", "bucket", "open"],
)
def test_each_error_has_one_report(server, bucket, make_fs, recorder, call, error):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"x")
    with pytest.raises(error) as caught:
        call(make_fs(), bucket)
    assert isinstance(caught.value, LakeError)
    reports = [one for one in recorder.reports_of(caught.value.code) if one.request_id == caught.value.request_id]
    assert len(reports) == 1
    assert (caught.value.request_id or "") in str(caught.value)


def test_bad_credentials_are_one_report(server, bucket, make_fs, recorder):
    fs = make_fs(secret="wrong")
    with pytest.raises(BadCredentials) as caught:
        fs.head_object(f"{bucket}/x")
    reports = recorder.reports_of("bad_credentials")
    assert len(reports) == 1
    assert reports[0].request_id == caught.value.request_id
    assert "wrong" not in repr(recorder.events)


def test_sizes(server, bucket, make_fs, recorder, tmp_path):
    fs = make_fs()
    (tmp_path / "local").write_bytes(b"z" * (6 << 20))
    fs.put_file(str(tmp_path / "local"), f"{bucket}/x")
    fs.pipe_file(f"{bucket}/y", b"y" * 12, chunksize=5 << 20)
    fs.pipe_file(f"{bucket}/z", memoryview(b"y" * (11 << 20)), chunksize=5 << 20)
    assert sum(event.bytes_sent for event in recorder.requests) == (6 << 20) + 12 + (11 << 20)
    recorder.events.clear()
    fs.cat_file(f"{bucket}/x", start=5, end=105)
    fs.cat_file(f"{bucket}/y")
    assert sum(event.bytes_received for event in recorder.requests) == 112


def test_a_request_that_is_cancelled_has_its_event(server, bucket, through, recorder):
    arrived, gate = asyncio.Event(), None

    async def work(proxy):
        nonlocal gate
        loop = asyncio.get_running_loop()

        def hold(_):
            loop.call_soon_threadsafe(arrived.set)
            until(gate.done, 20)

        proxy.before = hold
        fs = through(proxy, asynchronous=True)
        client = await fs.set_session()
        gate = asyncio.create_task(fs._cat_file(f"{bucket}/x", start=0, end=1))
        await arrived.wait()
        assert depth.depths()["running"] == 1
        gate.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gate
        await client.close()

    with Proxy(server.endpoint_url) as proxy:
        asyncio.run(work(proxy))
    assert [one.code for one in recorder.requests] == ["cancelled"]
    assert depth.depths() == {"running": 0, "waiting": 0}
