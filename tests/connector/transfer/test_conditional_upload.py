"""Local files as objects, under a condition: small ones in one request, large ones in parts."""

from __future__ import annotations

import pytest

from tierlake.connector import LakeFileSystem, SseC
from tierlake.connector.errors import AlreadyExists, PreconditionFailed, UnsupportedByServer

pytestmark = pytest.mark.each_value

MIB = 1 << 20
FIRST, SECOND = b"1" * (9 * MIB), b"2" * (10 * MIB)


@pytest.fixture
def local(tmp_path):
    def write(data):
        (tmp_path / "local").write_bytes(data)
        return str(tmp_path / "local")

    return write


@pytest.fixture(params=["in-one-request", "in-parts"])
def way(request, monkeypatch):
    if request.param == "in-parts":
        monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 0)
    return request.param


def test_a_file_is_written_under_its_condition(fs, bucket, local, way):
    path = f"{bucket}/x"
    first = fs.put_file_if(local(FIRST), path, if_none_match=True)
    assert first == fs.head_object(path)["ETag"].strip('"')
    second = fs.put_file_if(local(SECOND), path, if_match=first)
    assert fs.cat_file(path) == SECOND
    with pytest.raises(AlreadyExists):
        fs.put_file_if(local(FIRST), path, if_none_match=True)
    with pytest.raises(PreconditionFailed):
        fs.put_file_if(local(FIRST), path, if_match=first)
    with pytest.raises(PreconditionFailed):
        fs.put_file_if(local(FIRST), f"{bucket}/missing", if_match=second)
    assert fs.cat_file(path) == SECOND
    assert not fs.exists(f"{bucket}/missing")
    assert fs.encryption_faults([path]) == {}
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_what_came_while_the_parts_went_up_stays(fs, server, bucket, local, monkeypatch):
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 0)
    etag = fs.put_if(f"{bucket}/x", b"old", if_none_match=True)
    call = fs.store.gateway.call

    async def late(operation, *options, **parameters):
        if operation == "complete_multipart_upload":
            server.admin.put_object(Bucket=bucket, Key="x", Body=b"new")
        return await call(operation, *options, **parameters)

    monkeypatch.setattr(fs.store.gateway, "call", late)
    with pytest.raises(PreconditionFailed):
        fs.put_file_if(local(FIRST), f"{bucket}/x", if_match=etag)
    assert fs.cat_file(f"{bucket}/x") == b"new"
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_an_upload_that_somebody_aborted_is_no_failed_condition(fs, bucket, local, monkeypatch):
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 0)
    etag = fs.put_if(f"{bucket}/x", b"old", if_none_match=True)
    call = fs.store.gateway.call

    async def aborted(operation, *options, **parameters):
        if operation == "complete_multipart_upload":
            which = {name: parameters[name] for name in ("Bucket", "Key", "UploadId")}
            await fs.store.gateway.send("abort_multipart_upload", **which)
        return await call(operation, *options, **parameters)

    monkeypatch.setattr(fs.store.gateway, "call", aborted)
    with pytest.raises(FileNotFoundError):
        fs.put_file_if(local(FIRST), f"{bucket}/x", if_match=etag)
    assert fs.cat_file(f"{bucket}/x") == b"old"


def test_where_the_end_of_an_upload_takes_no_condition_large_files_are_refused(server, bucket, local, monkeypatch):
    monkeypatch.setattr("tierlake.connector.transfer.conditional_upload.SINGLE_PUT_BYTES", 9 * MIB)
    fs = LakeFileSystem(**{**server.storage_options, "profile": "ceph"}, encryption="none", skip_instance_cache=True)
    etag = fs.put_file_if(local(FIRST), f"{bucket}/x", if_none_match=True)
    with pytest.raises(UnsupportedByServer, match="smaller partitions"):
        fs.put_file_if(local(SECOND), f"{bucket}/x", if_match=etag)
    assert fs.cat_file(f"{bucket}/x") == FIRST


@pytest.mark.parametrize("conditions", [{}, {"if_match": "x", "if_none_match": True}])
def test_there_is_just_one_condition(fs, bucket, local, conditions):
    with pytest.raises(ValueError, match="exactly one"):
        fs.put_file_if(local(b"1"), f"{bucket}/x", **conditions)


@pytest.mark.parametrize("server", ["seaweedfs", pytest.param("minio_tls", marks=pytest.mark.slow)], indirect=True)
def test_under_a_customers_key(server, bucket, local, way):
    encryption = SseC(b"0123456789abcdef" * 2)
    fs = LakeFileSystem(**server.storage_options, encryption=encryption, skip_instance_cache=True)
    first = fs.put_file_if(local(FIRST), f"{bucket}/x", if_none_match=True)
    fs.put_file_if(local(SECOND), f"{bucket}/x", if_match=first)
    assert fs.cat_file(f"{bucket}/x") == SECOND
    with pytest.raises(PreconditionFailed):
        fs.put_file_if(local(FIRST), f"{bucket}/x", if_match=first)
    with pytest.raises(AlreadyExists):
        fs.put_file_if(local(FIRST), f"{bucket}/x", if_none_match=True)
