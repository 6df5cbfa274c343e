"""What a bucket's policy denies, on servers that enforce it: nobody is locked out who should not be."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.servers.tls import make_certificate
from tierlake.connector import LakeFileSystem
from tierlake.connector.bucket import BucketSpec, plan_bucket
from tierlake.connector.errors import AccessDenied, AppliedInPart
from tierlake.connector.local_server.processes import free_ports
from tierlake.connector.local_server.servers import EmbeddedServer

pytestmark = [pytest.mark.each_value, pytest.mark.more_than_a_role("buckets are an administrator's")]

THEIRS = {"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}


def policy_of(rig, bucket):
    return json.loads(rig.admin.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]


def test_the_policy_denies_other_encryption_and_nobody_who_says_nothing(fs, server, bucket):
    """Clients that rely on the bucket's default, multipart uploads and copies go on; what is less is refused."""
    server.admin.put_object(Bucket=bucket, Key="before", Body=b"in clear")
    plan_bucket(fs, BucketSpec(bucket=bucket)).apply()
    admin = server.admin
    admin.put_object(Bucket=bucket, Key="says-nothing", Body=b"1")
    upload = admin.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    etag = admin.upload_part(**part, PartNumber=1, Body=b"1")["ETag"]
    admin.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    admin.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "before"})
    fs.pipe_file(f"{bucket}/ours", b"1")
    fs.pipe_file(f"{bucket}/ours-in-parts", b"x" * (11 * 2**20), chunksize=5 * 2**20)
    fs.copy(f"{bucket}/before", f"{bucket}/our-copy")
    heads = server.heads(bucket)
    encrypted = {key for key, head in heads.items() if head.get("ServerSideEncryption") == "AES256"}
    assert encrypted == heads.keys() - {"before"}
    # SeaweedFS would store that in clear; MinIO refuses it, but not for the policy
    with pytest.raises(ClientError) as caught:
        admin.put_object(Bucket=bucket, Key="wrong", Body=b"1", ServerSideEncryption="aws:kms:dsse")
    assert caught.value.response["Error"]["Code"] == (
        "AccessDenied" if server.name == "seaweedfs" else "InvalidArgument"
    )


def test_plain_http_is_not_denied_over_plain_http(fs, server, bucket):
    """SeaweedFS would lock out the administrator too, for good."""
    plan = plan_bucket(fs, BucketSpec(bucket=bucket))
    plan.apply()
    assert "lock everybody out" in next(item.note for item in plan.items if item.aspect == "deny plain HTTP")
    assert [statement["Sid"] for statement in policy_of(server, bucket)] == ["TierlakeDenyWrongEncryption"]


def test_a_proxy_that_ends_tls_would_lock_everybody_out(over_tls, seaweedfs):
    bucket = seaweedfs.make_bucket()
    statement = {**THEIRS, "Resource": f"arn:aws:s3:::{bucket}/public/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    seaweedfs.admin.put_bucket_policy(Bucket=bucket, Policy=document)
    with pytest.raises(AppliedInPart, match="the rest not") as caught:
        plan_bucket(over_tls(seaweedfs), BucketSpec(bucket=bucket)).apply()
    assert caught.value.failures.keys() == {"deny plain HTTP"}
    assert "takes this https connection for plain HTTP" in caught.value.failures["deny plain HTTP"]
    assert [one["Sid"] for one in policy_of(seaweedfs, bucket)] == ["theirs", "TierlakeDenyWrongEncryption"]
    seaweedfs.drop_bucket(bucket)


def test_minio_asks_a_buckets_policy_about_anonymous_requests_alone(over_tls, minio):
    bucket, fs = minio.make_bucket(), over_tls(minio)
    plan = plan_bucket(fs, BucketSpec(bucket=bucket))
    notes = {item.aspect: item.note for item in plan.todo}
    assert "without credentials alone" in notes["deny plain HTTP"]
    plan.apply()
    assert plan_bucket(fs, BucketSpec(bucket=bucket)).todo == ()
    minio.admin.put_object(Bucket=bucket, Key="x", Body=b"over plain HTTP, by root")
    minio.drop_bucket(bucket)


@pytest.mark.slow
def test_a_server_that_speaks_tls_denies_plain_http(tmp_path):
    certificate, key = make_certificate(tmp_path)
    (port,) = free_ports(1)

    class Both(EmbeddedServer):
        def launch(self, binary):
            plain = super().launch(binary)
            tls = [f"-s3.port.https={port}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]
            return plain._replace(command=[*plain.command, *tls])

    with Both(tmp_path / "server") as server:
        who = {"key": server.key, "secret": server.secret, "profile": "seaweedfs", "skip_instance_cache": True}
        secure = LakeFileSystem(
            endpoint_url=f"https://127.0.0.1:{port}", client_kwargs={"verify": str(certificate)}, **who
        )
        plan_bucket(secure, BucketSpec(bucket="warehouse")).apply()
        assert plan_bucket(secure, BucketSpec(bucket="warehouse")).todo == ()
        secure.pipe_file("warehouse/x", b"1")
        with pytest.raises(AccessDenied):
            LakeFileSystem(endpoint_url=server.endpoint_url, **who).cat_file("warehouse/x")
