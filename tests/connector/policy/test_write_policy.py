"""Every path by which bytes reach the store gives an object what the policy says: its HEAD is read back."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from s3fs.utils import FileExpired

from tierlake.connector import LakeFileSystem, SseC, SseKms, WriteRule
from tierlake.connector.errors import (
    AlreadyExists,
    EncryptionIgnored,
    EndpointUnreachable,
    InvalidName,
    InvalidSetting,
    LakeError,
    UnknownOption,
    UnsupportedByServer,
)
from tierlake.connector.profiles import detect

pytestmark = pytest.mark.each_value

MIB = 2**20
FRAME = pd.DataFrame({"x": [1, 2, 3], "d": ["a", "b", "a"]})


def write_open(fs, path, tmp_path):
    with fs.open(path, "wb") as file:
        file.write(b"some bytes")


def write_open_multipart(fs, path, tmp_path):
    with fs.open(path, "wb", block_size=5 * MIB) as file:
        file.write(b"x" * (11 * MIB))


def write_open_empty(fs, path, tmp_path):
    fs.open(path, "wb").close()


def write_exclusive(fs, path, tmp_path):
    with fs.open(path, "xb") as file:
        file.write(b"some bytes")


def write_append(fs, path, tmp_path):
    with fs.open(path, "ab") as file:
        file.write(b"some bytes")
    with fs.open(path, "ab") as file:
        file.write(b" and more")


def write_text(fs, path, tmp_path):
    with fs.open(path, "w") as file:
        file.write("text")


def write_pipe(fs, path, tmp_path):
    fs.pipe(path, b"some bytes")


def write_pipe_file(fs, path, tmp_path):
    fs.pipe_file(path, b"some bytes")


def write_pipe_create(fs, path, tmp_path):
    fs.pipe_file(path, b"some bytes", mode="create")


def write_pipe_multipart(fs, path, tmp_path):
    fs.pipe_file(path, b"x" * (11 * MIB), chunksize=5 * MIB)


def write_put(fs, path, tmp_path):
    (tmp_path / "local").write_bytes(b"some bytes")
    fs.put(str(tmp_path / "local"), path)


def write_put_multipart(fs, path, tmp_path):
    (tmp_path / "local").write_bytes(b"x" * (11 * MIB))
    fs.put_file(str(tmp_path / "local"), path, chunksize=5 * MIB)


def write_touch(fs, path, tmp_path):
    fs.touch(path)


def write_copy(fs, path, tmp_path):
    fs.pipe_file(path + ".source", b"some bytes", **PLAIN)
    fs.copy(path + ".source", path)


def write_copy_parts(fs, path, tmp_path):
    fs.pipe_file(path + ".source", b"x" * (11 * MIB), **PLAIN)
    fs.cp_file(path + ".source", path, block=5 * MIB)


def write_move(fs, path, tmp_path):
    fs.pipe_file(path + ".source", b"some bytes", **PLAIN)
    fs.mv(path + ".source", path)


def write_merge(fs, path, tmp_path):
    fs.pipe_file(path + ".1", b"x" * (5 * MIB), **PLAIN)
    fs.pipe_file(path + ".2", b"y", **PLAIN)
    fs.merge(path, [path + ".1", path + ".2"])


def write_transaction(fs, path, tmp_path):
    with fs.transaction, fs.open(path, "wb") as file:
        file.write(b"some bytes")


def write_put_if(fs, path, tmp_path):
    fs.put_if(path, b"some bytes", if_none_match=True)


def write_pandas(fs, path, tmp_path):
    FRAME.to_parquet(f"lake://{path}", filesystem=fs)


def write_pyarrow(fs, path, tmp_path):
    table = pa.table({"x": [1, 2]})
    ds.write_dataset(table, path + "-folder", filesystem=fs, format="parquet")
    fs.mv(path + "-folder/part-0.parquet", path)


PLAIN = {"StorageClass": "STANDARD", "ServerSideEncryption": None}
"""What another policy would have written: the copy must not take it over."""
PATHS = [
    write_open,
    write_open_multipart,
    write_open_empty,
    write_exclusive,
    write_append,
    write_text,
    write_pipe,
    write_pipe_file,
    write_pipe_create,
    write_pipe_multipart,
    write_put,
    write_put_multipart,
    write_touch,
    write_copy,
    write_copy_parts,
    write_move,
    write_merge,
    write_transaction,
    write_put_if,
    write_pandas,
    write_pyarrow,
]
LARGE = {write_open_multipart, write_pipe_multipart, write_put_multipart, write_copy_parts, write_merge}
MODES = {
    "seaweedfs": {
        "sse-s3": {"ServerSideEncryption": "AES256"},
        "none": {},
        "sse-c": {"SSECustomerAlgorithm": "AES256"},
    },
    "minio": {
        "sse-s3": {"ServerSideEncryption": "AES256"},
        "none": {},
        "sse-kms": {"ServerSideEncryption": "aws:kms"},
    },
    "minio_tls": {"sse-c": {"SSECustomerAlgorithm": "AES256"}},
}
CUSTOMER_KEY = SseC(bytes(range(32)))


# What is sent in parts and in clear differs in nothing from what is sent whole.
TABLE = [
    pytest.param(server, write, mode, expected, id=f"{server}-{write.__name__.removeprefix('write_')}-{mode}")
    for server, modes in MODES.items()
    for write in PATHS
    for mode, expected in modes.items()
    if (mode != "none" or write not in LARGE) and (server, write, mode) != ("seaweedfs", write_merge, "sse-c")
]


@pytest.mark.parametrize(("server", "write", "mode", "expected"), TABLE, indirect=["server"])
def test_every_path_gets_class_encryption_tags_and_type(server, bucket, other_class, tmp_path, write, mode, expected):
    fs = LakeFileSystem(
        **server.storage_options,
        encryption=CUSTOMER_KEY if mode == "sse-c" else mode,
        rules=[WriteRule("*", storage_class=other_class, tags={"team": "air"}, content_type="application/x-lake")],
        skip_instance_cache=True,
    )
    write(fs, f"{bucket}/folder/object", tmp_path)
    customer = CUSTOMER_KEY.headers() if mode == "sse-c" else {}
    head = server.admin.head_object(Bucket=bucket, Key="folder/object", **customer)
    found = {name: head[name] for name in ("ServerSideEncryption", "SSECustomerAlgorithm") if name in head}
    assert found == expected
    assert head["StorageClass"] == other_class
    tags = server.admin.get_object_tagging(Bucket=bucket, Key="folder/object")["TagSet"]
    assert tags == [{"Key": "team", "Value": "air"}]
    if not write.__name__.startswith(("write_copy", "write_move", "write_pyarrow")):
        assert head["ContentType"] == "application/x-lake"
    assert fs.info(f"{bucket}/folder/object", refresh=True)["size"] == head["ContentLength"]
    assert len(fs.cat_file(f"{bucket}/folder/object")) == head["ContentLength"]


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_copy, write_copy_parts], ids=["one request", "parts"])
def test_a_copy_keeps_what_the_source_says(fs, server, bucket, tmp_path, write, monkeypatch):
    described = {
        "ContentType": "text/csv",
        "CacheControl": "no-cache",
        "ContentDisposition": "attachment",
        "Metadata": {"station": "jfk"},
        "Tagging": "team=air",
    }
    monkeypatch.setitem(globals(), "PLAIN", {**PLAIN, **described})
    write(fs, f"{bucket}/copy", tmp_path)
    head = server.admin.head_object(Bucket=bucket, Key="copy")
    for name in ("ContentType", "CacheControl", "ContentDisposition", "Metadata"):
        assert head[name] == described[name]
    assert fs.get_tags(f"{bucket}/copy") == {"team": "air"}
    assert fs.cat_file(f"{bucket}/copy") == fs.cat_file(f"{bucket}/copy.source")


def test_a_copy_to_another_bucket_gets_that_buckets_rule(server, make_bucket, other_class):
    here, there = make_bucket(), make_bucket()
    rules = [WriteRule(f"{there}/**", storage_class=other_class)]
    fs = LakeFileSystem(**server.storage_options, rules=rules, skip_instance_cache=True)
    fs.pipe_file(f"{here}/x", b"1", StorageClass=other_class)
    fs.copy(f"{here}/x", f"{there}/x")
    fs.copy(f"{there}/x", f"{here}/y")
    assert server.admin.head_object(Bucket=there, Key="x")["StorageClass"] == other_class
    assert server.admin.head_object(Bucket=here, Key="y").get("StorageClass", "STANDARD") == "STANDARD"


@pytest.mark.slow
def test_a_copy_keeps_its_etag_where_asked(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"x" * (13 * MIB), chunksize=6 * MIB)
    fs.copy(f"{bucket}/x", f"{bucket}/y", preserve_etag=True)
    assert fs.info(f"{bucket}/y")["ETag"] == fs.info(f"{bucket}/x")["ETag"]


def test_what_the_caller_says_wins(server, bucket, other_class):
    fs = LakeFileSystem(
        **server.storage_options,
        storage_class=other_class,
        s3_additional_kwargs={"ContentType": "text/global"},
        skip_instance_cache=True,
    )
    fs.pipe_file(f"{bucket}/x", b"1", StorageClass="STANDARD", ServerSideEncryption=None)
    head = server.admin.head_object(Bucket=bucket, Key="x")
    assert head.get("StorageClass", "STANDARD") == "STANDARD"
    assert "ServerSideEncryption" not in head
    assert head["ContentType"] == "text/global"
    with fs.open(f"{bucket}/empty", "wb", ContentType="text/own") as file:
        file.write(b"")
    assert server.admin.head_object(Bucket=bucket, Key="empty")["ContentType"] == "text/own"


def test_new_metadata_keeps_class_encryption_and_type(server, fs, bucket, other_class):
    fs.pipe_file(f"{bucket}/x", b"1", StorageClass=other_class, ContentType="text/csv", Metadata={"a": "1"})
    fs.setxattr(f"{bucket}/x", b="2")
    head = server.admin.head_object(Bucket=bucket, Key="x")
    assert head["Metadata"] == {"a": "1", "b": "2"}
    assert (head["StorageClass"], head["ContentType"]) == (other_class, "text/csv")
    assert head["ServerSideEncryption"] == "AES256"


def open_and_write(fs, path, **options):
    with fs.open(path, "wb", **options) as file:
        file.write(b"1")


@pytest.mark.parametrize(
    "write",
    [
        lambda fs, path, **options: fs.pipe_file(path, b"1", **options),
        lambda fs, path, **options: fs.touch(path, **options),
        open_and_write,
    ],
    ids=["pipe_file", "touch", "open"],
)
def test_a_misspelt_option_does_not_vanish(fs, bucket, write):
    with pytest.raises(UnknownOption, match="Did you mean 'ServerSideEncryption'"):
        write(fs, f"{bucket}/x", ServerSideEncrytion="AES256")
    assert not fs.exists(f"{bucket}/x")


def test_an_option_of_another_operation_is_fine(server, bucket):
    options = {"ServerSideEncryption": "AES256", "VersionIdMarker": "x"}
    fs = LakeFileSystem(**server.storage_options, s3_additional_kwargs=options, skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/x", b"1")
    assert fs.cat_file(f"{bucket}/x") == b"1"


KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"StorageClass": "STANDARDIA"}, UnsupportedByServer, "STANDARD_IA"),
        ({"StorageClass": "REDUCED_REDUNDANC"}, UnsupportedByServer, "REDUCED_REDUNDANCY"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, UnsupportedByServer, "sse-s3"),
        ({"ServerSideEncryption": "AES257"}, InvalidSetting, "AES257"),
        ({"SSEKMSKeyId": "k"}, InvalidSetting, "needs ServerSideEncryption='aws:kms'"),
        ({"SSEKMSEncryptionContext": "k"}, InvalidSetting, "needs ServerSideEncryption='aws:kms'"),
        ({"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"}, InvalidSetting, "does not go with"),
        ({**KEY, "SSECustomerKey": b"short"}, InvalidSetting, "must be 32 bytes"),
        ({**KEY, "SSECustomerKey": "é" * 32}, InvalidSetting, "must be 32 bytes"),
        ({"SSECustomerKey": b"k" * 32}, InvalidSetting, "'AES256'"),
        ({**KEY, "ServerSideEncryption": "AES256"}, InvalidSetting, "choose one"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_request(make_offline, options, error, match):
    """Nobody listens there: had a request been made, the error would be another."""
    with pytest.raises(error, match=match):
        make_offline().pipe_file("bucket/x", b"1", **options)


def test_a_short_key_is_refused_for_reading_too(offline):
    with pytest.raises(InvalidSetting, match="must be 32 bytes"):
        offline.call_s3("get_object", Bucket="bucket", Key="x", **{**KEY, "SSECustomerKey": b"short"})
    with pytest.raises(InvalidName):
        offline.cp_file("bucket/x", "bucket/../y")


@pytest.mark.parametrize("server", ["seaweedfs", "minio_tls"], indirect=True)
def test_under_a_customers_key_the_others_are_read_too(server, bucket, fs):
    """MinIO and AWS refuse a key that an object does not need. The wrong key stays refused."""
    fs.pipe_file(f"{bucket}/x", b"bytes")
    keyed = LakeFileSystem(**server.storage_options, encryption=CUSTOMER_KEY, skip_instance_cache=True)
    assert keyed.cat_file(f"{bucket}/x") == b"bytes"
    keyed.pipe_file(f"{bucket}/y", b"secret")
    with pytest.raises(LakeError):
        fs.cat_file(f"{bucket}/y")
    other = LakeFileSystem(**server.storage_options, encryption=SseC(b"k" * 32), skip_instance_cache=True)
    with pytest.raises(LakeError):
        other.cat_file(f"{bucket}/y")


def test_a_certificate_by_the_standard_variable(minio_tls, monkeypatch):
    bucket = minio_tls.make_bucket()
    options = {name: value for name, value in minio_tls.storage_options.items() if name != "client_kwargs"}
    with pytest.raises(EndpointUnreachable, match="certificate"):
        LakeFileSystem(**options, skip_instance_cache=True).ls(bucket)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(minio_tls.certificate))
    assert LakeFileSystem(**options, skip_instance_cache=True).ls(bucket) == []
    minio_tls.drop_bucket(bucket)


def test_customer_keys_need_tls_on_minio(offline):
    """No request is made: nobody listens there."""
    fs, key = offline, SseC(b"k" * 32)
    for call in (
        lambda: fs.pipe_file("bucket/x", b"1", **key.headers()),
        lambda: fs.call_s3("get_object", Bucket="bucket", Key="x", **key.headers()),
        lambda: fs.call_s3("upload_part", Bucket="bucket", Key="x", UploadId="1", PartNumber=1, **key.headers()),
        lambda: fs.call_s3("copy_object", Bucket="bucket", Key="x", CopySource="bucket/y", **key.source_headers()),
    ):
        with pytest.raises(UnsupportedByServer, match="an https endpoint"):
            call()


def test_no_customers_key_is_sent_in_clear(minio):
    """Objects without one are read all the same."""
    bucket = minio.make_bucket()
    minio.admin.put_object(Bucket=bucket, Key="x", Body=b"bytes")
    fs = LakeFileSystem(**minio.storage_options, encryption=CUSTOMER_KEY, engine="s3fs", skip_instance_cache=True)
    sent = []
    fs.connect().meta.events.register("before-send.s3", lambda request, **_: sent.append(str(request.headers)))
    assert fs.cat_file(f"{bucket}/x") == b"bytes"
    assert sent
    assert "customer" not in "".join(sent).lower()
    minio.drop_bucket(bucket)


def test_what_seaweedfs_would_make_unreadable_is_refused(seaweedfs):
    """Parts copied into an object with a customer's key."""
    bucket = seaweedfs.make_bucket()
    fs = LakeFileSystem(**seaweedfs.storage_options, encryption=CUSTOMER_KEY, skip_instance_cache=True)
    fs.pipe_file(f"{bucket}/1", b"x" * (5 * MIB), **PLAIN)
    with pytest.raises(UnsupportedByServer, match="reading and writing the bytes"):
        fs.merge(f"{bucket}/whole", [f"{bucket}/1", f"{bucket}/1"])
    seaweedfs.drop_bucket(bucket)


def test_a_server_that_ignores_encryption_is_caught(seaweedfs, monkeypatch):
    """SeaweedFS stores DSSE-KMS in clear; the generic profile, told that it can do it, believes nobody."""
    from dataclasses import replace

    from tierlake.connector import profiles

    credulous = replace(profiles.get_profile("generic"), name="credulous", encryptions=("dsse-kms",))
    monkeypatch.setitem(profiles._profiles(), "credulous", credulous)
    bucket = seaweedfs.make_bucket()
    options = {**seaweedfs.storage_options, "profile": "credulous"}
    fs = LakeFileSystem(**options, encryption=SseKms(dsse=True), skip_instance_cache=True)
    try:
        with pytest.raises(EncryptionIgnored, match="reports none"):
            fs.pipe_file(f"{bucket}/x", b"1")
        with pytest.raises(EncryptionIgnored, match="reports none"):
            fs.pipe_file(f"{bucket}/y", b"x" * (11 * MIB), chunksize=5 * MIB)
    finally:
        seaweedfs.drop_bucket(bucket)


def test_exclusive_creation_fails_at_once(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"old")
    with pytest.raises(FileExistsError):
        fs.open(f"{bucket}/x", "xb")
    with pytest.raises(AlreadyExists):
        fs.pipe_file(f"{bucket}/x", b"new", mode="create")
    assert fs.cat_file(f"{bucket}/x") == b"old"


def test_exclusive_creation_of_an_empty_file_loses_to_a_faster_one(fs, bucket):
    file = fs.open(f"{bucket}/x", "xb")
    fs.pipe_file(f"{bucket}/x", b"faster")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat_file(f"{bucket}/x") == b"faster"


def test_a_file_that_changes_under_its_reader_is_expired(fs, bucket):
    size = 4 << 20  # a small file is whole in memory once it is open
    fs.pipe_file(f"{bucket}/x", b"a" * size)
    with fs.open(f"{bucket}/x", "rb", cache_type="none") as file:
        assert file.read(10) == b"a" * 10
        fs.pipe_file(f"{bucket}/x", b"b" * size)
        file.seek(size // 2)
        with pytest.raises(FileExpired):
            file.read(10)


def test_a_mistyped_bucket_is_not_created(server, fs, bucket):
    missing = f"{bucket}-mistyped"
    with pytest.raises(FileNotFoundError, match=missing):
        fs.pipe_file(f"{missing}/x", b"1")
    assert missing not in [entry["Name"] for entry in server.admin.list_buckets()["Buckets"]]


def test_without_a_profile_a_mistyped_bucket_is_not_created_either(server, bucket, monkeypatch):
    monkeypatch.setattr(detect, "_headers", {})
    options = {name: value for name, value in server.storage_options.items() if name != "profile"}
    fs = LakeFileSystem(**options, skip_instance_cache=True)
    with pytest.raises(FileNotFoundError):
        fs.touch(f"{bucket}-mistyped/x")
