"""A transition changes the class and nothing else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from connector import LakeFileSystem, SseC, SseKms
from connector.errors import ObjectNotFound, PreconditionFailed, ServerError, UnsupportedByServer

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


def test_a_multipart_object(fs, server, bucket, other_class):
    fs.pipe_file(f"{bucket}/x", b"x" * (11 * MIB), chunksize=5 * MIB, **DESCRIBED)
    before = facts(server, bucket, "x")
    assert fs.transition(f"{bucket}/x", storage_class=other_class).changed
    assert facts(server, bucket, "x") == before


def test_beyond_the_limit_of_one_copy_it_goes_in_parts(fs, server, bucket, other_class, monkeypatch):
    monkeypatch.setattr("connector.transition.COPY_BYTES_MAX", 10 * MIB)
    monkeypatch.setattr("connector.copying.PART_BYTES", 5 * MIB)
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
    plain = fs.seam._request

    async def interrupted(operation, request):
        if operation == "copy_object":
            await asyncio.to_thread(server.admin.put_object, Bucket=bucket, Key="x", Body=b"new")
        return await plain(operation, request)

    monkeypatch.setattr(fs.seam, "_request", interrupted)
    with pytest.raises(PreconditionFailed):
        fs.transition(f"{bucket}/x", storage_class=other_class)
    assert server.admin.get_object(Bucket=bucket, Key="x")["Body"].read() == b"new"


def test_an_object_that_changes_while_its_parts_are_copied(fs, server, bucket, other_class, monkeypatch):
    monkeypatch.setattr("connector.transition.COPY_BYTES_MAX", 10 * MIB)
    monkeypatch.setattr("connector.copying.PART_BYTES", 5 * MIB)
    fs.pipe_file(f"{bucket}/x", b"x" * (11 * MIB))
    plain = fs.seam._request

    async def interrupted(operation, request):
        if operation == "upload_part_copy" and request["PartNumber"] == 1:
            await asyncio.to_thread(server.admin.put_object, Bucket=bucket, Key="x", Body=b"new")
        return await plain(operation, request)

    monkeypatch.setattr(fs.seam, "_request", interrupted)
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
        "copying.SINGLE_COPY_BYTES": 6,
        "transition.COPY_BYTES_MAX": 10,
        "copying.PART_BYTES": 5,
    }.items():
        monkeypatch.setattr(f"connector.{name}", limit * MIB)
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
        monkeypatch.setattr("connector.transition.COPY_BYTES_MAX", 5 * MIB)
    fs.pipe_file(f"{bucket}/x", b"1" * size)
    written = fs.transition(f"{bucket}/x", storage_class=other_class).written
    (info,) = fs.find(bucket, detail=True, refresh=True).values()
    assert written is not None
    assert written.etag == info["ETag"].strip('"')
    assert written.modified.replace(microsecond=0) == info["LastModified"].replace(microsecond=0)
    assert fs.transition(f"{bucket}/x", storage_class=other_class).written is None


def test_what_took_the_copys_place_is_not_taken_for_it(fs, server, bucket, other_class, monkeypatch):
    fs.pipe_file(f"{bucket}/x", b"1")
    send = fs.seam.send

    async def overtaken(operation, **parameters):
        response = await send(operation, **parameters)
        if operation == "copy_object":
            await asyncio.to_thread(
                server.admin.put_object, Bucket=bucket, Key="x", Body=b"2", StorageClass=other_class
            )
        return response

    monkeypatch.setattr(fs.seam, "send", overtaken)
    with contextlib.suppress(ServerError):  # the other object may differ in what is said of it too
        assert fs.transition(f"{bucket}/x", storage_class=other_class).written is None
    assert fs.cat_file(f"{bucket}/x") == b"2"
