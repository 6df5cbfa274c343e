"""Verify tells of what no act of ours makes, should somebody else have done it."""

import pytest
from deltalake import DeltaTable

from tests.pipelines.samples import AS_OF, DAYS, daily_spec, meddled, rows
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.connector.objects.delete import SeenObject
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.ingest.run import ingest
from tierlake.pipelines.tables.snapshot import Change, StagedFile

GONE = f"date={DAYS[0]}"


@pytest.fixture
def delta(bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(bucket), fs=fs)
    made.ingest(rows())
    return made


@pytest.fixture
def plain(make_bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(make_bucket(versioned=True), format="parquet"), fs=fs)
    made.ingest(rows())
    return made


def found(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path) for problem in dataset.verify(as_of=AS_OF).problems]


@pytest.mark.slow
def test_erased_rows_that_another_writer_brought_back(delta: Dataset, fs: LakeFileSystem) -> None:
    version = delta.version
    old = sorted(file.path for file in delta._handle.table.snapshot().files if str(file.key) == GONE)
    delta.erase([("v", "==", 7), ("date", "==", DAYS[0])])
    assert found(delta) == []
    DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options()).restore(version)
    assert found(delta) == [("erased", path) for path in old]


def test_rows_that_another_writer_doubled(delta: Dataset, fs: LakeFileSystem) -> None:
    delta.ingest(rows([DAYS[0]], each=3), mode="append")
    version = delta.version
    delta.compact(GONE)
    assert found(delta) == []
    new = delta._handle.table.snapshot()
    table = DeltaTable(f"s3://{delta.spec.root}", storage_options=fs.delta_options())
    table.restore(version)
    came = [file for file in new.files if str(file.key) == GONE]
    handle = delta._handle
    handle.table.commit(Change("append", handle.table.snapshot(), adds=tuple(map(StagedFile, came))))
    ((kind, path),) = found(delta)
    assert kind == "doubled"
    assert path.startswith(GONE)


def test_a_held_partition_whose_files_are_gone(delta: Dataset, fs: LakeFileSystem) -> None:
    delta.plan_expiry(AS_OF).apply().raise_failures()
    delta.hold(GONE, reason="audit")
    assert found(delta) == []
    inside = fs.for_table(delta.spec.root)
    for path in inside.find(f"{delta.spec.root}/{GONE}"):
        inside.rm_file(path)
    assert found(delta) == [("held", GONE)]


@pytest.mark.parametrize("why", ["by us", "by others"])
def test_an_object_that_is_hidden(plain: Dataset, fs: LakeFileSystem, why: str) -> None:
    path = f"{GONE}/data.parquet"
    if why == "by us":
        plain.plan_expiry(AS_OF).apply().raise_failures()
        assert found(plain) == []
        return
    name = f"{plain.spec.root}/{path}"
    inside = fs.for_table(plain.spec.root)
    inside.rm_file(name)
    assert found(plain) == [("hidden", path)]
    marker = next(version for version in fs.object_versions(name) if version.is_delete_marker)
    inside.delete_seen([SeenObject(name, marker.version_id)])
    assert found(plain) == []


def test_a_live_file_of_a_delta_table_that_is_hidden(make_bucket, fs: LakeFileSystem) -> None:
    delta = Dataset.create(daily_spec(make_bucket(versioned=True)), fs=fs)
    delta.ingest(rows())
    file = delta._handle.table.snapshot().files[0]
    fs.for_table(delta.spec.root).rm_file(f"{delta.spec.root}/{file.path}")
    (problem,) = delta.verify(as_of=AS_OF).problems
    assert (problem.kind, problem.path) == ("missing", file.path)
    assert "a delete marker hides it" in problem.detail


@pytest.mark.slow
def test_an_ingest_that_comes_after_an_erasure_is_no_erased_row(delta: Dataset) -> None:
    """Its files were there, not committed yet, and hold such rows: they are newer, and nobody erased them."""
    handle = meddled(delta, before=lambda: delta.erase([("v", "==", 7)]))
    ingest(handle, rows([DAYS[0]]))
    assert found(delta) == []
    assert delta.read(where=[("v", "==", 7)]).num_rows == 1


def test_the_same_rows_ingested_again_are_there_once(plain: Dataset) -> None:
    """A plain object keeps its path, and with the same bytes its ETag."""
    plain.ingest(rows())
    assert found(plain) == []
