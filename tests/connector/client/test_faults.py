"""What fails says so soon, with a name: no endpoint, wrong credentials, missing bucket."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.faults.proxy import Proxy
from tierlake.connector import LakeFileSystem
from tierlake.connector.client.retry import RetryBudget, retryable, retrying
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    BucketNotFound,
    EndpointUnreachable,
    ServerError,
    Throttled,
)

pytestmark = [pytest.mark.each_value, pytest.mark.usefixtures("engine")]

CALLS = {
    "exists": lambda fs, bucket: fs.exists(bucket),
    "exists object": lambda fs, bucket: fs.exists(f"{bucket}/x"),
    "ls": lambda fs, bucket: fs.ls(bucket),
    "find": lambda fs, bucket: fs.find(bucket),
    "isdir": lambda fs, bucket: fs.isdir(f"{bucket}/d"),
    "cat_file": lambda fs, bucket: fs.cat_file(f"{bucket}/x"),
    "open": lambda fs, bucket: fs.open(f"{bucket}/x"),
    "pipe_file": lambda fs, bucket: fs.pipe_file(f"{bucket}/x", b"1"),
    "head": lambda fs, bucket: fs.head_object(f"{bucket}/x"),
    "put_if": lambda fs, bucket: fs.put_if(f"{bucket}/x", b"1", if_none_match=True),
    "rm_file": lambda fs, bucket: fs.rm_file(f"{bucket}/x"),
    "transition": lambda fs, bucket: fs.transition(f"{bucket}/x", storage_class="STANDARD"),
    "server_time": lambda fs, bucket: fs.server_time(bucket),
    "object_versions": lambda fs, bucket: fs.object_versions(bucket),
    "is_versioned": lambda fs, bucket: fs.is_versioned(bucket),
    "read_parquet": lambda fs, bucket: pd.read_parquet(f"lake://{bucket}/x", filesystem=fs),
}
MAY_BE_MISSING = {"exists", "exists object", "isdir"}
each_call = pytest.mark.parametrize("call", CALLS)


@each_call
def test_an_endpoint_that_is_down_is_named_within_seconds(offline, call):
    started = time.monotonic()
    with pytest.raises(EndpointUnreachable, match=offline.endpoint):
        CALLS[call](offline, "bucket")
    assert time.monotonic() - started < 15, "it takes half a second where the machine is idle"


def test_the_profile_of_an_endpoint_that_is_down(offline):
    with pytest.raises(EndpointUnreachable):
        _ = LakeFileSystem(endpoint_url=offline.endpoint, key="k", secret="s").profile


def test_a_table_on_an_endpoint_that_is_down(offline):
    started = time.monotonic()
    with pytest.raises(Exception, match=offline.endpoint):
        DeltaTable("s3://bucket/table", storage_options=offline.delta_options())
    assert time.monotonic() - started < 20, "it takes a second where the machine is idle"


@each_call
@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials(make_fs, bucket, call, wrong):
    fs = make_fs(**{wrong: "wrong-one"})
    with pytest.raises(BadCredentials, match="Check the key"):
        CALLS[call](fs, bucket)


def test_no_credentials_at_all(server, bucket):
    fs = LakeFileSystem(endpoint_url=server.endpoint_url, skip_instance_cache=True)
    with pytest.raises(BadCredentials, match="No usable credentials"):
        fs.cat_file(f"{bucket}/x")


@pytest.mark.parametrize("call", sorted(CALLS.keys() - MAY_BE_MISSING - {"read_parquet"}))
def test_a_missing_bucket_is_named(fs, bucket, call):
    missing = f"{bucket}-missing"
    with pytest.raises(BucketNotFound, match=missing):
        CALLS[call](fs, missing)


@pytest.mark.parametrize("call", sorted(MAY_BE_MISSING))
def test_in_a_missing_bucket_nothing_exists(fs, bucket, call):
    assert CALLS[call](fs, f"{bucket}-missing") is False


def test_an_error_carries_the_request_id(fs, bucket):
    with pytest.raises(BucketNotFound) as caught:
        fs.ls(f"{bucket}-missing")
    assert caught.value.request_id
    assert caught.value.server_code == "NoSuchBucket"
    assert caught.value.bucket == f"{bucket}-missing"


def test_anonymous_is_refused_not_unknown(server, bucket):
    fs = LakeFileSystem(anon=True, endpoint_url=server.endpoint_url, profile=server.profile, skip_instance_cache=True)
    with pytest.raises(AccessDenied):
        fs.ls(bucket)


def test_a_broken_connection_is_tried_again(server, bucket, make_fs):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"bytes")
    broken = []

    def break_twice(request):
        if f"/{bucket}/x" in request.target and len(broken) < 2:
            broken.append(request)
            raise ConnectionResetError

    with Proxy(server.endpoint_url, before=break_twice) as proxy:
        assert make_fs(endpoint_url=proxy.url).cat_file(f"{bucket}/x", start=0, end=3) == b"byt"
    assert len(broken) == 2


def client_error(code, status):
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    ("code", "status", "again"),
    [
        ("SlowDown", 503, True),
        ("429", 429, True),
        ("InternalError", 500, True),
        ("502", 502, True),
        ("RequestTimeout", 400, True),
        ("AccessDenied", 403, False),
        ("NoSuchKey", 404, False),
        ("PreconditionFailed", 412, False),
        ("NotImplemented", 501, False),
        ("InvalidArgument", 400, False),
    ],
)
def test_what_is_tried_again(code, status, again):
    assert retryable(client_error(code, status)) is again


async def spend(budget, error, clock):
    calls = []

    async def attempt():
        calls.append(clock())
        raise error

    with pytest.raises(type(error)):
        await retrying(attempt, budget, lambda _: None)
    return len(calls)


@pytest.mark.parametrize(
    ("budget", "tries"),
    [
        (RetryBudget(attempts=4, first_wait=0), 4),
        (RetryBudget(attempts=1), 1),
        (RetryBudget(attempts=50, seconds=0, first_wait=0.001), 1),
    ],
)
def test_a_budget_is_kept(budget, tries):
    import asyncio

    assert asyncio.run(spend(budget, client_error("SlowDown", 503), time.monotonic)) == tries


def test_waits_grow_and_are_random():
    budget = RetryBudget(first_wait=0.1, longest_wait=5)
    assert all(0 <= budget.wait(tries) <= min(5, 0.1 * 2**tries) for tries in range(10) for _ in range(20))
    assert len({budget.wait(5) for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(503, "SlowDown", Throttled), (500, "InternalError", ServerError)]
)
def test_a_server_that_goes_on_failing(offline, monkeypatch, status, code, kind):
    async def fail(**_):
        raise client_error(code, status)

    fs = LakeFileSystem(**offline.storage_options, max_retries=0, skip_instance_cache=True)
    fs.connect()
    monkeypatch.setattr(fs._s3, "head_bucket", fail)
    with pytest.raises(kind):
        fs.server_time("bucket")
