"""Deleting what was seen, and nothing else."""

import pytest

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed, TableWriteRefused, UnsupportedByServer
from tierlake.connector.objects.delete import SeenObject

pytestmark = pytest.mark.each_value

ODD_NAMES = ["date=2013-01-01/*", "f[12].parquet", "q?", "a b+c", "x%2Ay", "v?versionId=null"]


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def place(request, make_bucket):
    return make_bucket(versioned=request.param)


def etag_of(fs, path):
    return fs.head_object(path)["ETag"].strip('"')


def bodies(server, bucket):
    return {key: server.admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in server.keys(bucket)}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_never_a_pattern(fs, server, place, name):
    others = ["date=2013-01-01/a.parquet", "f1.parquet", "f2.parquet", "q1", "v", "x*y"]
    for key in [name, *others]:
        server.admin.put_object(Bucket=place, Key=key, Body=key.encode())
    assert fs.delete_seen([SeenObject(f"{place}/{name}")]) == []
    assert sorted(server.keys(place)) == sorted(others)


def test_a_version_is_deleted_and_no_other(fs, make_bucket):
    path = f"{make_bucket(versioned=True)}/k"
    for body in (b"1", b"2", b"3"):
        fs.pipe_file(path, body)
    newest, middle, oldest = fs.object_versions(path)
    assert fs.delete_seen([SeenObject(path, middle.version_id)]) == []
    assert [version.version_id for version in fs.object_versions(path)] == [newest.version_id, oldest.version_id]
    assert fs.delete_seen([SeenObject(path, middle.version_id)]) == []  # gone is gone


def test_an_object_that_was_replaced_is_left_alone(fs, make_bucket):
    bucket = make_bucket()
    if not fs.profile.delete_if_match:
        pytest.skip(f"{fs.profile.name} honours no condition on a DELETE")
    for name in ("same", "other"):
        fs.pipe_file(f"{bucket}/{name}", b"old")
    seen = [SeenObject(f"{bucket}/{name}", etag=etag_of(fs, f"{bucket}/{name}")) for name in ("same", "other")]
    fs.pipe_file(f"{bucket}/other", b"new")
    assert fs.delete_seen(seen) == [seen[1]]
    assert fs.find(bucket) == [f"{bucket}/other"]
    assert fs.cat_file(f"{bucket}/other") == b"new"


def test_hiding_needs_the_object_that_was_seen(fs, server, place):
    path = f"{place}/k"
    fs.pipe_file(path, b"old")
    old = etag_of(fs, path)
    fs.pipe_file(path, b"new")
    is_possible = fs.is_versioned(place) or fs.profile.delete_if_match
    with pytest.raises(PreconditionFailed if is_possible else UnsupportedByServer):
        fs.hide(path, etag=old)
    assert bodies(server, place) == {"k": b"new"}
    if is_possible:
        fs.hide(path, etag=etag_of(fs, path))
        assert server.keys(place) == []
        with pytest.raises((ObjectNotFound, PreconditionFailed)):
            fs.hide(path, etag=old)


def test_where_nothing_can_keep_a_writer_out_it_is_refused(fs, server, bucket):
    if fs.profile.delete_if_match:
        pytest.skip(f"{fs.profile.name} honours the condition")
    fs.pipe_file(f"{bucket}/k", b"1")
    with pytest.raises(UnsupportedByServer, match="keeps versions"):
        fs.hide(f"{bucket}/k", etag=etag_of(fs, f"{bucket}/k"))
    assert server.keys(bucket) == ["k"]


def test_what_was_hidden_is_named(fs, make_bucket):
    path = f"{make_bucket(versioned=True)}/k"
    fs.pipe_file(path, b"0")
    fs.pipe_file(path, b"1")
    version = fs.object_versions(path)[0].version_id
    hidden = fs.hide(path, etag=etag_of(fs, path))
    assert hidden.version_id == version
    fs.delete_seen([SeenObject(path, hidden.marker_id)])
    assert fs.cat_file(path) == b"1"


def test_a_version_that_slips_in_gets_its_place_back(fs, make_bucket, monkeypatch):
    """Whatever the server makes of conditions: an ingest right before the marker is not lost."""
    path = f"{make_bucket(versioned=True)}/k"
    fs.pipe_file(path, b"old")
    old = etag_of(fs, path)
    call = fs.store.gateway.call

    async def late(operation, *defaults, **parameters):
        if operation == "delete_object":
            await fs._pipe_file(path, b"new")
        return await call(operation, *defaults, **parameters)

    monkeypatch.setattr(fs.store.gateway, "call", late)
    with pytest.raises(PreconditionFailed):
        fs.hide(path, etag=old)
    assert fs.cat_file(path) == b"new"
    assert not [version for version in fs.object_versions(path) if version.is_delete_marker]


def test_a_table_is_guarded(fs, bucket):
    fs.pipe_file(f"{bucket}/table/_delta_log/00000000000000000000.json", b"{}")
    fs.pipe_file(f"{bucket}/other/x", b"1")
    with pytest.raises(TableWriteRefused):
        fs.delete_seen([SeenObject(f"{bucket}/table/x.parquet")])
