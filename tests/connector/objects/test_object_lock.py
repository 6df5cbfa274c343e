"""Object Lock: what may not be deleted stays so through a transition, and is said before anything is written."""

from datetime import UTC, datetime, timedelta

import pytest

from tierlake.connector.errors import AccessDenied, DeletionFailed, RequestRefused
from tierlake.connector.policy.encryption import SseS3

pytestmark = pytest.mark.each_value


@pytest.fixture
def lockable(make_bucket):
    return make_bucket(lockable=True)


def test_which_buckets_have_it(fs, bucket, lockable):
    assert fs.has_object_lock(lockable)
    assert not fs.has_object_lock(bucket)


def test_a_legal_hold_goes_with_the_object(fs, server, lockable, other_class):
    path = f"{lockable}/x"
    fs.pipe_file(path, b"1")
    (version,) = fs.object_versions(path)
    fs.set_legal_hold([(path, version.version_id)], held=True)
    with pytest.raises((AccessDenied, DeletionFailed)):
        fs.delete_versions(path, [version.version_id])
    assert fs.transition(path, storage_class=other_class).changed
    (moved,) = fs.object_versions(path)
    assert (moved.storage_class, moved.version_id == version.version_id) == (other_class, False)
    head = server.admin.head_object(Bucket=lockable, Key="x")
    assert (head["ObjectLockLegalHoldStatus"], head["ServerSideEncryption"]) == ("ON", "AES256")
    fs.set_legal_hold([(path, moved.version_id)], held=False)
    fs.delete_versions(path, [moved.version_id])
    assert fs.object_versions(path) == []


@pytest.mark.slow
def test_it_is_encrypted_anew_with_its_hold(fs, server, lockable):
    server.admin.put_object(Bucket=lockable, Key="x", Body=b"1")
    (version,) = fs.object_versions(f"{lockable}/x")
    fs.set_legal_hold([(f"{lockable}/x", version.version_id)], held=True)
    assert fs.policy.for_key(lockable, "x").encryption == SseS3()
    assert fs.reencrypt(f"{lockable}/x").changed
    head = server.admin.head_object(Bucket=lockable, Key="x")
    assert (head["ObjectLockLegalHoldStatus"], head["ServerSideEncryption"]) == ("ON", "AES256")
    assert len(fs.object_versions(f"{lockable}/x")) == 1


def test_what_is_retained_is_not_copied_beside_itself(fs, server, lockable, other_class):
    fs.pipe_file(f"{lockable}/x", b"1")
    until = datetime.now(UTC) + timedelta(days=1)
    server.admin.put_object_retention(
        Bucket=lockable, Key="x", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    )
    with pytest.raises(RequestRefused, match=f"may not be deleted before {until:%Y-%m-%d}.*lifecycle rule"):
        fs.transition(f"{lockable}/x", storage_class=other_class)
    assert [version.storage_class for version in fs.object_versions(f"{lockable}/x")] == ["STANDARD"]
