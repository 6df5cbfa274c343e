"""What the network does to single requests: a write is done once and known as ours, a read is whole or raises."""

from __future__ import annotations

import threading

import pytest
from s3fs.utils import FileExpired

from tests.faults.answers import Cut, LostReply, Refusal, Times
from tests.faults.proxy import Proxy
from tierlake.connector import SseC, SseKms
from tierlake.connector.client.retry import RetryBudget
from tierlake.connector.errors import AlreadyExists, EndpointUnreachable, PreconditionFailed

pytestmark = [pytest.mark.each_value, pytest.mark.usefixtures("engine")]

MIB, KIB = 2**20, 2**10
LARGE = b"0123456789abcdef" * (10 * MIB // 16)
BYTES = bytes(range(250)) * 1200  # no two ranges of it are the same
OTHER_CLASS = {"seaweedfs": "STANDARD_IA", "minio": "REDUCED_REDUNDANCY"}


def by_pipe(fs, path, folder):
    fs.pipe_file(path, b"mine", mode="create")


def by_pipe_in_parts(fs, path, folder):
    fs.pipe_file(path, LARGE, mode="create", chunksize=5 * MIB)


def by_open(fs, path, folder):
    with fs.open(path, "xb") as file:
        file.write(b"mine")


def by_open_empty(fs, path, folder):
    fs.open(path, "xb").close()


def by_open_in_parts(fs, path, folder):
    with fs.open(path, "xb", block_size=5 * MIB) as file:
        file.write(LARGE)


def by_put(fs, path, folder):
    (folder / "local").write_bytes(b"mine")
    fs.put_file(str(folder / "local"), path, mode="create")


def by_put_in_parts(fs, path, folder):
    (folder / "local").write_bytes(LARGE)
    fs.put_file(str(folder / "local"), path, mode="create", chunksize=5 * MIB)


WAYS = [by_pipe, by_pipe_in_parts, by_open, by_open_empty, by_open_in_parts, by_put, by_put_in_parts]


def each(name, functions, quick):
    """The test once for each function, most of them in the slow suite."""
    marked = [
        pytest.param(one, id=one.__name__.partition("_")[2], marks=[] if one in quick else [pytest.mark.slow])
        for one in functions
    ]
    return pytest.mark.parametrize(name, marked)


def written(write):
    return b"" if write is by_open_empty else LARGE if "parts" in write.__name__ else b"mine"


def visible_writes(method, target):
    """The requests that make an object visible."""
    whole = method == "PUT" and "partNumber" not in target
    completed = method == "POST" and "uploadId" in target
    return "write" if whole or completed else None


def copies(method, target):
    return "copy" if method == "PUT" and "uploadId" not in target else None


def gets(method, target):
    is_of_the_object = "list-type" not in target and "/_lake/" not in target
    return "get" if method == "GET" and is_of_the_object else None


@pytest.fixture
def through(server, make_fs, monkeypatch):
    """Makes a filesystem behind a proxy that plays a fault; it tries again without waiting."""
    monkeypatch.setattr(RetryBudget, "wait", lambda budget, tries: 0.0)
    proxies = []

    def make(hook, **options):
        proxies.append(Proxy(server.endpoint_url, before=hook).__enter__())
        return make_fs(endpoint_url=proxies[-1].url, **options)

    yield make
    for proxy in proxies:
        proxy.__exit__()


@each("write", WAYS, quick=WAYS)
def test_a_creation_whose_reply_was_lost_is_ours(through, server, bucket, tmp_path, write):
    hook = Times(LostReply(), visible_writes)
    write(through(hook), f"{bucket}/x", tmp_path)
    assert hook.given == {"write": 1}, "the fault was played"
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == written(write)
    assert not server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_transition_whose_reply_was_lost_is_ours(through, server, bucket):
    """MinIO's copy of what came in parts has another ETag, and the repeated request fails its condition."""
    storage_class = OTHER_CLASS[server.name]
    hook = Times(LostReply(), copies)
    fs = through(hook)
    by_open_in_parts(fs, f"{bucket}/x", None)
    assert fs.transition(f"{bucket}/x", storage_class=storage_class).changed
    assert hook.given == {"copy": 1}
    assert server.heads(bucket)["x"]["StorageClass"] == storage_class
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == LARGE


def test_a_transition_that_lost_the_race_is_not_ours(through, server, bucket):
    """Somebody else's object of the same size is in that class already, and no reply was lost."""

    def faster(request):
        if copies(request.method, request.target):
            server.admin.put_object(Bucket=bucket, Key="x", Body=b"theirs", StorageClass=OTHER_CLASS[server.name])

    fs = through(faster)
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"before")
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/x", storage_class=OTHER_CLASS[server.name])
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == b"theirs"


@each("write", WAYS, quick=[by_pipe, by_open_in_parts])
def test_a_creation_that_lost_the_race_is_not_ours(through, server, bucket, tmp_path, write):
    """The first request never arrives, and before the second one somebody else is faster."""

    def faster(method, target):
        if visible_writes(method, target):
            server.admin.put_object(Bucket=bucket, Key="x", Body=b"theirs")
            return "write"
        return None

    hook = Times(Refusal("500 Internal Server Error", "InternalError"), faster)
    with pytest.raises(AlreadyExists):
        write(through(hook), f"{bucket}/x", tmp_path)
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == b"theirs"
    assert not server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.slow
def test_the_same_parts_of_somebody_else_are_not_ours(through, fs, server, bucket):
    """Only the upload tells them apart: ours is still there."""

    def faster(method, target):
        if method == "POST" and "uploadId" in target:
            fs.pipe_file(f"{bucket}/x", LARGE, chunksize=5 * MIB)
            return "write"
        return None

    with pytest.raises(AlreadyExists):
        by_pipe_in_parts(
            through(Times(Refusal("500 Internal Server Error", "InternalError"), faster)), f"{bucket}/x", None
        )
    assert not server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.parametrize("write", [by_pipe_in_parts, by_pipe], ids=["parts", "whole"])
@pytest.mark.parametrize(("name", "encryption"), [("minio", SseKms()), ("seaweedfs", SseC(bytes(range(32))))])
def test_where_an_etag_is_no_digest(request, name, encryption, write):
    """KMS on MinIO, a customer's key on SeaweedFS; which has no KMS, and MinIO wants TLS for SSE-C."""
    from tierlake.connector import LakeFileSystem

    rig = request.getfixturevalue(name)
    bucket = rig.make_bucket()
    with Proxy(rig.endpoint_url, before=Times(LostReply(reset=True), visible_writes)) as proxy:
        options = {**rig.storage_options, "endpoint_url": proxy.url, "encryption": encryption}
        write(LakeFileSystem(**options, skip_instance_cache=True), f"{bucket}/x", None)
    assert rig.keys(bucket) == ["x"]
    rig.drop_bucket(bucket)


def test_an_unconditional_completion_whose_reply_was_lost(through, server, bucket):
    """MinIO answers the second request with NoSuchUpload."""
    through(Times(LostReply(), visible_writes)).pipe_file(f"{bucket}/x", LARGE, chunksize=5 * MIB)
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == LARGE


def test_a_replacement_whose_reply_was_lost_is_ours(through, fs, bucket):
    etag = fs.put_if(f"{bucket}/x", b"old", if_none_match=True)
    new = through(Times(LostReply(), visible_writes)).put_if(f"{bucket}/x", b"new", if_match=etag)
    assert fs.read_with_etag(f"{bucket}/x") == (b"new", new)


def read_cat(fs, path, folder):
    return fs.cat_file(path)


def read_cat_in_ranges(fs, path, folder):
    return fs.cat_file(path, chunksize=64 * KIB)


def read_some(fs, path, folder):
    return BYTES[:3] + fs.cat_file(path, start=3, end=-5) + BYTES[-5:]


def read_get(fs, path, folder):
    fs.get_file(path, str(folder / "local"))
    return (folder / "local").read_bytes()


def read_get_in_ranges(fs, path, folder):
    fs.get_file(path, str(folder / "local"), chunksize=64 * KIB)
    return (folder / "local").read_bytes()


def read_open(fs, path, folder):
    with fs.open(path, "rb", block_size=64 * KIB) as file:
        return b"".join(iter(lambda: file.read(100 * KIB), b""))


def read_with_etag(fs, path, folder):
    data, etag = fs.read_with_etag(path)
    assert etag == fs.info(path)["ETag"].strip('"')
    return data


def read_streamed(fs, path, folder):
    from fsspec.asyn import sync

    async def pieces():
        file = await fs.open_async(path)
        found = []
        while piece := await file.read(100 * KIB):
            found.append(piece)
        return b"".join(found)

    return sync(fs.loop, pieces)


READS = [
    read_cat,
    read_cat_in_ranges,
    read_some,
    read_get,
    read_get_in_ranges,
    read_open,
    read_with_etag,
    read_streamed,
]


@each("read", READS, quick=READS)
@pytest.mark.parametrize("answer", [Cut(), pytest.param(Cut(reset=True), marks=pytest.mark.slow)])
def test_a_body_that_breaks_off_is_read_on(through, server, bucket, tmp_path, read, answer):
    server.admin.put_object(Bucket=bucket, Key="x", Body=BYTES)
    hook = Times(answer, gets, times=3)
    assert read(through(hook), f"{bucket}/x", tmp_path) == BYTES
    assert hook.given == {"get": 3}, "the fault was played"


@each("read", READS, quick=[read_get_in_ranges, read_open])
def test_a_body_that_always_breaks_off_is_an_error(through, server, bucket, tmp_path, read):
    server.admin.put_object(Bucket=bucket, Key="x", Body=BYTES)
    fs = through(Times(Cut(), gets, times=1000), max_retries=1)
    with pytest.raises(EndpointUnreachable, match="broke off"):
        read(fs, f"{bucket}/x", tmp_path)


@each("read", READS, quick=[read_cat_in_ranges, read_get_in_ranges, read_with_etag])
def test_an_object_replaced_while_its_body_is_read_is_no_mixture(through, server, bucket, tmp_path, read):
    server.admin.put_object(Bucket=bucket, Key="x", Body=BYTES)

    def replaced(method, target):
        group = gets(method, target)
        with turn:
            if group and hook.given and len(server.keys(bucket)) == 1:
                server.admin.put_object(Bucket=bucket, Key="x", Body=b"another")
                server.admin.put_object(Bucket=bucket, Key="done", Body=b"")
        return group

    turn, hook = threading.Lock(), Times(Cut(), replaced, times=1)
    with pytest.raises((FileExpired, PreconditionFailed)):
        read(through(hook), f"{bucket}/x", tmp_path)


def test_a_listing_that_breaks_off_is_asked_again_or_named(through, server, bucket):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"1")
    listings = lambda method, target: "list" if "list-type" in target else None  # noqa: E731 -- a hook
    assert through(Times(Cut(), listings, times=2)).ls(bucket) == [f"{bucket}/x"]
    with pytest.raises(EndpointUnreachable, match="closed before"):
        through(Times(Cut(), listings, times=1000), max_retries=1).ls(bucket)
