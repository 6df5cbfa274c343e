"""Footers beside a table: a scan of many files asks none of them, and losing footers is never an error."""

import uuid
from datetime import timedelta

import fsspec
import pytest

from tests.ledger import recording
from tests.pipelines.samples import clock_of, daily, daily_spec, rows
from tierlake.pipelines import Dataset
from tierlake.pipelines.parquet import planned
from tierlake.pipelines.tables import delta_writer, footers
from tierlake.pipelines.tables.footers import FooterShelf, KeptFooter

DAYS = [f"2013-01-{day:02}" for day in range(1, 13)]


@pytest.fixture(autouse=True)
def _all_files_are_large(monkeypatch):
    monkeypatch.setattr(planned, "WHOLE_BYTES", 0)
    monkeypatch.setattr(footers, "WHOLE_BYTES", 0)


@pytest.fixture(scope="module")
def ledger(seaweedfs, tmp_path_factory):
    with recording(seaweedfs.endpoint_url, tmp_path_factory.mktemp("ledger")) as ledger:
        yield ledger


def shelf_of(dataset):
    return FooterShelf(dataset._handle.fs, dataset._handle.table.root)


def names_of(dataset):
    handle = dataset._handle
    return sorted(path.rpartition("/")[2] for path in handle.fs.list_fresh(f"{handle.table.root}/_lake/footers"))


def sizes_of(dataset):
    return {file.path: file.size for file in dataset._handle.table.snapshot().files}


def test_a_scan_asks_no_file_for_its_footer(seaweedfs, ledger, request):
    """At n and 2n files; of one column of two, whose bytes alone are fetched."""
    options = {**seaweedfs.storage_options, "endpoint_url": ledger.url}
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **options)
    bucket = seaweedfs.make_bucket()
    request.addfinalizer(lambda: seaweedfs.drop_bucket(bucket))
    dataset = Dataset.create(daily_spec(bucket), fs=fs)
    for count, days in ((6, DAYS[:6]), (12, DAYS[6:])):
        dataset.ingest(rows(days, each=2000))
        opened = Dataset.open(dataset.uri, fs=fs)
        ledger.turn_page()
        assert opened.read(columns=["v"]).num_rows == 2000 * count
        page = [line for line in ledger.page(bucket) if "_delta_log" not in line and "dataset.json" not in line]
        page = [footers._NAME.sub("*.arrow", line) for line in page]
        assert f"{count} GET date=*/*.parquet range" in page
        assert sum(" GET _lake/footers/" in line for line in page) <= 2
        assert sum("LIST _lake/footers/" in line for line in page) == 1
        assert len(page) <= 4
        spans = [
            entry.range.strip().removeprefix("bytes=").split("-")
            for entry in ledger.entries()
            if entry.path.endswith(".parquet")
        ]
        fetched = sum(int(end) + 1 - int(start) for start, end in spans)
        kept = shelf_of(dataset).footers(sizes_of(dataset))
        chunks = [footer.row_group(0).column(1) for footer in kept.values()]
        assert {chunk.path_in_schema for chunk in chunks} == {"v"}
        assert fetched <= 1.05 * sum(chunk.total_compressed_size for chunk in chunks)


def test_they_are_hot_and_encrypted_as_the_log_is(make_bucket, fs, server):
    bucket = make_bucket()
    dataset = Dataset.create(daily_spec(bucket, write={"storage_class": "STANDARD"}), fs=fs)
    dataset.ingest(rows(DAYS[:3]))
    (name,) = names_of(dataset)
    head = server.admin.head_object(Bucket=bucket, Key=f"daily/_lake/footers/{name}")
    described = server.admin.head_object(Bucket=bucket, Key="daily/_lake/dataset.json")
    assert head.get("StorageClass") == described.get("StorageClass")
    assert head.get("ServerSideEncryption") == described.get("ServerSideEncryption")


def test_every_kind_of_commit_keeps_them(bucket, fs):
    dataset = daily(fs, bucket)
    dataset.ingest(rows(DAYS[:3]), mode="append")
    dataset.ingest(rows(DAYS[:3], start=100), mode="append")
    dataset.compact()
    dataset.erase([("v", "==", 100)])
    sizes = sizes_of(dataset)
    assert len(sizes) == 6
    assert shelf_of(dataset).footers(sizes).keys() == sizes.keys()
    kept = shelf_of(dataset).footers(sizes)
    by_path = {path: footer.num_rows for path, footer in kept.items()}
    assert by_path == {file.path: file.rows for file in dataset._handle.table.snapshot().files}


def test_what_is_lost_or_wrong_is_read_from_the_files(bucket, fs):
    dataset = daily(fs, bucket)
    expected = dataset.read().to_pylist()
    handle, shelf = dataset._handle, shelf_of(dataset)
    folder = f"{handle.table.root}/_lake/footers"
    (name,) = names_of(dataset)
    good = handle.fs.cat_file(f"{folder}/{name}")
    other = footers._packed([KeptFooter(path, size + 1, b"PAR1") for path, size in sizes_of(dataset).items()])
    bad = footers._packed([KeptFooter(path, size, b"PAR1-") for path, size in sizes_of(dataset).items()])
    for data in (b"", b"x" * 100, good[:-20], good[:200] + b"\0" * 50 + good[250:], other, bad):
        handle.fs.pipe_file(f"{folder}/{name}", data)
        assert dataset.read().to_pylist() == expected
    handle.fs.rm(f"{folder}/{name}")
    assert dataset.read().to_pylist() == expected
    assert shelf.footers(sizes_of(dataset)) == {}


def test_a_commit_that_the_store_keeps_no_footers_of_is_made(bucket, fs, monkeypatch):
    dataset = Dataset.create(daily_spec(bucket), fs=fs)

    def refuse(*args):
        raise OSError("the disk of footers is full")

    monkeypatch.setattr(FooterShelf, "keep", refuse)
    dataset.ingest(rows(DAYS[:3]))
    assert (dataset.read().num_rows, names_of(dataset)) == (60, [])


def test_a_footer_of_a_failed_commit_is_not_believed(bucket, fs):
    dataset = daily(fs, bucket)
    shelf, sizes = shelf_of(dataset), sizes_of(dataset)
    path = min(sizes)
    data = footers.footer_bytes(shelf.footers(sizes)[max(sizes)], 1)
    shelf.keep(99, [KeptFooter(path, sizes[path] + 1, data), KeptFooter("date=2013-01-01/part-x.parquet", 5, data)])
    kept = shelf.footers(sizes)
    assert kept.keys() == sizes.keys()
    assert dataset.read().num_rows == 80


def test_a_checkpoint_folds_and_a_vacuum_deletes(bucket, fs, monkeypatch):
    monkeypatch.setattr(delta_writer, "_CHECKPOINT_INTERVAL", 5)
    dataset = daily(fs, bucket)
    for day in DAYS[:6]:
        dataset.ingest(rows([day]))
    kinds = [name.split("-")[1] for name in names_of(dataset)]
    assert kinds == ["commit"] * 5 + ["fold"] + ["commit"] * 2, "newest first"
    shelf, sizes = shelf_of(dataset), sizes_of(dataset)
    assert len(shelf._current()) == 6, "no more than the commits since the checkpoint, and the fold"
    assert shelf.footers(sizes).keys() == sizes.keys()
    assert dataset.vacuum().deleted == 0
    assert len(names_of(dataset)) == 8, "somebody may be reading them"
    clock_of(dataset).ahead = timedelta(days=2)
    dataset.vacuum()
    assert [name.split("-")[1] for name in names_of(dataset)] == ["commit"] * 5 + ["fold"]
    assert shelf.footers(sizes).keys() == sizes.keys()
    assert dataset.read().num_rows == 20 * len(sizes)


def test_an_erasure_leaves_no_bounds_of_erased_files(bucket, fs):
    dataset = daily(fs, bucket)
    before = sizes_of(dataset)
    dataset.erase([("v", "==", 0)])
    clock_of(dataset).ahead = timedelta(days=2)
    dataset.vacuum()
    handle = dataset._handle
    stored = {
        footer.path
        for name in names_of(dataset)
        for footer in footers._unpacked(handle.fs.cat_file(f"{handle.table.root}/_lake/footers/{name}"))
    }
    assert stored == set(sizes_of(dataset))
    assert not stored >= set(before)


def test_an_erasure_of_the_last_large_file_leaves_no_bounds(bucket, fs, monkeypatch):
    """Where no file needs a footer beside the table any more, what is there goes all the same."""
    dataset = daily(fs, bucket)
    monkeypatch.setattr(footers, "WHOLE_BYTES", 1 << 20)
    dataset.erase([("v", ">=", 0)])
    clock_of(dataset).ahead = timedelta(days=2)
    dataset.vacuum()
    handle = dataset._handle
    assert [
        footer.path
        for name in names_of(dataset)
        for footer in footers._unpacked(handle.fs.cat_file(f"{handle.table.root}/_lake/footers/{name}"))
    ] == []


def test_an_erasure_leaves_no_bounds_where_the_log_was_made_anew(bucket, fs):
    """Versions count from 0 again, beside footers of later versions."""
    dataset = daily(fs, bucket)
    shelf, before = shelf_of(dataset), sizes_of(dataset)
    shelf.fold(90, lambda: before)
    shelf.keep(91, [KeptFooter(min(before), before[min(before)], b"PAR1")])
    dataset.erase([("v", ">=", 0)])
    clock_of(dataset).ahead = timedelta(days=2)
    dataset.vacuum()
    handle = dataset._handle
    stored = {
        footer.path
        for name in names_of(dataset)
        for footer in footers._unpacked(handle.fs.cat_file(f"{handle.table.root}/_lake/footers/{name}"))
    }
    assert stored <= set(sizes_of(dataset))


def test_an_object_has_bounded_size(bucket, fs, monkeypatch):
    monkeypatch.setattr(footers, "_MOST_BYTES", 10_000)
    shelf = FooterShelf(fs.for_table(f"{bucket}/t"), f"{bucket}/t")
    shelf.keep(1, [KeptFooter(f"{number:03}", number, uuid.uuid4().bytes * 60) for number in range(100)])
    (name,) = fs.list_fresh(f"{bucket}/t/_lake/footers")
    kept = [footer.path for footer in footers._unpacked(fs.cat_file(name))]
    assert kept == [f"{number:03}" for number in range(99, 89, -1)], "the last ones: they are the newest days"


def test_what_is_too_much_to_consider_goes(bucket, fs, monkeypatch):
    monkeypatch.setattr(footers, "_LISTED", 3)
    shelf = FooterShelf(fs.for_table(f"{bucket}/t"), f"{bucket}/t")
    for version in range(5):
        shelf.keep(version, [KeptFooter(f"{version}", 1, b"PAR1")])
    now = fs.server_time(f"{bucket}/t")
    assert shelf.outdated(now - timedelta(days=1)) == []
    outdated = shelf.outdated(now + timedelta(days=1))
    assert len(outdated) == 2
    assert outdated == sorted(fs.list_fresh(f"{bucket}/t/_lake/footers"))[3:]
