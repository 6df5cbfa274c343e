"""A transition changes the class and nothing else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.connector import LakeFileSystem, SseC, SseKms
from tierlake.connector.client.transport import Transport
from tierlake.connector.errors import LakeError, ObjectNotFound, PreconditionFailed, ServerError, UnsupportedByServer
from tierlake.connector.objects.copied_version import COPIED_FROM

pytestmark = pytest.mark.each_value

MIB = 2**20
DESCRIBED = {
    "ContentType": "application/vnd.apache.parquet",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'attachment; filename="x"',
    "ContentEncoding": "zstd",
    "ContentLanguage": "en",
    "Metadata": {"rows": "336776", "origin": "jfk"},
}


def facts(server, bucket, key, **which):
    head = server.admin.head_object(Bucket=bucket, Key=key, **which)
    names = (*DESCRIBED, "ContentLength", "ServerSideEncryption", "SSEKMSKeyId")
    return {name: head.get(name) for name in names}


def test_everything_else_stays(fs, server, bucket, other_class):
    path = f"{bucket}/date=2013-01-01/x.parquet"
    fs.pipe_file(path, b"some bytes", **DESCRIBED, Tagging="a=1&b=x%20y")
    before = facts(server, bucket, "date=2013-01-01/x.parquet")
    result = fs.transition(f"lake://{path}", storage_class=other_class)
    assert (result.path, result.from_class, result.to_class) == (path, "STANDARD", other_class)
    assert (result.changed, result.size, result.deleted_version) == (True, 10, None)
    assert facts(server, bucket, "date=2013-01-01/x.parquet") == before
    assert fs.head_object(path)["StorageClass"] == other_class
    assert fs.get_tags(path) == {"a": "1", "b": "x y"}
    assert fs.cat_file(path) == b"some bytes"
    assert {entry["StorageClass"] for entry in fs.ls(f"{bucket}/date=2013-01-01", detail=True)} == {other_class}


def test_tags_are_looked_at_only_where_a_copy_may_lose_them(fs, make_fs, make_bucket, bucket, other_class, monkeypatch):
    requests = []
    request = Transport.request

    async def noted(self, operation, *arguments):
        requests.append(operation)
        return await request(self, operation, *arguments)

    monkeypatch.setattr(Transport, "request", noted)
    careful = make_fs(profile="ceph")  # which is not known to keep them
    for mover, place, looks in ((fs, bucket, 0), (careful, bucket, 1), (fs, make_bucket(versioned=True), 1)):
        path = f"{place}/x{looks}"
        mover.pipe_file(path, b"x", Tagging="a=1&b=x%20y")
        requests.clear()
        mover.transition(path, storage_class=other_class)
        assert requests.count("get_object_tagging") == looks
        assert requests.count("head_object") == 2
        assert mover.get_tags(path) == {"a": "1", "b": "x y"}


def test_twice_is_once(fs, bucket, other_class):
    fs.pipe_file(f"{bucket}/x", b"1")
    fs.transition(f"{bucket}/x", storage_class=other_class)
    again = fs.transition(f"{bucket}/x", storage_class=other_class)
    assert (again.changed, again.from_class, again.to_class) == (False, other_class, other_class)


def test_and_back(fs, server, bucket, other_class):
    fs.pipe_file(f"{bucket}/x", b"1", **DESCRIBED)
    before = facts(server, bucket, "x")
    fs.transition(f"{bucket}/x", storage_class=other_class)
    assert fs.transition(f"{bucket}/x", storage_class="STANDARD").changed
    assert facts(server, bucket, "x") == before
    assert fs.head_object(f"{bucket}/x").get("StorageClass", "STANDARD") == "STANDARD"


def test_what_was_in_clear_stays_in_clear(fs, server, bucket, other_class):
    """A transition is no way to change encryption: it keeps what the object has."""
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"1")
    fs.transition(f"{bucket}/x", storage_class=other_class)
    assert "ServerSideEncryption" not in server.admin.head_object(Bucket=bucket, Key="x")


@pytest.mark.slow
def test_a_multipart_object(fs, server, bucket, other_class):
    fs.pipe_file(f"{bucket}/x", b"x" * (11 * MIB), chunksize=5 * MIB, **DESCRIBED)
    before = facts(server, bucket, "x")
    assert fs.transition(f"{bucket}/x", storage_class=other_class).changed
    assert facts(server, bucket, "x") == before


@pytest.mark.slow
def test_beyond_the_limit_of_one_copy_it_goes_in_parts(fs, server, bucket, other_class, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.transition.COPY_BYTES_MAX", 10 * MIB)
    monkeypatch.setattr("tierlake.connector.objects.copy.PART_BYTES", 5 * MIB)
    fs.pipe_file(f"{bucket}/x", bytes(range(256)) * (11 * 4096), **DESCRIBED, Tagging="a=1")
    before = facts(server, bucket, "x")
    assert fs.transition(f"{bucket}/x", storage_class=other_class).changed
    assert facts(server, bucket, "x") == before
    assert fs.get_tags(f"{bucket}/x") == {"a": "1"}
    assert fs.head_object(f"{bucket}/x")["ETag"].endswith('-3"')
    assert fs.cat_file(f"{bucket}/x") == bytes(range(256)) * (11 * 4096)


def test_on_a_versioned_bucket_the_source_version_goes(fs, make_bucket, other_class):
    bucket = make_bucket(versioned=True)
    fs.pipe_file(f"{bucket}/x", b"older")
    fs.pipe_file(f"{bucket}/x", b"newer")
    older, newer = sorted(fs.object_versions(f"{bucket}/x"), key=lambda version: version.is_latest)
    result = fs.transition(f"{bucket}/x", storage_class=other_class)
    assert result.deleted_version == newer.version_id
    left = {version.version_id: version.storage_class for version in fs.object_versions(f"{bucket}/x")}
    assert newer.version_id not in left
    assert left.pop(older.version_id) == "STANDARD"
    assert list(left.values()) == [other_class]
    assert fs.cat_file(f"{bucket}/x") == b"newer"


def test_what_was_written_before_versioning_goes_too(fs, make_bucket, other_class):
    bucket = make_bucket()
    fs.pipe_file(f"{bucket}/x", b"1")
    fs.make_bucket_versioned(bucket)
    assert fs.transition(f"{bucket}/x", storage_class=other_class).deleted_version == "null"
    assert [version.storage_class for version in fs.object_versions(f"{bucket}/x")] == [other_class]


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [pytest.param(5, marks=pytest.mark.soak, id="one part"), pytest.param(11 * 2**20, id="parts")]
)
def test_one_that_was_interrupted_leaves_one_copy(server, make_fs, make_bucket, other_class, size):
    """Wherever it ended: run again, it deletes just the version that it had copied, and no tag stays."""
    bucket = make_bucket(versioned=True)
    plain = make_fs(rules=[{"match": "*", "tags": {"a": "1"}}])
    for number in range(12):
        path = f"{bucket}/x{number}"
        plain.pipe_file(path, b"older")
        plain.pipe_file(path, b"n" * size, chunksize=5 * 2**20)
        older = next(one for one in plain.object_versions(path) if one.path == path and not one.is_latest)
        counted = []

        def refuse(request, counted=counted, number=number):
            counted.append(request)
            return Refusal("403 Forbidden", "AccessDenied") if len(counted) > number else None

        with Proxy(server.endpoint_url, before=refuse) as proxy:
            through = make_fs(endpoint_url=proxy.url)
            try:
                through.transition(path, storage_class=other_class)
            except LakeError:
                is_done = False
            else:
                is_done = True
        plain.transition(path, storage_class=other_class)
        versions = [one for one in plain.object_versions(path) if one.path == path]
        assert [(one.size, one.storage_class) for one in versions] == [(size, other_class), (5, "STANDARD")], number
        assert older in versions
        assert plain.get_tags(path) == {"a": "1"}
        if is_done:
            break
    assert is_done
    assert number > 4


def test_a_version_of_the_same_bytes_is_no_source(fs, server, make_bucket, other_class):
    """Somebody wrote them twice, into two classes: both are history."""
    bucket = make_bucket(versioned=True)
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"1", ServerSideEncryption="AES256")
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"1", ServerSideEncryption="AES256", StorageClass=other_class)
    assert not fs.transition(f"{bucket}/x", storage_class=other_class).changed
    assert len(fs.object_versions(f"{bucket}/x")) == 2


def test_a_mark_that_came_along_to_another_key_deletes_nothing(fs, server, make_bucket, other_class):
    bucket = make_bucket(versioned=True)
    fs.pipe_file(f"{bucket}/y", b"2")
    fs.pipe_file(f"{bucket}/y", b"1")
    first, last = sorted(fs.object_versions(f"{bucket}/y"), key=lambda one: one.is_latest)
    for version, etag in ((first.version_id, last.etag), ("null", last.etag), (last.version_id, last.etag)):
        mark = [{"Key": COPIED_FROM, "Value": f"{version} {etag}"}]
        server.admin.put_object_tagging(Bucket=bucket, Key="y", Tagging={"TagSet": mark})
        result = fs.transition(f"{bucket}/y", storage_class="STANDARD")
        assert (result.changed, result.deleted_version) == (False, None)
        assert fs.get_tags(f"{bucket}/y") == {}
    assert len(fs.object_versions(f"{bucket}/y")) == 2


def test_the_condition(fs, bucket, other_class):
    etag = fs.put_if(f"{bucket}/x", b"1", if_none_match=True)
    fs.put_if(f"{bucket}/x", b"2", if_match=etag)
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/x", storage_class=other_class, if_match=etag)
    assert fs.head_object(f"{bucket}/x").get("StorageClass", "STANDARD") == "STANDARD"
    assert fs.cat_file(f"{bucket}/x") == b"2"


def test_an_object_that_changes_meanwhile_is_left_alone(fs, server, bucket, other_class, monkeypatch):
    """Between the look and the copy somebody writes: the copy's precondition notices."""
    fs.pipe_file(f"{bucket}/x", b"old")
    plain = fs.store.gateway._request

    async def interrupted(operation, request):
        if operation == "copy_object":
            await asyncio.to_thread(server.admin.put_object, Bucket=bucket, Key="x", Body=b"new")
        return await plain(operation, request)

    monkeypatch.setattr(fs.store.gateway, "_request", interrupted)
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/x", storage_class=other_class)
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == b"new"


def test_an_object_that_changes_while_its_parts_are_copied(fs, server, bucket, other_class, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.transition.COPY_BYTES_MAX", 10 * MIB)
    monkeypatch.setattr("tierlake.connector.objects.copy.PART_BYTES", 5 * MIB)
    fs.pipe_file(f"{bucket}/x", b"x" * (11 * MIB))
    plain = fs.store.gateway._request

    async def interrupted(operation, request):
        if operation == "upload_part_copy" and request["PartNumber"] == 1:
            await asyncio.to_thread(server.admin.put_object, Bucket=bucket, Key="x", Body=b"new")
        return await plain(operation, request)

    monkeypatch.setattr(fs.store.gateway, "_request", interrupted)
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/x", storage_class=other_class)
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == b"new"
    assert not server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_what_cannot_be(fs, bucket):
    with pytest.raises(UnsupportedByServer, match="Use instead"):
        fs.transition(f"{bucket}/x", storage_class="STANDARDIA")
    with pytest.raises(ObjectNotFound):
        fs.transition(f"{bucket}/x", storage_class="STANDARD")


def test_sse_kms_stays(minio, monkeypatch):
    bucket = minio.make_bucket()
    fs = LakeFileSystem(**minio.storage_options, encryption=SseKms(), skip_instance_cache=True)
    try:
        fs.pipe_file(f"{bucket}/x", b"1")
        before = facts(minio, bucket, "x")
        assert before["ServerSideEncryption"] == "aws:kms"
        fs.transition(f"{bucket}/x", storage_class="REDUCED_REDUNDANCY")
        assert facts(minio, bucket, "x") == before
    finally:
        minio.drop_bucket(bucket)


@pytest.mark.parametrize("server", ["seaweedfs", pytest.param("minio_tls", marks=pytest.mark.slow)], indirect=True)
def test_sse_c_stays(server, bucket, other_class):
    key = SseC(b"0123456789abcdef" * 2)
    fs = LakeFileSystem(**server.storage_options, encryption=key, skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/x", b"secret bytes")
    fs.transition(f"{bucket}/x", storage_class=other_class)
    head = server.admin.head_object(Bucket=bucket, Key="x", **key.headers())
    assert (head["SSECustomerAlgorithm"], head["StorageClass"]) == ("AES256", other_class)
    assert fs.cat_file(f"{bucket}/x") == b"secret bytes"


@pytest.mark.parametrize("server", ["seaweedfs", pytest.param("minio_tls", marks=pytest.mark.slow)], indirect=True)
def test_a_large_object_with_a_customers_key(server, bucket, other_class, monkeypatch):
    """SeaweedFS copies no part of one: whole copies go on beyond s3fs's limit, and what is too large is named."""
    for name, limit in {
        "copy.SINGLE_COPY_BYTES": 6,
        "transition.COPY_BYTES_MAX": 10,
        "copy.PART_BYTES": 5,
    }.items():
        monkeypatch.setattr(f"tierlake.connector.objects.{name}", limit * MIB)
    encryption = SseC(b"0123456789abcdef" * 2)
    fs = LakeFileSystem(**server.storage_options, encryption=encryption, skip_instance_cache=True)
    data = b"secret bytes" * MIB
    fs.pipe_file(f"{bucket}/x", data)
    fs.copy(f"{bucket}/x", f"{bucket}/y")
    assert fs.cat_file(f"{bucket}/y") == data
    if fs.profile.sse_c_part_copies:
        assert fs.transition(f"{bucket}/y", storage_class=other_class).to_class == other_class
        assert fs.cat_file(f"{bucket}/y") == data
    else:
        with pytest.raises(UnsupportedByServer, match="copying parts"):
            fs.transition(f"{bucket}/y", storage_class=other_class)


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_the_copy_is_known_as_listings_show_it(fs, bucket, other_class, monkeypatch, size):
    """By ETag and time; in one request or in parts."""
    if size > MIB:
        monkeypatch.setattr("tierlake.connector.objects.transition.COPY_BYTES_MAX", 5 * MIB)
    fs.pipe_file(f"{bucket}/x", b"1" * size)
    written = fs.transition(f"{bucket}/x", storage_class=other_class).written
    (info,) = fs.find(bucket, detail=True, refresh=True).values()
    assert written is not None
    assert written.etag == info["ETag"].strip('"')
    assert written.modified.replace(microsecond=0) == info["LastModified"].replace(microsecond=0)
    assert fs.transition(f"{bucket}/x", storage_class=other_class).written is None


def test_what_took_the_copys_place_is_not_taken_for_it(fs, server, bucket, other_class, monkeypatch):
    fs.pipe_file(f"{bucket}/x", b"1")
    send = fs.store.gateway.send_in_place

    async def overtaken(operation, **parameters):
        response = await send(operation, **parameters)
        if operation == "copy_object":
            await asyncio.to_thread(
                server.admin.put_object, Bucket=bucket, Key="x", Body=b"2", StorageClass=other_class
            )
        return response

    monkeypatch.setattr(fs.store.gateway, "send_in_place", overtaken)
    with contextlib.suppress(ServerError):  # the other object may differ in what is said of it too
        assert fs.transition(f"{bucket}/x", storage_class=other_class).written is None
    assert fs.cat_file(f"{bucket}/x") == b"2"


@pytest.mark.parametrize("versioned", [False, True], ids=["unversioned", "versioned"])
def test_an_exclusive_move_never_overwrites_what_came_meanwhile(
    fs, server, make_bucket, other_class, monkeypatch, versioned
):
    bucket = make_bucket(versioned=versioned)
    path = f"{bucket}/k"
    fs.pipe_file(path, b"old")
    send, came = fs.store.gateway.send_in_place, []

    async def late(operation, **parameters):
        if operation in {"copy_object", "put_object"} and not came:
            came.append(server.admin.put_object(Bucket=bucket, Key="k", Body=b"new"))
        return await send(operation, **parameters)

    monkeypatch.setattr(fs.store.gateway, "send_in_place", late)
    with pytest.raises(PreconditionFailed):
        fs.transition(path, storage_class=other_class, exclusive=True)
    assert len(came) == 1
    assert fs.cat_file(path) == b"new"
    assert fs.info(path)["StorageClass"] == "STANDARD"


def test_an_exclusive_move_keeps_what_a_copy_keeps(fs, bucket, other_class):
    path = f"{bucket}/k"
    fs.pipe_file(path, b"1", Metadata={"a": "b"}, ContentType="text/x", Tagging="team=red")
    result = fs.transition(path, storage_class=other_class, exclusive=True)
    assert (result.changed, result.to_class) == (True, other_class)
    head = fs.head_object(path)
    assert (head["StorageClass"], head["Metadata"], head["ContentType"]) == (other_class, {"a": "b"}, "text/x")
    assert fs.get_tags(path) == {"team": "red"}
    assert fs.cat_file(path) == b"1"
    assert fs.encryption_faults([path]) == {}


def test_an_exclusive_move_of_a_large_object_is_a_copy_in_parts(fs, bucket, other_class, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.transition._WRITTEN_BACK_MAX", 2)
    fs.pipe_file(f"{bucket}/k", b"123", Metadata={"a": "b"}, Tagging="team=red")
    assert fs.transition(f"{bucket}/k", storage_class=other_class, exclusive=True).to_class == other_class
    head = fs.head_object(f"{bucket}/k")
    assert (head["StorageClass"], head["Metadata"], fs.cat_file(f"{bucket}/k")) == (other_class, {"a": "b"}, b"123")
    assert fs.get_tags(f"{bucket}/k") == {"team": "red"}
    assert fs.encryption_faults([f"{bucket}/k"]) == {}


def test_and_its_end_never_overwrites_what_came_meanwhile(fs, server, bucket, other_class, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.transition._WRITTEN_BACK_MAX", 2)
    fs.pipe_file(f"{bucket}/k", b"old")
    send, came = fs.store.gateway.send, []

    async def late(operation, **parameters):
        if operation == "complete_multipart_upload":
            came.append(server.admin.put_object(Bucket=bucket, Key="k", Body=b"new"))
        return await send(operation, **parameters)

    monkeypatch.setattr(fs.store.gateway, "send", late)
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/k", storage_class=other_class, exclusive=True)
    assert len(came) == 1
    assert (fs.cat_file(f"{bucket}/k"), fs.info(f"{bucket}/k")["StorageClass"]) == (b"new", "STANDARD")
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_where_nothing_makes_a_large_move_exclusive_it_is_refused(server, bucket, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.transition._WRITTEN_BACK_MAX", 2)
    fs = LakeFileSystem(**{**server.storage_options, "profile": "ceph"}, encryption="none", skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/k", b"123")
    with pytest.raises(UnsupportedByServer, match="keeps versions"):
        fs.transition(f"{bucket}/k", storage_class="REDUCED_REDUNDANCY", exclusive=True)
    assert fs.info(f"{bucket}/k")["StorageClass"] == "STANDARD"
