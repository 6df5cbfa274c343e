"""Looking back: which objects are not encrypted as the policy says."""

from __future__ import annotations

import pytest

from tierlake.connector.errors import ObjectNotFound

pytestmark = pytest.mark.each_value


@pytest.mark.slow
def test_what_another_wrote_in_clear_is_found(fs, server, bucket):
    fs.pipe_file(f"{bucket}/ours", b"1")
    server.admin.put_object(Bucket=bucket, Key="theirs", Body=b"1")
    assert fs.encryption_faults([f"{bucket}/ours", f"{bucket}/theirs"]) == {
        f"{bucket}/theirs": "none instead of sse-s3"
    }


def test_what_may_be_in_clear_is_no_fault(make_fs, server, bucket):
    server.admin.put_object(Bucket=bucket, Key="clear", Body=b"1")
    server.admin.put_object(Bucket=bucket, Key="encrypted", Body=b"1", ServerSideEncryption="AES256")
    assert make_fs(encryption="none").encryption_faults([f"{bucket}/clear", f"{bucket}/encrypted"]) == {}


def test_what_is_missing_is_an_error(fs, bucket):
    with pytest.raises(ObjectNotFound):
        fs.encryption_faults([f"{bucket}/missing"])
