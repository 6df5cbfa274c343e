"""Verbs over many objects."""

import pytest

from tierlake.connector.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ObjectNotFound,
    PreconditionFailed,
    UnsupportedByServer,
)
from tierlake.connector.objects.bulk import NewObject, Transition, WrittenObject
from tierlake.connector.objects.metadata import unquoted


@pytest.fixture
def paths(fs, bucket) -> list[str]:
    fs.pipe({f"{bucket}/a/{number:02}": b"x" * number for number in range(1, 21)})
    return [f"{bucket}/a/{number:02}" for number in range(1, 21)]


def test_many_heads_come_in_order_with_an_error_in_the_place_of_what_is_not_there(fs, bucket, paths):
    heads = fs.head_many([*paths, f"{bucket}/gone"])
    assert [head["ContentLength"] for head in heads[:-1]] == list(range(1, 21))
    assert isinstance(heads[-1], ObjectNotFound)


def test_many_writes_each_have_an_outcome(fs, bucket, paths, other_class):
    new = [NewObject(path, bytes(number), must_not_exist=True) for number, path in enumerate(paths[:2])]
    new += [NewObject(f"{bucket}/b/{number}", bytearray(number)) for number in range(40)]
    new.append(NewObject(f"{bucket}/c", b"1", options={"StorageClass": other_class, "Metadata": {"a": "b"}}))
    outcomes = fs.put_many(iter(new))
    assert [type(outcome) for outcome in outcomes] == [AlreadyExists] * 2 + [WrittenObject] * 41
    heads = fs.head_many([one.path for one in new[2:]])
    assert [(one.size, one.etag) for one in outcomes[2:]] == [
        (head["ContentLength"], unquoted(head["ETag"])) for head in heads
    ]
    assert (heads[-1]["StorageClass"], heads[-1]["Metadata"]) == (other_class, {"a": "b"})
    assert fs.encryption_faults([one.path for one in new]) == {}


def test_many_listings_come_in_order(fs, bucket, paths):
    versions = fs.object_versions_many(paths)
    assert [[one.path for one in some] for some in versions] == [[path] for path in paths]
    first = fs.first_keys_many([f"{bucket}/a/1", f"{bucket}/b", f"{bucket}-missing/a"], limit=2)
    assert first[:2] == [[f"{bucket}/a/10", f"{bucket}/a/11"], []]
    assert isinstance(first[2], BucketNotFound | AccessDenied)
    with pytest.raises((BucketNotFound, AccessDenied)):
        fs.object_versions_many([f"{bucket}/a/", f"{bucket}-missing/a"])


def test_many_statuses_end_with_the_first_that_fails(fs, bucket, paths):
    assert {status.state for status in fs.restore_status_many(paths)} == {"not archived"}
    with pytest.raises(ObjectNotFound):
        fs.restore_status_many([*paths, f"{bucket}/gone"])
    assert fs.restore_many([]) == []
    if not fs.profile.restore:
        with pytest.raises(UnsupportedByServer):
            fs.restore_many(paths[:2])


def test_many_transitions_each_have_an_outcome(fs, bucket, paths, other_class):
    etags = {path: unquoted(head["ETag"]) for path, head in zip(paths, fs.head_many(paths), strict=True)}
    moves = [Transition(path, other_class, etag) for path, etag in etags.items()]
    wrong = Transition(paths[0], other_class, "another")
    results = dict(fs.transition_many([wrong, *moves[1:], Transition(f"{bucket}/gone", other_class)]))
    assert isinstance(results.pop(wrong), PreconditionFailed)
    assert isinstance(results.pop(Transition(f"{bucket}/gone", other_class)), ObjectNotFound)
    assert {move.path for move, result in results.items() if result.changed} == set(paths[1:])
    again = dict(fs.transition_many(moves))
    assert [move.path for move, result in again.items() if result.changed] == [paths[0]]


def test_many_reencryptions_each_have_an_outcome(fs, bucket, paths):
    etags = {path: unquoted(head["ETag"]) for path, head in zip(paths, fs.head_many(paths), strict=True)}
    results = dict(fs.reencrypt_many({**etags, f"{bucket}/gone": "x"}))
    assert isinstance(results.pop(f"{bucket}/gone"), ObjectNotFound)
    assert not any(result.changed for result in results.values())
