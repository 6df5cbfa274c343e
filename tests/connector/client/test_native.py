"""Two engines, one behaviour: what obstore makes of a request is what aiobotocore would, or aiobotocore makes it."""

from __future__ import annotations

import asyncio
import gzip
import os
import pickle
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import ROOT
from tests.faults.answers import Cut, Refusal, Stall, Times
from tests.faults.proxy import Proxy
from tierlake.connector import LakeFileSystem
from tierlake.connector.client.native import Native, is_understood
from tierlake.connector.client.retry import RetryBudget
from tierlake.connector.errors import BadCredentials, EndpointUnreachable, InvalidName, LakeError
from tierlake.connector.transfer import ranges

MIB = 1 << 20
DATA = os.urandom(MIB)
ENGINES = ("native", "s3fs")


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """The operations that obstore makes."""
    operations: list[str] = []
    plain = Native.request

    async def noted(self, store, operation, request):
        operations.append(operation)
        return await plain(self, store, operation, request)

    monkeypatch.setattr(Native, "request", noted)
    return operations


@pytest.fixture
def engines(make_fs, bucket):
    """A filesystem on each engine."""
    return {engine: warm(make_fs(engine=engine), bucket) for engine in ENGINES}


def warm(fs, bucket):
    """The first request to an endpoint, and the first write to a bucket, are aiobotocore's: they show headers."""
    fs.pipe_file(f"{bucket}/warm", b"1")
    return fs


def works(fs, bucket, folder):
    """Every way in which bytes come and go."""
    (folder / "local").write_bytes(DATA)
    fs.pipe_file(f"{bucket}/x", DATA)
    fs.put_file(str(folder / "local"), f"{bucket}/y")
    fs.put_if(f"{bucket}/z", DATA, if_none_match=True)
    with fs.open(f"{bucket}/w", "wb") as file:
        file.write(DATA)
    fs.get_file(f"{bucket}/w", str(folder / "back"))
    with fs.open(f"{bucket}/x", block_size=100_000) as file:
        file.seek(500_000)
        opened = file.read(1000)
    results = [
        fs.cat_file(f"{bucket}/y"),
        fs.cat(f"{bucket}/z"),
        fs.read_with_etag(f"{bucket}/x")[0],
        fs.cat_file(f"{bucket}/w", chunksize=100_000),
        (folder / "back").read_bytes(),
        *fs.cat_ranges([f"{bucket}/x"] * 3, [0, 7, -9], [5, 10, None]),
        opened,
    ]
    expected = [DATA] * 5 + [DATA[:5], DATA[7:10], DATA[-9:], DATA[500_000:501_000]]
    assert results == expected
    assert {type(result) for result in results} == {bytes}


def test_bytes_come_and_go_by_obstore(engines, bucket, tmp_path, made):
    works(engines["native"], bucket, tmp_path)
    assert made.count("put_object") == 4
    assert made.count("get_object") >= 5 + 10 + 3


def test_another_engine_turns_it_off(engines, bucket, tmp_path, made):
    works(engines["s3fs"], bucket, tmp_path)
    assert made == []


def test_the_engine_goes_with_the_filesystem(make_fs, bucket):
    fs = make_fs(engine="s3fs")
    copies = [
        pickle.loads(pickle.dumps(fs)),  # noqa: S301 -- our own bytes
        LakeFileSystem.from_json(fs.to_json()),
        fs.for_table(f"{bucket}/t"),
        pickle.loads(pickle.dumps(fs.for_table(f"{bucket}/t"))),  # noqa: S301
    ]
    assert [copy.settings.engine for copy in copies] == ["s3fs"] * 4


def test_a_loop_of_ones_own(server, bucket, made):
    async def use() -> bytes:
        fs = LakeFileSystem(**server.storage_options, asynchronous=True, skip_instance_cache=True)
        session = await fs.set_session()
        try:
            await fs._pipe_file(f"{bucket}/x", b"1")
            return await fs._cat_file(f"{bucket}/x")
        finally:
            await session.close()

    assert asyncio.run(use()) == asyncio.run(use()) == b"1"
    assert "get_object" in made


def test_a_response_that_a_user_asks_for_is_whole(engines, bucket, other_class):
    engines["native"].pipe_file(f"{bucket}/x", b"1", StorageClass=other_class)
    shown = []
    for fs in engines.values():
        response = fs.call_s3("get_object", Bucket=bucket, Key="x")
        ignored = {"Body", "ResponseMetadata"} | {name for name in response if name.startswith("Checksum")}
        shown.append({name: value for name, value in response.items() if name not in ignored})
        response["Body"].close()
    assert shown[0] == shown[1]
    assert shown[0]["StorageClass"] == other_class


def test_a_piece_is_not_copied(engines, bucket):
    fs = engines["native"]
    fs.pipe_file(f"{bucket}/x", DATA)

    async def read(start):
        return await ranges.fetch(fs.store, {"Bucket": bucket, "Key": "x"}, start)

    piece = asyncio.run_coroutine_threadsafe(read(-10), fs.loop).result()
    assert (bytes(piece.data), piece.start, piece.size) == (DATA[-10:], MIB - 10, MIB)
    assert type(piece.data).__name__ == "Bytes"
    assert piece.etag == fs.info(f"{bucket}/x")["ETag"]


# -- keys ----------------------------------------------------------------------------------------------

ODD = [
    "",
    ".",
    "..",
    "a",
    "ä",
    "%",
    "%2F",
    "+",
    " ",
    "=",
    "~",
    "\\",
    "\x01",
    "\x7f",
    "\x80",
    "日",
    "😀",
    "?",
    "#",
    "*",
    "'",
]
KEYS = st.lists(st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=3).map("".join), max_size=4).map("/".join)


def outcome(work):
    try:
        return work()
    except (LakeError, OSError, ValueError) as error:
        return type(error), getattr(error, "server_code", None)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS.filter(bool))
def test_each_key_is_the_same_object_for_both(engines, bucket, key):
    """What one writes, the other reads, whatever is in the key; a key is refused to both or to none."""
    path = f"{bucket}/{key}"
    native, plain = engines["native"], engines["s3fs"]
    for writer, reader, data in ((native, plain, b"native"), (plain, native, b"plain")):
        refusal, other = (outcome(lambda fs=fs, data=data: put(fs, path, data)) for fs in (reader, writer))
        assert refusal == other
        if refusal is None:
            read, own = (outcome(lambda fs=fs: fs.cat_file(path)) for fs in (reader, writer))
            assert read == own
            assert read == data or key.endswith("/")  # SeaweedFS drops the bytes of a folder's marker


def put(fs, path, data):
    fs.pipe_file(path, data)


@pytest.mark.parametrize("key", ["a/", "/a", "a//b", "./a", "a/../b", "..", "a\tb", "a\x7f", ""])
def test_keys_that_obstore_would_change_are_not_given_to_it(key):
    assert not is_understood("get_object", {"Bucket": "bucket", "Key": key})


@pytest.mark.parametrize(
    "request_",
    [
        {"ACL": "private"},
        {"ChecksumAlgorithm": "SHA256"},
        {"Body": "text"},
        {"Metadata": {"Content-Type": "x"}},
        {"Metadata": {"content-type": "x"}},
        {"Metadata": {"a": "ü"}},
        {"Metadata": {"a": " padded"}},
        {"Tagging": "a=1&a=2"},
        {"Tagging": "no tag"},
        {"IfMatch": '"x"', "IfNoneMatch": "*"},
        {"IfNoneMatch": '"x"'},
        {"ServerSideEncryption": "other"},
        {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "e30="},
        {"SSEKMSKeyId": "k"},
        {"SSECustomerAlgorithm": "AES256"},
        {"RequestPayer": "other"},
        {"ContentType": "x\ny"},
        {"Expires": "2013"},
    ],
)
def test_writes_that_are_left_to_aiobotocore(request_):
    place = {"Bucket": "bucket", "Key": "key"}
    assert is_understood("put_object", {**place, "Body": b""})
    assert not is_understood("put_object", {**place, "Body": b"", **request_})


@pytest.mark.parametrize(
    "request_",
    [
        {"PartNumber": 1},
        {"Range": "bytes=5-4"},
        {"Range": "bytes=0-1,3-4"},
        {"Range": 5},
        {"IfMatch": "unquoted"},
        {"VersionId": "a b"},
        {"ResponseContentType": "x"},
    ],
)
def test_reads_that_are_left_to_aiobotocore(request_):
    assert not is_understood("get_object", {"Bucket": "bucket", "Key": "key", **request_})


# -- what arrives --------------------------------------------------------------------------------------

PROPERTIES = {
    "CacheControl": "no-cache",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentLanguage": "de",
    "ContentType": "text/csv",
    "Metadata": {"a": "some words", "b-c": "2"},
    "Tagging": "a=b%20c&d=e/f",
}


@pytest.mark.parametrize("options", [{}, PROPERTIES, {"ContentEncoding": "gzip"}])
def test_an_object_has_the_same_properties(engines, server, bucket, other_class, options):
    heads = {}
    for engine, fs in engines.items():
        fs.pipe_file(f"{bucket}/{engine}", gzip.compress(b"1", mtime=0), StorageClass=other_class, **options)
        head = server.admin.head_object(Bucket=bucket, Key=engine)
        tags = server.admin.get_object_tagging(Bucket=bucket, Key=engine)["TagSet"]
        ignored = {"ResponseMetadata", "LastModified", "VersionId"} | {n for n in head if n.startswith("Checksum")}
        heads[engine] = {n: v for n, v in head.items() if n not in ignored}, sorted(tags, key=str)
        assert fs.cat_file(f"{bucket}/{engine}") == gzip.compress(b"1", mtime=0), "as it is, not expanded"
    assert heads["native"] == heads["s3fs"]


POISON = {
    "AWS_BUCKET": "other",
    "AWS_CHECKSUM_ALGORITHM": "sha256",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_DISABLE_TAGGING": "true",
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_REQUEST_PAYER": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
    "AWS_SESSION_TOKEN": "wrong",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_SSE_KMS_KEY_ID": "k",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
}


@pytest.mark.parametrize("variable", POISON)
def test_obstore_takes_nothing_from_the_environment(make_fs, server, bucket, monkeypatch, variable):
    monkeypatch.setenv(variable, POISON[variable])
    fs = warm(make_fs(endpoint_url=server.endpoint_url), bucket)
    fs.pipe_file(f"{bucket}/x", b"1", Tagging="a=b")
    assert fs.cat_file(f"{bucket}/x") == b"1"
    assert server.admin.get_object_tagging(Bucket=bucket, Key="x")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert server.heads(bucket)["x"].get("ServerSideEncryption") == "AES256"


def test_credentials_of_the_chain(server, bucket, monkeypatch, made):
    options = server.storage_options
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    fs = LakeFileSystem(endpoint_url=server.endpoint_url, profile=server.profile, skip_instance_cache=True)
    warm(fs, bucket)
    fs.pipe_file(f"{bucket}/x", b"1")
    assert fs.cat_file(f"{bucket}/x") == b"1"
    assert made == ["put_object", "get_object"]


def test_refused_credentials_drop_the_stores(make_fs, bucket):
    fs = make_fs(secret="wrong")
    with pytest.raises(BadCredentials):
        fs.cat_file(f"{bucket}/x")
    assert fs.store.connection._native is None


@pytest.mark.parametrize(
    "options",
    [
        {"config_kwargs": {"s3": {"payload_signing_enabled": True}}},
        {"config_kwargs": {"client_cert": "file"}},
        {"config_kwargs": {"signature_version": "s3"}},
        {"client_kwargs": {"api_version": "2006-03-01"}},
    ],
)
def test_options_that_are_not_understood_make_no_store(make_fs, bucket, options, made):
    fs = make_fs(**options)
    outcome(lambda: fs.cat_file(f"{bucket}/x"))
    assert made == []


# -- the network ---------------------------------------------------------------------------------------


def test_a_private_authority_is_trusted_where_it_is_named(minio_tls, monkeypatch, made):
    bucket = minio_tls.make_bucket()
    options = {n: v for n, v in minio_tls.storage_options.items() if n != "client_kwargs"}
    for engine in ENGINES:
        with pytest.raises(EndpointUnreachable, match="not signed by an authority"):
            LakeFileSystem(**options, engine=engine, skip_instance_cache=True).cat_file(f"{bucket}/x")
        verified = LakeFileSystem(**minio_tls.storage_options, engine=engine, skip_instance_cache=True)
        verified.pipe_file(f"{bucket}/x", b"1")
        assert verified.cat_file(f"{bucket}/x") == b"1"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(minio_tls.certificate))
    assert LakeFileSystem(**options, skip_instance_cache=True).cat_file(f"{bucket}/x") == b"1"
    monkeypatch.delenv("AWS_CA_BUNDLE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(minio_tls.certificate))
    assert LakeFileSystem(**options, skip_instance_cache=True).cat_file(f"{bucket}/x") == b"1"
    minio_tls.drop_bucket(bucket)


@pytest.mark.parametrize("way", ["config", "environment", "excluded"])
def test_a_proxy_is_used_as_botocore_uses_it(make_fs, server, bucket, monkeypatch, made, way):
    fs = make_fs()
    fs.pipe_file(f"{bucket}/x", DATA)
    with Proxy(server.endpoint_url) as proxy:
        options = {"config_kwargs": {"proxies": {"http": proxy.url}}} if way == "config" else {}
        if way != "config":
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1" if way == "excluded" else "")
            monkeypatch.delenv("no_proxy", raising=False)
        made.clear()
        assert make_fs(**options, connect_timeout=4.5).cat_file(f"{bucket}/x") == DATA
        assert bool(proxy.requests) is (way != "excluded")
    assert "get_object" in made


@pytest.fixture
def through(server, make_fs, monkeypatch):
    monkeypatch.setattr(RetryBudget, "wait", lambda budget, tries: 0.0)
    proxies = []

    def make(hook, **options):
        proxies.append(Proxy(server.endpoint_url, before=hook).__enter__())
        return make_fs(endpoint_url=proxies[-1].url, **options)

    yield make
    for proxy in proxies:
        proxy.__exit__()


def described(work):
    try:
        work()
    except LakeError as error:
        facts = (error.message.partition("127.0.0.1")[0], error.hint, error.server_code, error.request_id, error.errno)
        return type(error), *facts
    raise AssertionError("it did not fail")


ANSWERS = {
    "400": Refusal("400 Bad Request", "InvalidArgument", "id-1"),
    "403": Refusal("403 Forbidden", "AccessDenied", "id-2"),
    "credentials": Refusal("403 Forbidden", "InvalidAccessKeyId", "id-3"),
    "expired": Refusal("400 Bad Request", "ExpiredToken", "id-4"),
    "404": Refusal("404 Not Found", "NoSuchKey", "id-5"),
    "bucket": Refusal("404 Not Found", "NoSuchBucket", "id-6"),
    "archived": Refusal("403 Forbidden", "InvalidObjectState", "id-7"),
    "409": Refusal("409 Conflict", "ConditionalRequestConflict", "id-8"),
    "412": Refusal("412 Precondition Failed", "PreconditionFailed", "id-9"),
    "416": Refusal("416 Range Not Satisfiable", "InvalidRange", "id-10"),
    "429": Refusal("429 Too Many Requests", "TooManyRequests", "id-11"),
    "500": Refusal("500 Internal Server Error", "InternalError", "id-12"),
    "501": Refusal("501 Not Implemented", "NotImplemented", "id-13"),
    "503": Refusal("503 Slow Down", "SlowDown", "id-14"),
    "no body": Refusal("503 Service Unavailable", "SlowDown", is_head=True),
    "cut": Cut(),
    "reset": Cut(reset=True),
    "stall": Stall(),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_failure_is_the_same_error(through, server, bucket, answer, made):
    """Class, text, hint, server's code and request id, and the number of tries."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=DATA)
    calls = {
        "get": lambda fs: fs.cat_file(f"{bucket}/x", start=0, end=100),
        "put": lambda fs: fs.pipe_file(f"{bucket}/y", b"1"),
        "create": lambda fs: fs.put_if(f"{bucket}/z-{fs.settings.engine}", b"1", if_none_match=True),
        "replace": lambda fs: fs.put_if(f"{bucket}/z-{fs.settings.engine}", b"1", if_match="0" * 32),
    }
    objects = lambda method, target: "object" if "/x" in target or "/y" in target or "/z-" in target else None  # noqa: E731
    for name, call in calls.items():
        if name != "get" and isinstance(ANSWERS[answer], Cut):
            continue  # what was written is known as ours: test_lost_replies.py
        seen = []
        for engine in ENGINES:
            hook = Times(ANSWERS[answer], objects, times=1000)
            fs = through(hook, engine=engine, max_retries=1, read_timeout=0.5)
            warm(fs, bucket)
            made.clear()
            seen.append((described(lambda call=call, fs=fs: call(fs)), hook.given))
            assert bool(made) is (engine == "native")
        assert seen[0] == seen[1], name


def test_what_trickles_in_does_not_renew_the_budget(through, server, bucket):
    """Each response brings half of what was asked for: the number of tries does not depend on the bytes."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=DATA)
    tries = []
    for engine in ENGINES:
        for end in (100, 100_000):
            hook = Times(Cut(), lambda method, target: "x" if "/x" in target else None, times=1000)
            with pytest.raises(EndpointUnreachable):
                through(hook, engine=engine, max_retries=2).cat_file(f"{bucket}/x", start=0, end=end)
            tries.append(hook.given["x"])
    assert tries == [3] * 4


def test_a_long_body_outlives_the_time_out(through, server, bucket):
    """It bounds the wait for the next bytes, not the whole."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=DATA)

    class Slow:
        def give(self, client, ask):
            head, blank, body = ask().partition(b"\r\n\r\n")
            client.sendall(head + blank)
            for start in range(0, len(body), MIB // 8):
                threading.Event().wait(0.1)
                client.sendall(body[start : start + MIB // 8])

    hook = Times(Slow(), lambda method, target: "x" if "/x" in target and method == "GET" else None, times=1000)
    fs = through(hook, read_timeout=0.4, connect_timeout=0.3, max_retries=0)
    fs.store.profile_sync()
    assert fs.cat_file(f"{bucket}/x") == DATA


# -- processes -----------------------------------------------------------------------------------------

PRELUDE = """
import asyncio, os, sys, threading, time
from tierlake.connector import LakeFileSystem
fs = LakeFileSystem(**{options!r})
fs.pipe_file({path!r} + '-warm', b'1')
assert fs.cat_file({path!r}, start=0, end=1)
"""
ENDS = {
    "reads": "asyncio.run_coroutine_threadsafe(asyncio.wait([fs.loop.create_task(fs._cat_file({path!r}))"
    " for _ in range(99)]), fs.loop)",
    "threads": "[threading.Thread(target=lambda: [fs.cat_file({path!r}) for _ in range(99)], daemon=True).start()"
    " for _ in range(4)]",
    "writes": "[threading.Thread(target=fs.pipe_file, args=({path!r} + str(i), b'1' * 99999), daemon=True).start()"
    " for i in range(9)]",
    "streams": "file = fs.open({path!r}); file.read(9)",
    "unwritten": "file = fs.open({path!r} + '-new', 'wb'); file.write(b'1')",
}


def run(script, server, path):
    code = (PRELUDE + script).format(options=dict(server.storage_options), path=path)
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=100, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "end",
    ["reads", "unwritten", *(pytest.param(end, marks=pytest.mark.slow) for end in ("threads", "writes", "streams"))],
)
@pytest.mark.parametrize("last", ["", pytest.param("time.sleep(0.05); sys.exit(3)", marks=pytest.mark.slow)])
def test_a_process_that_ends_in_the_middle_ends(server, bucket, end, last):
    server.admin.put_object(Bucket=bucket, Key="x", Body=DATA)
    code, errors = run(f"{ENDS[end]}\n{last}", server, f"{bucket}/x")
    assert code == (3 if last else 0)
    assert "Fatal" not in errors
    assert ("not closed" in errors) is (end == "unwritten")
    assert "x-new" not in server.keys(bucket)


def test_a_forked_child_goes_without_obstore(server, bucket):
    server.admin.put_object(Bucket=bucket, Key="x", Body=DATA)
    script = """
child = os.fork()
if child == 0:
    from tierlake.connector.client import native
    assert not native.is_usable()
    own = LakeFileSystem(**{options!r}, skip_instance_cache=True)
    own.pipe_file({path!r} + "-child", own.cat_file({path!r}))
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert fs.cat_file({path!r}) == fs.cat_file({path!r} + "-child")
"""
    code, errors = run(script, server, f"{bucket}/x")
    assert (code, errors) == (0, "")


def test_an_invalid_name_stays_one(engines, bucket):
    for fs in engines.values():
        with pytest.raises(InvalidName):
            fs.cat_file(f"{bucket}/a/../b")
