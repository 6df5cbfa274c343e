"""Surveys of buckets on real servers, of what others wrote: nothing but the survey has been through our code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pytest
from deltalake import DeltaTable
from fsspec import filesystem

from tests.ledger import recording
from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, delta_options, parquet, put, write_delta, write_hive
from tests.servers.roles import with_role
from tierlake.connector.errors import AccessDenied, BucketNotFound, InvalidName, InvalidSetting, ObjectNotFound
from tierlake.pipelines import Dataset
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.survey import listing, survey

LARGE = b"x" * 200_000
OLD = timedelta(days=200)


def of_path(result, path):
    (one,) = [one for one in result.datasets if one.uri.split("/", 3)[-1] == path]
    return one


def waste(result, name):
    (one,) = [one for one in result.waste if one.name == name]
    return one


def names(entries):
    return {entry.name for entry in entries}


def later(fs, bucket):
    """The clock of 200 days from now."""
    return ServerClock(fs, bucket, OLD)


def put_iceberg(server, root):
    put(server, f"{root}/metadata/00001-a.metadata.json", b"{}")
    put(server, f"{root}/metadata/version-hint.text", b"1")
    put(server, f"{root}/metadata/snap-1.avro", b"manifest")
    put(server, f"{root}/data/day=2013-01-01/a.parquet", parquet(by_day()))


def begin_upload(server, bucket, key, size=1000):
    upload = server.admin.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    server.admin.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"z" * size)


def test_a_bucket_with_a_bit_of_everything(bucket, fs, server, tmp_path):
    write_delta(server, f"{bucket}/lake/theirs", by_day(), ["day"])
    write_delta(server, f"{bucket}/lake/theirs", by_day(), ["day"], mode="overwrite")
    host = server.endpoint_url.partition("://")[2]
    arrow = pafs.S3FileSystem(access_key=server.key, secret_key=server.secret, endpoint_override=host, scheme="http")
    pads.write_dataset(
        by_day(), f"{bucket}/raw/hive", filesystem=arrow, format="parquet", partitioning=["day", "shop"],
        partitioning_flavor="hive",
    )  # fmt: skip
    put_iceberg(server, f"{bucket}/ice/events")
    for month in range(5):
        put(server, f"{bucket}/logs/2024/0{month + 1}/a b%20é.csv.gz", b"x" * 100)
    ours = Dataset.create(trip_spec(bucket), fs=fs)
    ours.ingest(make_trips())
    ours.ingest(make_trips(fare=2.0))
    before = server.keys(bucket)
    begin_upload(server, bucket, "logs/half")
    with recording(server.endpoint_url, tmp_path) as ledger:
        through = filesystem("lake", skip_instance_cache=True, **{**server.storage_options, "endpoint_url": ledger.url})
        result = survey(f"s3://{bucket}", fs=through)
        assert {entry.method for entry in ledger.entries()} <= {"GET", "HEAD"}
    assert server.keys(bucket) == before

    kinds = {one.uri.split("/", 3)[-1]: one.kind for one in result.datasets}
    assert kinds == {
        "lake/theirs": "delta", "raw/hive": "hive", "ice/events": "iceberg", "logs": "files", "city/trips": "delta",
    }  # fmt: skip
    assert result.objects == len(before) == sum(one.objects for one in result.datasets) + result.folder_markers
    sizes = sum(server.admin.head_object(Bucket=bucket, Key=key)["ContentLength"] for key in before)
    assert result.bytes == sizes == sum(one.bytes for one in result.datasets)

    theirs = of_path(result, "lake/theirs")
    live = DeltaTable(f"s3://{bucket}/lake/theirs", storage_options=delta_options(server)).get_add_actions()
    assert theirs.live_bytes == sum(pa.table(live).column("size_bytes").to_pylist())
    assert (theirs.unreferenced_files, theirs.partitions, theirs.ages_by) == (4, 4, "event time of day")
    assert theirs.can_adopt

    hive = of_path(result, "raw/hive")
    assert (hive.columns, hive.partitions, hive.format) == (("day", "shop"), 8, "Parquet")
    assert (hive.small_files, hive.files_after_compaction) == (8, 8)
    assert hive.oldest.date().isoformat() == "2013-01-02"

    ice = of_path(result, "ice/events")
    assert (ice.kind, ice.can_adopt, ice.unreferenced_files) == ("iceberg", False, None)
    assert "orphans are known only to its manifests" in ice.notes[0]
    assert ice.metadata_bytes == 11

    logs = of_path(result, "logs")
    assert (logs.format, logs.objects, logs.ages_by) == ("CSV", 5, "last change")
    trips = of_path(result, "city/trips")
    assert (trips.is_ours, trips.can_adopt, trips.unreferenced_files) == (True, False, 4)

    assert (waste(result, "incomplete uploads").count, waste(result, "incomplete uploads").bytes) == (1, 1000)
    assert waste(result, "unreferenced files").count == 8
    assert {"reads", "what may be deleted"} <= names(result.unknown)
    assert "vacuum Delta tables" in names(result.policies)
    text = str(result)
    assert max(map(len, text.splitlines())) <= 80
    order = [text.index(part) for part in (result.uri, "dataset", "waste", "What would save", "What cannot be told")]
    assert order == sorted(order)


def test_old_versions_and_delete_markers_are_counted_where_they_lie(make_bucket, fs, server):
    bucket = make_bucket(versioned=True)
    for _ in range(3):
        put(server, f"{bucket}/a/x.csv", LARGE)
        put(server, f"{bucket}/b/y.csv", LARGE)
    server.admin.delete_object(Bucket=bucket, Key="b/y.csv")
    put(server, f"{bucket}/b/z.csv", b"z")
    result = survey(f"s3://{bucket}", fs=fs)
    assert (waste(result, "old versions").count, waste(result, "old versions").bytes) == (5, 5 * len(LARGE))
    assert waste(result, "delete markers").count == 1
    assert of_path(result, "a").old_version_objects == 2
    assert of_path(result, "b").old_version_objects == 3
    assert "expire old versions after 30 d" not in names(result.policies)  # they became old just now
    (policy,) = survey(f"s3://{bucket}/b", fs=fs, clock=later(fs, bucket)).policies
    assert (policy.name, policy.objects, policy.bytes) == ("expire old versions after 30 d", 3, 3 * len(LARGE))
    assert "gives up the way back" in policy.caution


@pytest.mark.each_value
def test_uploads_below_a_prefix_and_old_ones(bucket, fs, server):
    put(server, f"{bucket}/a/x.csv", b"x")
    begin_upload(server, bucket, "a/one")
    begin_upload(server, bucket, "b/other", 2000)
    result = survey(f"s3://{bucket}/a", fs=fs, clock=later(fs, bucket))
    assert (waste(result, "incomplete uploads").count, waste(result, "incomplete uploads").bytes) == (1, 1000)
    (policy,) = result.policies
    assert (policy.name, policy.bytes, policy.monthly_then) == ("abort uploads after 7 d", 1000, 0)


def test_a_readers_rights_are_enough_and_what_they_hide_is_named(make_bucket, server, tmp_path):
    bucket = make_bucket(versioned=True)
    write_hive(server, f"{bucket}/hive")
    begin_upload(server, bucket, "hive/half")
    reader = with_role(server, "reader", tmp_path, bucket)
    fs = filesystem("lake", skip_instance_cache=True, **reader.storage_options)
    result = survey(f"s3://{bucket}", fs=fs)
    assert of_path(result, "hive").objects == 4
    assert {"incomplete uploads", "lifecycle rules"} <= names(result.unknown)
    if server.name == "minio":  # it lists versions to whoever may list objects
        assert waste(result, "old versions").count == 0
    else:
        assert waste(result, "old versions").count is None
        assert "old versions" in names(result.unknown)
    assert waste(result, "incomplete uploads").bytes is None
    assert "may not ask" in str(result)
    below = with_role(server, "reader", tmp_path, bucket, "hive")
    fs = filesystem("lake", skip_instance_cache=True, **below.storage_options)
    assert survey(f"s3://{bucket}/hive", fs=fs).objects == 4
    with pytest.raises(AccessDenied):
        survey(f"s3://{bucket}", fs=fs)


@pytest.mark.more_than_a_role("no role lists the names of all buckets")
def test_a_place_that_is_not_there_names_the_nearest(bucket, fs, server):
    assert survey(f"s3://{bucket}/", fs=fs).datasets == ()
    assert "no objects" in str(survey(f"lake://{bucket}", fs=fs))
    put(server, f"{bucket}/flights/x.csv", b"x")
    with pytest.raises(ObjectNotFound, match="Nothing lies below") as missing:
        survey(f"s3://{bucket}/fligths", fs=fs)
    assert "'flights'" in missing.value.hint
    with pytest.raises(BucketNotFound) as gone:
        survey(f"s3://{bucket[:-1]}", fs=fs)
    assert bucket in gone.value.hint
    for url in ("gs://b/x", "s3://", ""):
        with pytest.raises(InvalidName, match="names no bucket"):
            survey(url, fs=fs)
    with pytest.raises(InvalidSetting):
        survey("s3://key:secret@bucket/x", fs=fs)


def test_a_prefix_inside_a_dataset_says_so(bucket, fs, server):
    write_delta(server, f"{bucket}/t", by_day(), ["day"])
    notes = survey(f"s3://{bucket}/t/day=2013-01-01", fs=fs).notes
    assert any("inside the partitions" in note for note in notes)
    assert any(f"inside a table, lake://{bucket}/t" in note for note in notes)


def test_nested_tables_are_their_own(bucket, fs, server):
    write_hive(server, f"{bucket}/outer")
    write_delta(server, f"{bucket}/outer/day=2013-01-01/inner", by_day(), [])
    result = survey(f"s3://{bucket}", fs=fs)
    outer, inner = of_path(result, "outer"), of_path(result, "outer/day=2013-01-01/inner")
    assert (outer.objects, outer.can_adopt) == (4, False)
    assert (inner.kind, inner.unreferenced_files, inner.can_adopt) == ("delta", 0, True)
    assert "another table lies below it" in str(result)


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_odd_keys_are_counted_like_others(bucket, fs, server):
    odd = ["a b/x y.parquet", "100%/%20.csv", "ünïcode/雪.json", "stars*/?[x].csv", "=/x.csv", "x=/y.csv", "..a/x"]
    for key in odd:
        put(server, f"{bucket}/{key}", b"12345")
    result = survey(f"s3://{bucket}", fs=fs)
    assert (result.objects, result.bytes) == (len(odd), 5 * len(odd))
    assert {"a b", "100%", "ünïcode", "stars*", "="} <= {one.uri.split("/", 3)[-1] for one in result.datasets}
    assert max(map(len, str(result).splitlines())) <= 80


def test_slashes_in_a_row_are_folders_without_a_name(moto):
    fs = filesystem("lake", skip_instance_cache=True, **moto.storage_options)
    bucket = moto.make_bucket()
    for key in ("/x.csv", "a//x.csv", "a/x.csv", "//"):
        put(moto, f"{bucket}/{key}", b"12345" if key != "//" else b"")
    result = survey(f"s3://{bucket}", fs=fs)
    assert {one.uri.removeprefix(f"lake://{bucket}"): one.objects for one in result.datasets} == {
        "/": 1,
        "/a": 1,
        "/a/": 1,
    }
    assert (result.objects, result.folder_markers) == (4, 1)
    moto.drop_bucket(bucket)


def test_a_budget_names_what_it_left_out(bucket, fs, server):
    write_hive(server, f"{bucket}/a", files=2)
    write_hive(server, f"{bucket}/b", files=2)
    result = survey(f"s3://{bucket}", fs=fs, objects=10)
    assert (result.objects, result.is_complete) == (10, False)
    assert (of_path(result, "a").can_adopt, of_path(result, "b").can_adopt) == (True, False)
    assert "listed in part" in of_path(result, "b").notes[0]
    assert result.unknown[0].name == "the rest of the objects"
    assert "10 were listed, not what comes after" in result.unknown[0].reason
    assert "as far as it was listed" in str(result)
    assert survey(f"s3://{bucket}", fs=fs, objects=16).is_complete
    write_delta(server, f"{bucket}/t", by_day(), [])
    ticks = count(step=100)
    late = survey(f"s3://{bucket}", fs=fs, seconds=60, timer=lambda: next(ticks))
    assert "the time was up" in str(late)
    assert of_path(late, "t").live_bytes is None


def test_a_table_with_features_of_others_is_named_and_not_counted(bucket, fs, server):
    root = f"{bucket}/dv"
    write_delta(server, root, by_day(), [])
    table = DeltaTable(f"s3://{root}", storage_options=delta_options(server))
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    put(server, f"{bucket}/broken/_delta_log/{0:020}.json", b"not json")
    put(server, f"{bucket}/broken/x.parquet", parquet(by_day()))
    result = survey(f"s3://{bucket}", fs=fs)
    one = of_path(result, "dv")
    assert "changeDataFeed" in " ".join(one.notes)
    assert (one.unreferenced_files, one.can_adopt) == (None, False)
    assert "cannot be read" in " ".join(of_path(result, "broken").notes)


def test_months_that_may_be_days_are_not_guessed(bucket, fs, server):
    for month in (1, 2, 3):
        put(server, f"{bucket}/h/date=2024-0{month}-01/x.parquet", parquet(by_day()))
    result = survey(f"s3://{bucket}", fs=fs)
    assert of_path(result, "h").ages_by == "last change"
    assert "may be months" in of_path(result, "h").notes[0]
    assert "tiers" not in "".join(line for line in result.specs["h.yaml"].splitlines() if not line.startswith("#"))


def test_classes_and_policies_on_aws(moto):
    fs = filesystem("lake", skip_instance_cache=True, **moto.storage_options)
    bucket = moto.make_bucket()
    for day in (1, 2):
        put(moto, f"{bucket}/h/date=2013-01-0{day}/x.parquet", LARGE)
    put(moto, f"{bucket}/arch/x.csv", LARGE, StorageClass="GLACIER")
    put(moto, f"{bucket}/arch/y.csv", LARGE, StorageClass="STANDARD_IA")
    put(moto, f"{bucket}/arch/z.csv", b"small")
    result = survey(f"s3://{bucket}", fs=fs)
    classes = {one.storage_class: one.objects for one in of_path(result, "arch").classes}
    assert classes == {"GLACIER": 1, "STANDARD_IA": 1, "STANDARD": 1}
    (tiering,) = result.policies  # only event time is old
    assert tiering.name == "tierlake: warm after 30 d, cold after 90 d, by event time"
    assert (tiering.objects, tiering.bytes) == (2, 2 * len(LARGE))
    assert 0 < tiering.one_off <= tiering.monthly_saved * 12
    assert tiering.read_once > 0
    aged = {one.name: one for one in survey(f"s3://{bucket}", fs=fs, clock=later(fs, bucket)).policies}
    rule = aged["lifecycle rule: STANDARD_IA after 30 d, GLACIER_IR after 90 d"]
    assert rule.objects == 2  # archived ones and small ones stay; from STANDARD_IA it would cost more than it saves
    watched = aged["S3 Intelligent-Tiering for what is older than 30 d, if nobody reads it"]
    assert "if all is read it costs" in watched.caution
    assert all(one.one_off + one.monthly_saved > 0 and one.monthly_saved * 12 >= one.one_off for one in aged.values())
    moto.drop_bucket(bucket)


@pytest.mark.slow
def test_requests_are_linear_in_pages_and_the_report_is_no_larger(bucket, fs, server, tmp_path, monkeypatch):
    def asked(first, end):
        paths = [f"{bucket}/t/date=2013-01-{n % 28 + 1:02d}/{n}.csv" for n in range(first, end)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda path: put(server, path, b"x"), paths))
        folder = tmp_path / f"{first}-{end}"
        folder.mkdir()
        with recording(server.endpoint_url, folder) as ledger:
            through = filesystem(
                "lake", skip_instance_cache=True, **{**server.storage_options, "endpoint_url": ledger.url}
            )
            result = survey(f"s3://{bucket}", fs=through)
        assert result.objects == end
        return len(ledger.entries()), len(str(result)), result.datasets

    few, many = asked(0, 1000), asked(1000, 2000)
    assert many[0] == few[0] + 1
    assert many[1] <= few[1] + 20
    monkeypatch.setattr(listing, "_SERIAL_PAGES", 1)  # in parts, of which each may cost a request more
    parts = asked(2000, 2000)
    assert parts[2] == many[2]
    assert many[0] < parts[0] <= many[0] + 3 + listing.PARTS_MAX


def test_of_a_shallow_clone_nobody_says_what_is_unreferenced(server, fs, bucket):
    source, clone = f"{bucket}/source", f"{bucket}/clone"
    write_delta(server, source, pa.table({"day": ["1", "2"], "v": [1, 2]}), ["day"])
    put(server, f"{clone}/stray.parquet", b"not named")
    commit = "_delta_log/00000000000000000000.json"
    theirs = DeltaTable(f"s3://{source}", storage_options=delta_options(server))
    log = server.admin.get_object(Bucket=bucket, Key=f"source/{commit}")["Body"].read().decode()
    for path in theirs.get_add_actions().column("path").to_pylist():
        log = log.replace(f'"path":"{path}"', f'"path":"s3://{source}/{path}"')
    assert f"s3://{source}/" in log
    put(server, f"{clone}/{commit}", log.encode())
    one = of_path(survey(f"s3://{bucket}", fs=fs), "clone")
    assert one.unreferenced_files is None
    assert any("shallow clone" in note for note in one.notes)
