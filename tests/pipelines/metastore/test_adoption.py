"""What others wrote becomes a dataset where it lies: no data byte is written, nothing of theirs is lost."""

import io
from datetime import timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from deltalake import DeltaTable

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import DAYS, by_day, delta_options, parquet, put, write_delta, write_hive
from tests.pipelines.samples import meddled
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import (
    CommitConflict,
    SchemaMismatch,
    SpecError,
    TableExists,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.metastore.document import DocumentStore
from tierlake.pipelines.runtime.clock import ServerClock

POLICY = {"retention": {"expire_after": "90d", "grace": "2d"}}


def everything(server, root):
    """What is stored below a root: key to ETag and time, log and description aside."""
    bucket, _, prefix = root.partition("/")
    heads = server.heads(bucket, f"{prefix}/")
    return {
        key: (head["ETag"], head["LastModified"])
        for key, head in heads.items()
        if "/_delta_log/" not in key and "/_lake/" not in key
    }


def test_a_dry_run_says_what_would_be_adopted_and_writes_nothing(bucket, fs, server):
    root = f"{bucket}/hive"
    rows = write_hive(server, root, files=2)
    before = server.keys(bucket)
    report = Dataset.adopt(f"lake://{root}", POLICY, fs=fs)
    assert (report.partitions, report.files, report.rows, report.changed) == (4, 8, rows, False)
    assert report.writes_log
    assert report.spec.partition.time.key == "day"
    assert "would write a Delta log" in str(report)
    assert server.keys(bucket) == before


def test_a_hive_prefix_becomes_a_delta_table_in_place(bucket, fs, server):
    root = f"{bucket}/hive"
    rows = write_hive(server, root, files=2)
    before = everything(server, root)
    report = Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    assert report.changed
    assert everything(server, root) == before
    ours = Dataset.open(f"lake://{root}", fs=fs)
    assert (ours.format, ours.spec.retention.expire_after.days) == ("delta", 90)
    assert sorted(ours.read(["v"]).column("v").to_pylist()) == list(range(rows))
    frame = pd.read_parquet(f"lake://{root}", storage_options=server.storage_options)
    theirs = DeltaTable(f"s3://{root}", storage_options=delta_options(server))
    assert len(frame) == theirs.to_pyarrow_table().num_rows == rows
    # the footers' statistics are in the log: readers skip files
    fragments = list(theirs.to_pyarrow_dataset().get_fragments(pads.field("v") == 3))
    assert len(fragments) == 1
    assert ours.hold("day=2013-01-01", reason="audit")
    assert [entry.operation for entry in ours.history()] == ["hold", "adopt"]
    assert ours.verify().orphans == 0


def test_what_is_adopted_can_do_all_that_a_dataset_can(bucket, fs, server):
    root = f"{bucket}/hive"
    write_hive(server, root, files=3)
    Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    ours = Dataset.open(f"lake://{root}", fs=fs)
    ours.plan_expiry("2013-04-02 12:00").apply().raise_failures()
    ours.undo_expiry("day=2013-01-01")
    assert ours.read().num_rows == 60
    more = pa.table({"day": ["2013-01-04"], "v": [1000], "name": ["y"]})
    ours.ingest(more, mode="append")
    assert ours.read(where=[("day", "==", "2013-01-04")]).num_rows == 16
    ours.ingest(more)
    assert ours.read(where=[("day", "==", "2013-01-04")]).num_rows == 1
    later = Dataset.open(f"lake://{root}", fs=fs, clock=ServerClock(fs, bucket, timedelta(days=3)))
    assert len(later.vacuum().expired) == 4
    assert {problem.kind for problem in later.verify().problems} == {"encryption"}


def test_adopting_twice_changes_nothing(bucket, fs, server):
    root = f"{bucket}/hive"
    write_hive(server, root)
    Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    keys = server.keys(bucket)
    for spec in (POLICY, None):
        again = Dataset.adopt(f"lake://{root}", spec, dry_run=False, fs=fs)
        assert not again.changed
    assert server.keys(bucket) == keys
    with pytest.raises(TableExists, match="retention"):
        Dataset.adopt(f"lake://{root}", {"retention": {"expire_after": "5d"}}, dry_run=False, fs=fs)


def test_a_delta_table_gets_the_description_alone(bucket, fs, server):
    root = f"{bucket}/theirs"
    write_delta(server, root, by_day(), ["day", "shop"])
    before = set(server.keys(bucket))
    report = Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    assert (report.writes_log, report.changed, report.rows, report.partitions) == (False, True, 20, 8)
    new = {key for key in set(server.keys(bucket)) - before if "/_lake/journal/policy-" not in key}
    assert new == {"theirs/_lake/dataset.json"}
    ours = Dataset.open(f"lake://{root}", fs=fs)
    assert ours.hold("day=2013-01-01/shop=1", reason="audit")
    assert ours.plan_expiry("2013-04-02 12:00").refused[0].key == "day=2013-01-01/shop=1"


def test_odd_objects_are_reported_and_never_deleted(bucket, fs, server):
    root = f"{bucket}/hive"
    rows = write_hive(server, root)
    odd = {
        "day=2013-01-01/": (b"", '"directory" object'),
        "day=2013-01-01/empty.parquet": (b"", "zero bytes"),
        "day=2013-01-01/text.parquet": (b"a,b\n1,2\n" * 9, "not Parquet"),
        "day=2013-01-01/cut.parquet": (parquet(pa.table({"v": [1]}))[:-9], "not Parquet"),
        "day=2013-01-02/_SUCCESS": (b"", "hidden"),
        "notes.txt": (b"hello", "not Parquet by its name"),
        "day=2013-01-02/shop=3/deep.parquet": (parquet(pa.table({"v": [1], "name": ["z"]})), "not below day=…"),
        "flat.parquet": (parquet(pa.table({"v": [1], "name": ["z"]})), "not below day=…"),
        "year-2013/x.parquet": (parquet(pa.table({"v": [1], "name": ["z"]})), "not below day=…"),
    }
    for path, (data, _) in odd.items():
        put(server, f"{root}/{path}", data)
    report = Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    found = {one.path: one.problem for one in report.odd}
    for path, (_, problem) in odd.items():
        if not path.endswith("/"):  # SeaweedFS lists no such objects
            assert problem in found[path], path
    assert set(found) <= set(odd)
    assert (report.files, report.rows) == (4, rows)
    before = everything(server, root)
    later = Dataset.open(f"lake://{root}", fs=fs, clock=ServerClock(fs, bucket, timedelta(days=30)))
    assert later.vacuum().deleted == 0
    assert everything(server, root) == before
    assert later.read().num_rows == rows


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        (pa.table({"v": [1]}), pa.table({"v": ["1"]}), "v is int64 in .*, but string in"),
        (pa.table({"v": [1.5]}), pa.table({"v": [1]}), "v is double"),
        (
            pa.table({"v": pa.array([1], pa.timestamp("us"))}),
            pa.table({"v": pa.array([1], pa.timestamp("us", "UTC"))}),
            "v is",
        ),
    ],
)
def test_schemas_that_do_not_merge_are_refused(bucket, fs, server, one, other, problem):
    for number, table in enumerate((one, other)):
        put(server, f"{bucket}/mixed/day=2013-01-0{number + 1}/x.parquet", parquet(table))
    before = server.keys(bucket)
    with pytest.raises(SchemaMismatch, match=problem):
        Dataset.adopt(f"lake://{bucket}/mixed", dry_run=False, fs=fs)
    assert server.keys(bucket) == before


def test_columns_that_come_later_and_numbers_that_grow_are_one_table(bucket, fs, server):
    parts = [
        pa.table({"v": pa.array([1, 2], pa.int32())}),
        pa.table({"v": pa.array([2**40], pa.int64()), "w": pa.array([1.5], pa.float32())}),
        pa.table({"v": pa.array([7], pa.uint16()), "w": pa.array([2.5], pa.float64())}),
        pa.table({"v": pa.array([9]), "w": [0.5], "day": ["1999-01-01"]}),  # the path wins
    ]
    for day, table in zip(DAYS, parts, strict=True):
        put(server, f"{bucket}/grown/day={day}/x.parquet", parquet(table))
    report = Dataset.adopt(f"lake://{bucket}/grown", dry_run=False, fs=fs)
    assert any("lack the column w" in note for note in report.notes)
    assert any("column v is narrower" in note for note in report.notes)
    back = Dataset.open(f"lake://{bucket}/grown", fs=fs).read().sort_by("v").to_pydict()
    assert back["v"] == [1, 2, 7, 9, 2**40]
    assert back["w"] == [None, None, 2.5, 0.5, 1.5]
    assert sorted(set(back["day"])) == [str(day) for day in DAYS]


def test_values_that_paths_escape_are_read_back(bucket, fs, server):
    names = {"New%20York": "New York", "a%2Fb": "a/b", "50%25": "50%", "z\u00fcrich": "z\u00fcrich", "x y": "x y"}
    names["__HIVE_DEFAULT_PARTITION__"] = None
    for number, folder in enumerate(names):
        put(server, f"{bucket}/odd/city={folder}/x.parquet", parquet(pa.table({"v": [number]})))
    Dataset.adopt(f"lake://{bucket}/odd", dry_run=False, fs=fs)
    ours = Dataset.open(f"lake://{bucket}/odd", fs=fs)
    assert ours.read().sort_by("v").column("city").to_pylist() == list(names.values())
    theirs = DeltaTable(f"s3://{bucket}/odd", storage_options=delta_options(server))
    assert theirs.to_pyarrow_table().sort_by("v").column("city").to_pylist() == list(names.values())
    assert {problem.kind for problem in ours.verify().problems} == {"encryption"}


def test_our_own_plain_dataset_becomes_a_delta_table_and_remembers_its_runs(make_bucket, fs, server):
    bucket = make_bucket(versioned=True)
    plain = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    plain.ingest(make_trips(), run_key="the run")
    plain.hold("date=2013-01-01", reason="audit")
    report = Dataset.adopt(plain.uri, dry_run=False, fs=fs)
    assert report.changed
    ours = Dataset.open(plain.uri, fs=fs)
    assert ours.format == "delta"
    assert not ours.ingest(make_trips(), run_key="the run").committed
    ours.ingest(make_trips(days=1), mode="append")
    assert ours.read().num_rows == 50
    assert ours.partitions()[0].held == "held: audit"


def test_what_cannot_be_adopted_is_refused(bucket, fs, server):
    with pytest.raises(TableNotFound):
        Dataset.adopt(f"lake://{bucket}/nothing", fs=fs)
    write_delta(server, f"{bucket}/many/inner", by_day(), ["day"])
    write_hive(server, f"{bucket}/many/other")
    with pytest.raises(UnsupportedByTable, match="many/inner"):
        Dataset.adopt(f"lake://{bucket}/many", fs=fs)
    with pytest.raises(SpecError, match="Delta table"):
        Dataset.adopt(f"lake://{bucket}/many/other", {"format": "parquet"}, fs=fs)


def test_files_of_pandas_and_polars_are_adopted_with_their_types(bucket, fs, server):
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b"]), "t": pd.to_datetime(["2013-01-01", "2013-01-02"])})
    put(server, f"{bucket}/mix/day=2013-01-01/pandas.parquet", frame.to_parquet())
    buffer = io.BytesIO()
    pl.DataFrame({"c": ["z"], "t": [pd.Timestamp("2013-01-03").to_pydatetime()]}).write_parquet(buffer)
    put(server, f"{bucket}/mix/day=2013-01-02/polars.parquet", buffer.getvalue())
    Dataset.adopt(f"lake://{bucket}/mix", dry_run=False, fs=fs)
    back = Dataset.open(f"lake://{bucket}/mix", fs=fs).to_pandas().sort_values("t")
    assert back["c"].tolist() == ["a", "b", "z"]
    assert back["t"].dt.day.tolist() == [1, 2, 3]


def test_our_own_orphans_are_deleted_and_files_that_others_still_write_are_not(bucket, fs, server):
    root = f"{bucket}/hive"
    write_hive(server, root)
    Dataset.adopt(f"lake://{root}", POLICY, dry_run=False, fs=fs)
    theirs = f"{root}/day=2013-01-05/part-00000-3f2504e0-4f89-11d3-9a0c-0305e82c3301-c000.parquet"
    ours = f"{root}/day=2013-01-05/part-0123456789abcdef-0123456789ab-00000.zstd.parquet"
    for path in (theirs, ours):
        put(server, path, parquet(pa.table({"v": [1], "name": ["z"]})))
    later = Dataset.open(f"lake://{root}", fs=fs, clock=ServerClock(fs, bucket, timedelta(days=30)))
    assert [f"{root}/{path}" for path in later.vacuum().orphans] == [ours]
    assert theirs.partition("/")[2] in server.keys(bucket)


@pytest.mark.slow
def test_who_adopted_a_table_is_in_the_history(bucket, fs, server):
    write_delta(server, f"{bucket}/theirs", by_day(), ["day"])
    write_hive(server, f"{bucket}/hive")
    for name in ("theirs", "hive"):
        for dry_run in (True, False, False):
            Dataset.adopt(f"lake://{bucket}/{name}", dry_run=dry_run, fs=fs)
        entries = Dataset.open(f"lake://{bucket}/{name}", fs=fs).history()
        assert [bool(entry.by) for entry in entries if entry.operation == "adopt"] == [True], name


@pytest.fixture
def slept(make_bucket, fs):
    """A plain dataset of four days, in a session that was opened before somebody adopts it."""
    made = Dataset.create(trip_spec(make_bucket(versioned=True), format="parquet"), fs=fs)
    made.ingest(make_trips())
    return Dataset.open(made.uri, fs=fs)


@pytest.mark.slow
def test_a_session_that_slept_while_its_plain_dataset_was_adopted_is_told(slept, fs):
    """It wrote objects that no log named, in place of those that the log names."""
    plan = slept.plan_expiry("2013-12-01")
    assert plan.steps
    Dataset.adopt(slept.uri, dry_run=False, fs=fs)
    anew = Dataset.open(slept.uri, fs=fs)
    for act in (
        slept.read,
        lambda: slept.ingest(make_trips(1, each=3)),
        lambda: slept.erase([("fare", "==", 2.0)]),
        lambda: slept.apply(plan),
        lambda: slept.undo("date=2013-01-01"),
        slept.vacuum,
    ):
        with pytest.raises(UnsupportedByTable, match=r"has become a Delta table.*open it again"):
            act()
        assert anew.read().num_rows == 40
    anew.ingest(make_trips(1, each=3))
    assert anew.read().num_rows == 33
    assert anew.verify().ok


def test_an_adoption_that_comes_before_the_commit_of_an_ingest(slept, fs):
    def adopted():
        Dataset.adopt(slept.uri, dry_run=False, fs=fs)

    with pytest.raises(UnsupportedByTable, match="has become a Delta table"):
        Dataset(meddled(slept, before=adopted)).ingest(make_trips(1, each=3))
    assert Dataset.open(slept.uri, fs=fs).read().num_rows == 40


def test_a_log_of_others_over_a_plain_dataset_is_no_interrupted_adoption(slept, fs, server):
    table = slept.read()
    write_delta(server, slept.spec.root, table, ["date"])
    for _ in "ab":
        with pytest.raises(CommitConflict, match="became a Delta table that others made"):
            Dataset.adopt(slept.uri, dry_run=False, fs=fs)
    with pytest.raises(UnsupportedByTable, match="has become a Delta table"):
        Dataset.open(slept.uri, fs=fs).read()


def test_an_adoption_that_was_interrupted_is_told_and_completed(slept, fs, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DocumentStore, "update", dies)
        with pytest.raises(KeyboardInterrupt):
            Dataset.adopt(slept.uri, dry_run=False, fs=fs)
    with pytest.raises(UnsupportedByTable, match=r"tierlake adopt .* completes an adoption"):
        Dataset.open(slept.uri, fs=fs).read()
    Dataset.adopt(slept.uri, dry_run=False, fs=fs)
    assert Dataset.open(slept.uri, fs=fs).read().num_rows == 40
