"""What a reader may: all that changes nothing, and nothing else, tried request by request and method by method."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import botocore.session
import pytest

from tests.servers.roles import with_role
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import LakeError
from tierlake.connector.objects.bulk import NewObject, TierTag, Transition
from tierlake.connector.objects.delete import SeenObject
from tierlake.connector.objects.multipart import IncompleteUpload

pytestmark = pytest.mark.each_value

MODEL = botocore.session.get_session().get_service_model("s3")
READING = ("Get", "List", "Head", "Select", "CreateSession", "WriteGetObjectResponse")


def value(shape):
    """Something that a parameter of this shape may be."""
    kinds = {"boolean": True, "integer": 1, "long": 1, "timestamp": "2030-01-01", "blob": b"x", "map": {}}
    if shape.type_name == "structure":
        needed = shape.required_members or list(shape.members)[:1]
        return {name: value(shape.members[name]) for name in needed}
    if shape.type_name == "list":
        return [value(shape.member)]
    return kinds[shape.type_name] if shape.type_name in kinds else (shape.enum or ["x"])[0]


def changing_requests(bucket):
    """Every operation of S3 that is not for reading, with parameters that will do."""
    for name in MODEL.operation_names:
        if not name.startswith(READING):
            needed = value(MODEL.operation_model(name).input_shape)
            fixed = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "k"}}
            if name == "DeleteObjects":
                fixed["Delete"] = {"Objects": [{"Key": "k"}]}
            yield name, {**needed, **{key: fixed[key] for key in fixed.keys() & needed.keys()}, "Bucket": bucket}


def outcome(fs, operation, parameters):
    """What came of it: an error, or the response."""
    try:
        return fs.call_s3(re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), **parameters)
    except LakeError as error:
        return error


@pytest.fixture
def reader(server, bucket, tmp_path):
    """A filesystem with a reader's rights on a bucket that holds an object in clear."""
    server.admin.put_object(Bucket=bucket, Key="k", Body=b"bytes")
    rig = with_role(server, "reader", tmp_path, bucket)
    return LakeFileSystem(**rig.storage_options, skip_instance_cache=True)


def state(server, bucket):
    head = server.admin.head_object(Bucket=bucket, Key="k")
    tags = server.admin.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    versioning = server.admin.get_bucket_versioning(Bucket=bucket).get("Status")
    return server.keys(bucket), head["ETag"], head["LastModified"], tags, versioning


def test_every_request_that_changes_something_is_refused(reader, fs, server, bucket):
    """Except what the server does not have: that fails for its administrator in the same way."""
    before = state(server, bucket)
    lacking = set()
    for name, parameters in changing_requests(bucket):
        found = outcome(reader, name, parameters)
        if name == "DeleteObjects":  # always a 200, with the errors in it
            assert [error["Code"] for error in found["Errors"]] == ["AccessDenied"]
        elif not isinstance(found, PermissionError):
            theirs = outcome(fs, name, parameters)
            same = (type(theirs), getattr(theirs, "server_code", None))
            assert (type(found), getattr(found, "server_code", None)) == same, f"{name}: {found}, {theirs}"
            lacking.add(name)
        else:
            assert isinstance(found, LakeError), name
            assert found.request_id, name
    assert state(server, bucket) == before
    assert not [name for name in lacking if name.startswith(("PutObjectT", "PutBucketPol", "DeleteObject", "Copy"))]
    assert len(lacking) < 25, "MinIO lacks 18 that are not for objects, and does nothing for DeleteBucketWebsite"


def opened_for_writing(fs, path):
    with fs.open(path, "wb") as file:
        file.write(b"bytes")


LONG_AGO = datetime(2013, 1, 1, tzinfo=UTC)

# Method -> the call, with the filesystem, an object that is there, a bucket, a local file.


def only(outcomes):
    ((_, one),) = outcomes
    return one


REFUSED = {
    "abort_incomplete_uploads": lambda fs, path, bucket, local: fs.abort_incomplete_uploads(bucket, older_than="1d"),
    "abort_uploads": lambda fs, path, bucket, local: fs.abort_uploads([IncompleteUpload(path, "no-upload", LONG_AGO)]),
    "abort_mpu": lambda fs, path, bucket, local: fs.abort_mpu(bucket, "k", "no-upload"),
    "bring_back": lambda fs, path, bucket, local: fs.bring_back(
        path, version_id="null", etag=fs.head_object(path)["ETag"]
    ),
    "call_s3": lambda fs, path, bucket, local: fs.call_s3("put_bucket_policy", Bucket=bucket, Policy="{}"),
    "chmod": lambda fs, path, bucket, local: fs.chmod(path, acl="private"),
    "clear_multipart_uploads": lambda fs, path, bucket, local: fs.clear_multipart_uploads(bucket),
    "copy": lambda fs, path, bucket, local: fs.copy(path, f"{path}2"),
    "cp": lambda fs, path, bucket, local: fs.cp(path, f"{path}2"),
    "cp_file": lambda fs, path, bucket, local: fs.cp_file(path, f"{path}2"),
    "delete": lambda fs, path, bucket, local: fs.delete(path),
    "delete_seen": lambda fs, path, bucket, local: fs.delete_seen([SeenObject(path)]),
    "delete_versions": lambda fs, path, bucket, local: fs.delete_versions(path, ["null"]),
    "get_tags": lambda fs, path, bucket, local: fs.get_tags(path),
    "hide": lambda fs, path, bucket, local: fs.hide(path, etag="0"),
    "has_object_lock": lambda fs, path, bucket, local: fs.has_object_lock(bucket),
    "has_versions": lambda fs, path, bucket, local: fs.has_versions(bucket),
    "is_bucket_versioned": lambda fs, path, bucket, local: fs.is_bucket_versioned(bucket),
    "is_versioned": lambda fs, path, bucket, local: fs.is_versioned(bucket),
    "list_multipart_uploads": lambda fs, path, bucket, local: fs.list_multipart_uploads(bucket),
    "make_bucket_versioned": lambda fs, path, bucket, local: fs.make_bucket_versioned(bucket),
    "merge": lambda fs, path, bucket, local: fs.merge(f"{path}2", [path]),
    "move": lambda fs, path, bucket, local: fs.move(path, f"{path}2"),
    "mv": lambda fs, path, bucket, local: fs.mv(path, f"{path}2"),
    "open": lambda fs, path, bucket, local: opened_for_writing(fs, path),
    "pipe": lambda fs, path, bucket, local: fs.pipe(path, b"x"),
    "pipe_file": lambda fs, path, bucket, local: fs.pipe_file(path, b"x" * (11 * 2**20), chunksize=5 * 2**20),
    "put": lambda fs, path, bucket, local: fs.put(local, path),
    "put_file": lambda fs, path, bucket, local: fs.put_file(local, path),
    "put_file_if": lambda fs, path, bucket, local: fs.put_file_if(local, f"{path}2", if_none_match=True),
    "put_many": lambda fs, path, bucket, local: fs.put_many([NewObject(f"{path}2", b"x")])[0],
    "put_if": lambda fs, path, bucket, local: fs.put_if(f"{path}2", b"x", if_none_match=True),
    "put_tags": lambda fs, path, bucket, local: fs.put_tags(path, {"a": "b"}),
    "reencrypt_many": lambda fs, path, bucket, local: only(fs.reencrypt_many({path: "0"})),
    "reencrypt": lambda fs, path, bucket, local: fs.reencrypt(path),
    "rename": lambda fs, path, bucket, local: fs.rename(path, f"{path}2"),
    "rm": lambda fs, path, bucket, local: fs.rm(path),
    "rm_file": lambda fs, path, bucket, local: fs.rm_file(path),
    "set_legal_hold": lambda fs, path, bucket, local: fs.set_legal_hold([(path, "null")], held=True),
    "setxattr": lambda fs, path, bucket, local: fs.setxattr(path, a="b"),
    "tag_tier": lambda fs, path, bucket, local: fs.tag_tier(path, "cold"),
    "tag_tier_many": lambda fs, path, bucket, local: only(fs.tag_tier_many([TierTag(path, "cold")])),
    "touch": lambda fs, path, bucket, local: fs.touch(path),
    "transition": lambda fs, path, bucket, local: fs.transition(path, storage_class="REDUCED_REDUNDANCY"),
    "transition_many": lambda fs, path, bucket, local: only(
        fs.transition_many([Transition(path, "REDUCED_REDUNDANCY")])
    ),
    "upload": lambda fs, path, bucket, local: fs.upload(local, path),
    "write_bytes": lambda fs, path, bucket, local: fs.write_bytes(path, b"x"),
    "write_text": lambda fs, path, bucket, local: fs.write_text(path, "x"),
}
ALLOWED = {
    "cat": lambda fs, path, bucket, local: fs.cat(path),
    "cat_file": lambda fs, path, bucket, local: fs.cat_file(path),
    "cat_ranges": lambda fs, path, bucket, local: fs.cat_ranges([path], [0], [2]),
    "checksum": lambda fs, path, bucket, local: fs.checksum(path),
    "disk_usage": lambda fs, path, bucket, local: fs.disk_usage(bucket),
    "download": lambda fs, path, bucket, local: fs.download(path, f"{local}2"),
    "du": lambda fs, path, bucket, local: fs.du(bucket),
    "encryption_faults": lambda fs, path, bucket, local: fs.encryption_faults([path]),
    "exists": lambda fs, path, bucket, local: fs.exists(path),
    "expand_path": lambda fs, path, bucket, local: fs.expand_path(f"{bucket}/*"),
    "find": lambda fs, path, bucket, local: fs.find(bucket),
    "first_keys": lambda fs, path, bucket, local: fs.first_keys(f"{bucket}/"),
    "first_keys_many": lambda fs, path, bucket, local: fs.first_keys_many([f"{bucket}/"]) == [[path]],
    "get": lambda fs, path, bucket, local: fs.get(path, f"{local}2"),
    "get_file": lambda fs, path, bucket, local: fs.get_file(path, f"{local}2"),
    "get_mapper": lambda fs, path, bucket, local: dict(fs.get_mapper(bucket)),
    "getxattr": lambda fs, path, bucket, local: fs.getxattr(path, "a") is None,
    "glob": lambda fs, path, bucket, local: fs.glob(f"{bucket}/*"),
    "head": lambda fs, path, bucket, local: fs.head(path, 2),
    "head_object": lambda fs, path, bucket, local: fs.head_object(path),
    "head_many": lambda fs, path, bucket, local: isinstance(fs.head_many([path])[0], dict),
    "info": lambda fs, path, bucket, local: fs.info(path),
    "isdir": lambda fs, path, bucket, local: fs.isdir(bucket),
    "isfile": lambda fs, path, bucket, local: fs.isfile(path),
    "lexists": lambda fs, path, bucket, local: fs.lexists(path),
    "list_fresh": lambda fs, path, bucket, local: path in fs.list_fresh(bucket),
    "listdir": lambda fs, path, bucket, local: fs.listdir(bucket),
    "ls": lambda fs, path, bucket, local: fs.ls(bucket),
    "metadata": lambda fs, path, bucket, local: fs.metadata(path) == {},
    "modified": lambda fs, path, bucket, local: fs.modified(path),
    "read_block": lambda fs, path, bucket, local: fs.read_block(path, 0, 2),
    "read_bytes": lambda fs, path, bucket, local: fs.read_bytes(path),
    "read_text": lambda fs, path, bucket, local: fs.read_text(path),
    "read_with_etag": lambda fs, path, bucket, local: fs.read_with_etag(path),
    "restore_status": lambda fs, path, bucket, local: fs.restore_status(path),
    "restore_status_many": lambda fs, path, bucket, local: fs.restore_status_many([path]),
    "server_time": lambda fs, path, bucket, local: fs.server_time(bucket),
    "size": lambda fs, path, bucket, local: fs.size(path),
    "sizes": lambda fs, path, bucket, local: fs.sizes([path]),
    "object_pages": lambda fs, path, bucket, local: list(fs.object_pages(bucket)),
    "stat": lambda fs, path, bucket, local: fs.stat(path),
    "tail": lambda fs, path, bucket, local: fs.tail(path, 2),
    "tree": lambda fs, path, bucket, local: fs.tree(bucket),
    "ukey": lambda fs, path, bucket, local: fs.ukey(path),
    "walk": lambda fs, path, bucket, local: list(fs.walk(bucket)),
}
DEPENDS = {
    "object_versions",  # on MinIO, who may list may list versions
    "object_versions_many",
    "upload_pages",  # likewise: uploads and versions
    "version_pages",
    "restore",  # nothing is archived on these servers
    "restore_many",
    "rmdir",  # of a full bucket; SeaweedFS would delete it, so that is refused before it is asked
    "unhide",  # nothing is hidden here, which is told by the versions
}
MAKES_BUCKETS = {"makedir", "makedirs", "mkdir", "mkdirs"}
WITHOUT_A_REQUEST = {
    "arrow_filesystem",
    "boto3_client",
    "clear_instance_cache",
    "close_session",
    "connect",
    "created",
    "current",
    "dask_options",
    "delta_options",
    "duckdb_secret",
    "end_transaction",
    "for_table",
    "from_dict",
    "from_json",
    "get_delegated_s3pars",
    "get_s3",
    "invalidate_cache",
    "invalidate_region_cache",
    "invalidate_view",
    "object_version_info",  # only of a filesystem that is aware of versions
    "obstore",
    "open_async",
    "polars_options",
    "presign",
    "presign_post",
    "sender",
    "set_session",
    "sign",
    "spark_conf",
    "split_path",
    "start_transaction",
    "stored_parts_bytes",  # of uploads, and there is none here
    "to_dict",
    "to_json",
    "transaction_type",
    "unstrip_protocol",
    "url",
}
"""Of the store, that is; what they make or sign has no more rights than the reader."""


def test_no_method_is_forgotten():
    methods = {name for name in dir(LakeFileSystem) if name[0] != "_" and callable(getattr(LakeFileSystem, name))}
    assert methods == REFUSED.keys() | ALLOWED.keys() | DEPENDS | MAKES_BUCKETS | WITHOUT_A_REQUEST


def test_every_method_that_changes_something_is_refused(reader, server, bucket, tmp_path):
    (tmp_path / "local").write_bytes(b"local")
    before = state(server, bucket)
    for name, call in REFUSED.items():
        reader.invalidate_cache()
        try:
            found = call(reader, f"{bucket}/k", bucket, str(tmp_path / "local"))
        except LakeError as error:
            found = error
        assert isinstance(found, PermissionError), f"{name}: {found!r}"
        assert found.request_id, name
    assert state(server, bucket) == before


def test_no_bucket_is_made(reader, server, bucket):
    """What may not be looked at counts as being there, as in s3fs."""
    for name in MAKES_BUCKETS:
        with pytest.raises((PermissionError, FileExistsError)):
            getattr(reader, name)(f"{bucket}-2")
    assert f"{bucket}-2" not in [entry["Name"] for entry in server.admin.list_buckets()["Buckets"]]


def test_every_method_that_reads_is_allowed(reader, bucket, tmp_path):
    for name, call in ALLOWED.items():
        assert call(reader, f"{bucket}/k", bucket, str(tmp_path / "local")) is not False, name
