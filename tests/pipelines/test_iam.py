"""The policies that `iam-policy` prints are enough, and no more than enough, on servers that enforce them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tests.servers.roles import with_policy, with_role
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import InvalidName, InvalidSetting, LakeError, TableWriteRefused
from tierlake.connector.iam import ROLES, policy_document
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import PolicyRefused, TableExists, TableNotFound
from tierlake.pipelines.runtime.clock import Clock


@pytest.fixture
def as_role(server, bucket, tmp_path):
    """Makes a filesystem that has a role's rights on the bucket, below `city`."""

    def make(role):
        rig = with_role(server, role, tmp_path, bucket, "city")
        return LakeFileSystem(**rig.storage_options, skip_instance_cache=True)

    return make


def refused(call, *arguments, **options):
    with pytest.raises(PermissionError) as caught:
        call(*arguments, **options)
    assert isinstance(caught.value, LakeError), caught.value
    assert caught.value.request_id, caught.value


@pytest.fixture
def trips(bucket, fs):
    made = Dataset.create(trip_spec(bucket), fs=fs)
    made.ingest(make_trips(1, 2))
    fs.pipe({f"{bucket}/city/plain": b"plain", f"{bucket}/private": b"private"})
    return made


def test_a_reader_reads_and_does_nothing_else(as_role, server, bucket, trips):
    fs = as_role("reader")
    assert Dataset.open(trips.uri, fs=fs).read().num_rows == trips.read().num_rows
    path = f"{bucket}/city/plain"
    assert fs.cat_file(path) == b"plain"
    assert path in fs.find(f"{bucket}/city")
    before = server.keys(bucket)
    refused(fs.cat_file, f"{bucket}/private")
    refused(fs.pipe_file, f"{bucket}/city/new", b"new")
    refused(fs.pipe_file, path, b"x" * 12_000_000)
    refused(fs.touch, f"{bucket}/city/new")
    refused(fs.copy, path, f"{bucket}/city/copy")
    refused(fs.rm, path)
    refused(fs.put_tags, path, {"a": "b"})
    refused(fs.put_if, path, b"mine", if_none_match=True)
    refused(fs.transition, path, storage_class="REDUCED_REDUNDANCY")
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    refused(fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy=policy)
    refused(fs.call_s3, "get_bucket_policy", Bucket=bucket)
    refused(fs.call_s3, "delete_bucket_policy", Bucket=bucket)
    refused(fs.call_s3, "delete_bucket", Bucket=bucket)
    assert server.keys(bucket) == before
    with pytest.raises(PermissionError):
        Dataset.open(trips.uri, fs=fs).ingest(make_trips(3))


@pytest.mark.slow
def test_a_writer_ingests_and_deletes_nothing(as_role, bucket, trips):
    fs = as_role("writer")
    theirs = Dataset.open(trips.uri, fs=fs)
    theirs.ingest(make_trips(3), run_key="mine")
    assert theirs.ingest(make_trips(3), run_key="mine").committed is False
    assert trips.read().num_rows == theirs.read().num_rows
    fs.pipe_file(f"{bucket}/city/big", b"x" * 12_000_000)
    refused(fs.rm, f"{bucket}/city/plain")
    refused(fs.pipe_file, f"{bucket}/other", b"other")
    refused(fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy="{}")


@pytest.mark.slow
def test_an_operator_tiers_expires_and_vacuums(as_role, fs, bucket, trips):
    theirs = Dataset.open(trips.uri, fs=as_role("operator"))
    theirs.ingest(make_trips(3))
    assert theirs.plan_tiering(as_of="2013-09-01").apply().failed == {}
    applied = theirs.plan_expiry(as_of="2014-12-31").apply()
    assert applied.failed == {}
    assert len(applied.done) == 3
    theirs.vacuum()
    assert theirs.verify().ok
    refused(theirs._handle.fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy="{}")


@pytest.fixture
def neighbours(bucket, fs):
    """Objects beside the prefix, one of them in a folder whose name begins as it does; as they are in the store."""
    beside = Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/city2/trips"), fs=fs)
    beside.ingest(make_trips(1, 2))
    fs.pipe({f"{bucket}/secret/a": b"private", f"{bucket}/city.txt": b"private"})
    return {path: fs.cat_file(path) for path in fs.find(bucket) if not path.startswith(f"{bucket}/city/")}


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_neighbours_are_neither_listed_nor_read_nor_written(as_role, fs, server, bucket, trips, neighbours, role):
    theirs = as_role(role)
    for prefix in ("", "c", "city", "city2", "city2/", "secret/", "city2/trips/_delta_log/"):
        refused(theirs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix)
        refused(theirs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/")
        refused(theirs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter="city/")
        refused(theirs.call_s3, "list_objects", Bucket=bucket, Prefix=prefix)
        refused(theirs.call_s3, "list_object_versions", Bucket=bucket, Prefix=prefix)
        refused(theirs.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    refused(theirs.call_s3, "list_objects_v2", Bucket=bucket)
    refused(theirs.call_s3, "list_object_versions", Bucket=bucket)
    refused(theirs.call_s3, "list_multipart_uploads", Bucket=bucket)
    for path in (bucket, f"{bucket}/city2", f"{bucket}/secret"):
        for look in (theirs.ls, theirs.find):
            with pytest.raises(PermissionError):
                look(path)
    with pytest.raises(PermissionError):
        Dataset.open(f"lake://{bucket}/city2/trips", fs=theirs)
    with pytest.raises(PermissionError):
        Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/city3/trips"), fs=theirs)
    for path in neighbours:
        refused(theirs.cat_file, path)
        refused(theirs.pipe_file, path, b"mine")
        refused(theirs.rm_file, path)
        refused(theirs.copy, f"{bucket}/city/plain", path)
    fs.invalidate_cache()
    assert neighbours == {path: fs.cat_file(path) for path in fs.find(bucket) if not path.startswith(f"{bucket}/city/")}


def test_nothing_of_the_whole_bucket_is_set_by_who_has_a_prefix(as_role, bucket):
    theirs = as_role("operator")
    rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    refused(
        theirs.call_s3,
        "put_bucket_lifecycle_configuration",
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [rule]},
    )
    refused(theirs.call_s3, "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_a_reader_has_all_verbs_that_read(as_role, bucket, fs, table_format):
    made = Dataset.create(trip_spec(bucket, format=table_format), fs=fs)
    made.ingest(make_trips(2, 3))
    theirs = as_role("reader")
    opened = Dataset.open(made.uri, fs=theirs)
    assert opened.read().num_rows == opened.scan().count_rows() == 6
    assert len(opened.partitions()) == len(opened.windows()) == 2
    assert opened.explain("date=2013-01-01").text
    assert opened.history()
    assert opened.verify(as_of="2013-01-03").ok
    assert opened.rejects() == ()
    assert opened.plan_tiering(as_of="2013-09-01").steps
    assert opened.plan_expiry(as_of="2014-12-31").steps
    assert opened.expiry_outlook(as_of="2014-12-31").due
    assert opened.rehearse(make_trips(1, 2)).partitions == {"date=2013-01-01": 2}
    assert ds.dataset(f"{bucket}/city/trips", filesystem=theirs, partitioning="hive").count_rows() == 6
    assert theirs.isdir(f"{bucket}/city/trips")
    assert theirs.isdir(f"{bucket}/city")
    assert not theirs.exists(f"{bucket}/city/trips/date=2013-01-01/none.parquet")
    with pytest.raises(TableNotFound):
        Dataset.open(f"lake://{bucket}/city/none", fs=theirs)


@pytest.mark.slow
def test_a_writer_has_all_verbs_of_a_log_and_no_byte_is_deleted(as_role, server, bucket, fs, trips):
    theirs = as_role("writer")
    made = Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/city/more"), fs=theirs)
    made.ingest(make_trips(2, 3))
    made.ingest(make_trips(1, 2), "append")
    before = server.keys(bucket)
    assert made.compact().partitions
    assert made.hold("date=2013-01-01", reason="audit")
    assert made.retain("date=2013-01-02", until="2013-06-01")
    assert made.release("date=2013-01-01")
    assert made.plan_expiry(as_of="2014-12-31").apply().failed == {}
    assert made.undo_expiry("date=2013-01-01").changed
    rows = made.read().num_rows
    refused(made.erase, [("city", "==", "JFK")])
    assert made.read().num_rows == rows
    raw = f"{bucket}/city/raw/date=2013-01-01/a.parquet"
    with theirs.open(raw, "wb") as file:
        pq.write_table(make_trips(1, 2), file)
    assert Dataset.adopt(f"lake://{bucket}/city/raw", dry_run=False, fs=theirs).changed
    assert set(before) <= set(server.keys(bucket))
    with pytest.raises(TableWriteRefused):
        theirs.pipe_file(f"{bucket}/city/more/date=2013-01-01/raw", b"raw")
    with pytest.raises(TableExists, match="inside another"):
        Dataset.create(trip_spec(bucket, uri=f"{made.uri}/date=2013-01-01/inner"), fs=theirs)


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_an_operator_has_all_verbs(as_role, make_bucket, server, tmp_path, table_format):
    bucket = make_bucket(versioned=True)
    rig = with_role(server, "operator", tmp_path, bucket, "city")
    theirs = LakeFileSystem(**rig.storage_options, skip_instance_cache=True)
    spec = trip_spec(bucket, format=table_format, retention={"expire_after": "300d", "grace": "1h"})
    made = Dataset.create(spec, fs=theirs)
    made.ingest(make_trips(3, 3))
    assert made.hold("date=2013-01-03", reason="audit")
    assert len(made.plan_tiering(as_of="2013-06-01").apply().done) == 3
    assert len(made.plan_expiry(as_of="2014-12-31").apply().done) == 2
    assert made.undo_expiry("date=2013-01-01").changed
    assert made.release("date=2013-01-03")
    assert made.retain("date=2013-01-01", until="2030-01-01")
    assert made.erase([("city", "==", "JFK")], unsafe_delete_old_files=True).rows == 2
    if table_format == "delta":
        made.ingest(make_trips(1, 3), "append")
        assert made.compact().partitions
    made.ingest(make_trips(1, 3))
    later = Dataset.open(spec.uri, fs=theirs, clock=_Later(made._handle.clock))
    assert later.vacuum().deleted
    assert made.verify(as_of="2013-06-01", repair=True).ok


@dataclass(frozen=True)
class _Later:
    clock: Clock

    def now(self):
        return self.clock.now() + timedelta(days=2)


@pytest.mark.slow
def test_only_an_operator_expires_a_plain_table(as_role, make_bucket, server, tmp_path, fs):
    bucket = make_bucket(versioned=True)
    made = Dataset.create(trip_spec(bucket, format="parquet", retention={"expire_after": "300d", "grace": "0d"}), fs=fs)
    made.ingest(make_trips(3, 2))

    def as_(role):
        rig = with_role(server, role, tmp_path, bucket, "city")
        return Dataset.open(made.uri, fs=LakeFileSystem(**rig.storage_options, skip_instance_cache=True))

    with pytest.raises(PermissionError):
        as_("writer").plan_expiry(as_of="2014-12-31").apply()
    assert made.read().num_rows == 6
    operator = as_("operator")
    assert len(operator.plan_expiry(as_of="2014-12-31").apply().done) == 3
    operator.vacuum()
    assert operator.read().num_rows == 0


@pytest.mark.slow
def test_descriptions_undo_and_drop_by_role(as_role, make_bucket, server, tmp_path):
    """On a Delta table they are a writer's; what a dropped one leaves is an operator's to delete."""
    bucket = make_bucket(versioned=True)

    def as_(role, **more):
        rig = with_role(server, role, tmp_path, bucket, "city")
        return Dataset.open(spec.uri, fs=LakeFileSystem(**rig.storage_options, skip_instance_cache=True), **more)

    spec = trip_spec(bucket, retention={"expire_after": "300d", "grace": "1h"})
    made = Dataset.create(spec, fs=LakeFileSystem(**server.storage_options, skip_instance_cache=True))
    made.ingest(make_trips(2, 3))
    made.ingest(make_trips(1, 3), run_key="again")
    reader, writer = as_("reader"), as_("writer")
    change = {"retention": {"expire_after": "200d"}}
    assert reader.diff(change).differs
    assert [one.dry_run for one in reader.undo(run="again", dry_run=True)] == [True]
    assert reader.drop(dry_run=True).partitions == 2
    assert reader.hold("date=2013-01-01", reason="audit", dry_run=True)
    before = server.keys(bucket)
    for act in (
        lambda: reader.apply_spec(change),
        lambda: reader.undo(run="again"),
        reader.drop,
        lambda: reader.hold("date=2013-01-01", reason="audit"),
    ):
        with pytest.raises(PermissionError):
            act()
    assert server.keys(bucket) == before
    assert made.dropped_at is None
    assert writer.apply_spec(change).changed
    assert [one.changed for one in writer.undo(run="again")] == [True]
    assert writer.drop().partitions == 2
    assert writer.undrop().partitions == 2
    assert writer.drop().partitions == 2
    with pytest.raises(PermissionError):
        reader.undrop()
    later = as_("operator", clock=_Later(made._handle.clock))
    assert later.vacuum().ends_dataset
    assert server.keys(bucket) == []


@pytest.mark.slow
@pytest.mark.parametrize("role", ["writer", "operator"])
@pytest.mark.parametrize("versioned", [False, True])
def test_what_can_be_undone_of_a_plain_table_is_told_as_it_is(make_bucket, server, tmp_path, fs, versioned, role):
    """A writer, who may not ask whether the bucket keeps versions, goes by what the objects say."""
    bucket = make_bucket(versioned=versioned)
    rig = with_role(server, role, tmp_path, bucket, "city")
    theirs = LakeFileSystem(**rig.storage_options, skip_instance_cache=True)
    Dataset.create(trip_spec(bucket, format="parquet"), fs=theirs).ingest(make_trips(2, 3))
    made = Dataset.open(f"lake://{bucket}/city/trips", fs=theirs)
    made.ingest(make_trips(1, 2), run_key="again")
    assert made.read().num_rows == 5
    assert [entry.undo_until is not None for entry in made.history()] == [versioned, False]
    assert bool(made.undoable()) == versioned
    mine = Dataset.open(made.uri, fs=fs)
    for dry_run in (True, False):
        if versioned:
            assert [one.changed for one in mine.undo(run="again", dry_run=dry_run)] == [not dry_run]
        else:
            with pytest.raises(PolicyRefused, match="keeps no versions"):
                mine.undo(run="again", dry_run=dry_run)
    assert made.read().num_rows == (6 if versioned else 5)


@pytest.mark.slow
def test_a_plain_table_that_its_writer_may_not_empty_stays_in_use(make_bucket, server, tmp_path, fs):
    bucket = make_bucket(versioned=True)
    made = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    made.ingest(make_trips(2, 3))
    document = policy_document("writer", bucket, "city")
    sees_versions = {"Effect": "Allow", "Action": ["s3:GetBucketVersioning"], "Resource": [f"arn:aws:s3:::{bucket}"]}
    seeing = {**document, "Statement": [*document["Statement"], sees_versions]}
    for policy in (document, seeing):
        rig = with_policy(server, policy, tmp_path)
        theirs = Dataset.open(made.uri, fs=LakeFileSystem(**rig.storage_options, skip_instance_cache=True))
        with pytest.raises(PermissionError):
            theirs.drop()
        assert made.dropped_at is None
        assert made.read().num_rows == 6
    assert "drop" not in {entry.operation for entry in made.history()}
    assert made.ingest(make_trips(3, 1)).rows == 3


def test_a_table_above_the_prefix_is_known_to_who_may_not_list_it(fs, bucket, server, tmp_path):
    outer = Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/a/outer"), fs=fs)
    outer.ingest(make_trips(1, 2))
    rig = with_role(server, "writer", tmp_path, bucket, "a/outer/deep")
    theirs = LakeFileSystem(**rig.storage_options, skip_instance_cache=True)
    with pytest.raises(TableWriteRefused):
        theirs.pipe_file(f"{bucket}/a/outer/deep/raw", b"raw")
    with pytest.raises(TableExists, match="inside another"):
        Dataset.create(trip_spec(bucket, uri=f"lake://{bucket}/a/outer/deep/inner"), fs=theirs)
    with pytest.raises(OSError, match=r"(?i)denied|permission"):  # whose log may not be read is not shown raw
        theirs.find(f"{bucket}/a/outer/deep")


def test_each_role_includes_the_one_before():
    actions = [{a for s in policy_document(role, "bucket")["Statement"] for a in s["Action"]} for role in ROLES]
    assert actions[0] < actions[1] < actions[2]
    assert not [a for a in actions[2] if "*" in a or "BucketPolicy" in a or "Acl" in a]
    assert not [a for a in actions[1] if "Delete" in a]


def test_a_document():
    document = policy_document("reader", "warehouse", "flights/", kms_key="arn:aws:kms:us-east-1:1:key/k")
    assert document == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::warehouse"],
                "Condition": {"StringLike": {"s3:prefix": ["flights/*"]}},
            },
            {
                "Sid": "Tables",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::warehouse"],
                "Condition": {"StringEquals": {"s3:prefix": ["_delta_log/", "_lake/dataset.json"]}},
            },
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": ["arn:aws:s3:::warehouse/flights/*"],
            },
            {
                "Sid": "Key",
                "Effect": "Allow",
                "Action": ["kms:Decrypt"],
                "Resource": ["arn:aws:kms:us-east-1:1:key/k"],
            },
        ],
    }


def test_what_is_no_policy():
    with pytest.raises(InvalidSetting, match="reader, writer, operator"):
        policy_document("root", "bucket")
    with pytest.raises(InvalidName):
        policy_document("reader", "bucket/*")
    for prefix in ("a*", "${aws:username}"):
        with pytest.raises(InvalidSetting, match="stand for other keys"):
            policy_document("reader", "bucket", prefix)
