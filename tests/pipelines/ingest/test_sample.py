"""What a sample of rows tells of the dataset that they would make."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import SchemaMismatch, SourceError, SpecError
from tierlake.pipelines.ingest.sample import describe_sample, spec_from_sample

URI = "lake://warehouse/trips"
START = datetime(2013, 1, 1, tzinfo=UTC)


def time_partition(**columns):
    return spec_from_sample(pa.table(columns), URI).partition.time


def instants(count, step, zone="UTC"):
    return pa.array([START + step * number for number in range(count)], pa.timestamp("ns", zone))


def test_the_first_column_with_times_makes_days():
    when = time_partition(
        id=[1, 2], nothing=pa.nulls(2, pa.date32()), at=instants(2, timedelta(hours=30)), on=[START] * 2
    )
    assert (when.column, when.every, when.timezone, when.key) == ("at", "day", "UTC", "date")


@pytest.mark.parametrize(
    ("zone", "timezone"), [("America/New_York", "America/New_York"), ("+05:30", "UTC"), (None, "UTC")]
)
def test_days_begin_where_the_columns_do(zone, timezone):
    assert time_partition(at=instants(3, timedelta(days=1)).cast(pa.timestamp("us", zone))).timezone == timezone


def test_dates_that_all_begin_a_month_make_months():
    assert time_partition(on=[date(2013, 1, 1), date(2013, 2, 1), None]).every == "month"
    assert time_partition(on=[date(2013, 1, 1), date(2013, 2, 2)]).every == "day"
    assert time_partition(on=[date(2013, 1, 1)]).every == "day", "one is no rule"


def test_the_key_is_none_of_the_data():
    assert time_partition(date=[date(2013, 1, 3)]).key == "partition_date"
    assert time_partition(date=["x"], partition_date=["y"], at=[START]).key == "partition_partition_date"


def test_rows_without_times_make_one_partition():
    assert spec_from_sample(pa.table({"id": [1]}), URI).partition.time is None


def test_types_are_declared_where_they_have_a_name():
    rows = {"at": instants(1, timedelta(0)), "id": pa.array([1], pa.uint8()), "s": [{"a": 1}], "n": pa.nulls(1)}
    spec = spec_from_sample(pa.table(rows), URI)
    assert spec.columns == {"at": "timestamp[us, tz=UTC]", "id": "int16", "s": "struct<a: int64>"}


def test_what_cannot_be_described_is_refused():
    with pytest.raises(SchemaMismatch, match="column took is duration"):
        spec_from_sample(pa.table({"took": [timedelta(1)]}), URI)
    with pytest.raises(SourceError, match="no columns"):
        spec_from_sample(pa.table({}), URI)
    with pytest.raises(SpecError, match="uri"):
        spec_from_sample(pa.table({"id": [1]}), "somewhere")


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_from_a_file_to_a_dataset_that_takes_it(fs, bucket, tmp_path):
    source = tmp_path / "trips.csv"
    source.write_text("id,at,fare\n1,2013-01-01T10:00:00Z,2.5\n2,2013-01-02T11:00:00Z,\n")
    spec = DatasetSpec.from_yaml(spec_from_sample(str(source), f"lake://{bucket}/trips").to_yaml())
    result = Dataset.create(spec, fs=fs).ingest(str(source))
    assert (result.rows, result.rejected, [str(key) for key in result.partitions]) == (
        2,
        0,
        ["date=2013-01-01", "date=2013-01-02"],
    )


def described(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    description = describe_sample(str(path), "lake://b/x")
    assert DatasetSpec.from_yaml(description.to_yaml()) == description.spec
    return description


def test_the_time_is_one_that_every_row_has(tmp_path):
    sparse = "id,cancelled,at\n1,,2020-01-01\n2,2020-01-01,2020-01-02\n"
    assert described(tmp_path, "a.csv", sparse).times == ("at", "cancelled")
    text = described(tmp_path, "a.csv", "id,cancelled\n1,\n2,2020-01-01\n").to_yaml()
    assert "# by cancelled, which is empty in the fewest rows" in text
    assert "# 1 of 2 rows would be rejected (1 x cancelled is null); that is more than rejects.max_ratio 0.01" in text
    rows = "".join(f"2020-01-{day:02d}\n" for day in range(1, 29))
    assert "# times but for a few rows: at" in described(tmp_path, "a.csv", f"at\n{rows}soon\n").to_yaml()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.csv", "a,b\n1,2\n3\n", "has 1 field instead of 2"), ("a.jsonl", '{"a":1}\nno\n', "is not JSON")],
)
def test_lines_that_would_be_rejected_are_told(tmp_path, name, content, reason):
    assert f"# 1 of 2 rows would be rejected (1 x {reason}" in described(tmp_path, name, content).to_yaml()


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"at":"2020-01-01","v":{"a":null,"b":1},"l":[],"w":{"a:b":1,"c<d":2}}\n'),
        ("a.csv", 'Date,yes,"a: b","c\nd","#e",null,"-x"\n2020-01-01,1,2,3,4,5,6\n'),
    ],
)
def test_what_it_describes_takes_the_sample(fs, bucket, tmp_path, name, content):
    description = described(tmp_path, name, content)
    spec = DatasetSpec.from_yaml(description.to_yaml().replace("lake://b/x", f"lake://{bucket}/x"))
    result = Dataset.create(spec, fs=fs).ingest(str(tmp_path / name))
    assert (result.rows, result.rejected) == (1, 0)
