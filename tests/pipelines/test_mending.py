"""Rejected rows can be listed, mended and ingested, and are not lost or doubled on the way."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines import Dataset
from pipelines.errors import RejectedTooMany, SourceError, UnsupportedByTable
from tests.pipelines.conftest import trip_spec


def source(times):
    return pa.table(
        {
            "at": pa.array(times, pa.string()),
            "city": ["JFK"] * len(times),
            "fare": pa.array(range(len(times)), pa.float64()),
        }
    )


GOOD = [f"2013-01-01T0{hour}:00:00+00:00" for hour in range(8)]
BAD = ["soon", None]


@pytest.fixture
def mixed(bucket, fs):
    dataset = Dataset.create(trip_spec(bucket, rejects={"max_ratio": 0.5}), fs=fs)
    dataset.ingest(source([*GOOD, *BAD]))
    return dataset


def mend(rows):
    return rows.set_column(0, "at", pa.array(["2013-01-02T00:00:00+00:00"] * rows.num_rows))


def test_what_was_rejected_is_listed_with_its_reasons(mixed):
    (file,) = mixed.rejects()
    assert (file.rows, file.reasons) == (2, {"at is not a time": 1, "at is null": 1})
    assert file.source == "Table"
    assert file.path.startswith(f"{mixed.spec.root}/_lake/rejects/")


def test_mended_rows_are_appended_and_the_file_is_removed(mixed):
    (file,) = mixed.rejects()
    result = mixed.ingest_rejects(f"lake://{file.path}", fix=mend)
    assert (result.rows, [str(key) for key in result.partitions]) == (2, ["date=2013-01-02"])
    assert not mixed.rejects()
    assert sorted(mixed.read().column("fare").to_pylist()) == list(range(10))
    assert mixed.history()[0].operation == "append"
    with pytest.raises(SourceError):
        mixed.ingest_rejects(file.path, fix=mend)


def test_dying_between_commit_and_removal_doubles_nothing(mixed, monkeypatch):
    (file,) = mixed.rejects()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mixed.fs, "rm_file", die)
        with pytest.raises(KeyboardInterrupt):
            mixed.ingest_rejects(file.path, fix=mend)
    assert mixed.read().num_rows == 10
    assert not mixed.ingest_rejects(file.path, fix=mend).committed
    assert mixed.read().num_rows == 10
    assert not mixed.rejects()


def test_what_is_still_bad_is_kept_in_a_new_file(mixed):
    (file,) = mixed.rejects()
    half = pa.array(["2013-01-02T00:00:00+00:00", "later"])
    result = mixed.ingest_rejects(file.path, fix=lambda rows: rows.set_column(0, "at", half))
    assert (result.rows, result.rejected) == (1, 1)
    (left,) = mixed.rejects()
    assert left.path != file.path
    assert left.reasons == {"at is not a time": 1}


def test_too_many_still_bad_leave_the_file(mixed):
    (file,) = mixed.rejects()
    with pytest.raises(RejectedTooMany):
        mixed.ingest_rejects(file.path)
    assert file.path in {left.path for left in mixed.rejects()}
    assert mixed.read().num_rows == 8


def test_rows_that_the_fix_leaves_out_are_gone(mixed):
    (file,) = mixed.rejects()
    mixed.ingest_rejects(file.path, fix=lambda rows: mend(rows.filter(pc.is_valid(rows.column("at")))))
    assert mixed.read().num_rows == 9
    assert not mixed.rejects()


@pytest.mark.parametrize(
    "path", ["lake://elsewhere/x.parquet", "{root}/_lake/dataset.json", "{root}/_lake/rejects/a/b"]
)
def test_only_reject_files_of_this_dataset(mixed, path):
    with pytest.raises(SourceError, match="no reject file"):
        mixed.ingest_rejects(path.format(root=mixed.spec.root), fix=mend)


def test_a_plain_table_takes_no_append(bucket, fs):
    plain = Dataset.create(trip_spec(bucket, format="parquet", rejects={"max_ratio": 0.5}), fs=fs)
    plain.ingest(source([*GOOD, *BAD]))
    (file,) = plain.rejects()
    with pytest.raises(UnsupportedByTable):
        plain.ingest_rejects(file.path, fix=mend)
    assert plain.ingest_rejects(file.path, fix=mend, mode="replace").rows == 2
    assert plain.read().num_rows == 10


def test_a_bad_time_in_a_text_file_is_a_bad_row_also_when_the_table_knows_the_type(bucket, fs, tmp_path):
    dataset = Dataset.create(trip_spec(bucket, rejects={"max_ratio": 0.5}), fs=fs)
    path = tmp_path / "trips.csv"
    path.write_text("at,city,fare\n2013-01-01T00:00:00+00:00,JFK,1.5\nsoon,LGA,2.5\n")
    for _ in range(2):
        result = dataset.ingest(path, mode="append")
        assert (result.rows, result.rejected) == (1, 1)
    assert dataset.schema.field("at").type == pa.timestamp("us", "UTC")
    assert dataset.read().column("fare").to_pylist() == [1.5, 1.5]
