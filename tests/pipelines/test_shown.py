"""What each verb returns is a line in a `repr` and a small page in a notebook, on a real table."""

from datetime import UTC, datetime

import pytest

from tests.pipelines.pages import page_of, text_in
from tests.pipelines.samples import AS_OF, DAYS, daily, daily_spec, rows
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.metastore.history import History, HistoryEntry

FIRST = f"date={DAYS[0]}"


@pytest.fixture
def dataset(fs: LakeFileSystem, bucket: str) -> Dataset:
    return daily(fs, bucket)


def test_a_life_in_a_notebook(dataset: Dataset, fs: LakeFileSystem) -> None:
    uri = dataset.uri
    page = page_of(dataset)
    assert page.texts[0] == uri
    assert [row for row in page.rows if row[0] in {"partitions", "rows", "columns"}] == [
        ["partitions", "4"],
        ["rows", "80"],
        ["columns", "date, at, v"],
    ]
    assert "warm after 30d, cold after 60d" in text_in(dataset)
    assert text_in(dataset.rehearse(rows(["2013-01-01"], each=3))).startswith(
        "3 rows in 1 partition would be written; 0 rows would be rejected"
    )
    result = dataset.ingest(rows(["2013-01-01"], each=3), run_key="again")
    assert "3 rows in 1 partition" in text_in(result)
    assert text_in(dataset.drop(dry_run=True)).startswith(f"would drop {uri}: 4 partitions")
    tiering, expiry = dataset.plan_tiering(AS_OF), dataset.plan_expiry(AS_OF)
    assert "expiry of" in text_in(expiry)
    page_of(tiering)
    assert text_in(dataset.diff({"retention": {"expire_after": "70d"}}, as_of=AS_OF)).startswith(
        f"{uri} differs from the description in"
    )
    assert f"{FIRST}: in STANDARD (hot), next expire on" in text_in(dataset.explain(FIRST, as_of=AS_OF))
    assert "1 partition expired" in text_in(expiry.apply())
    assert "undo until" in text_in(dataset.explain(FIRST, as_of=AS_OF))
    undoable = dataset.undoable()
    assert [one.key for one in undoable] == [FIRST]
    assert repr(undoable) == "<Undoables: 1 partition that can be brought back>"
    assert page_of(undoable).rows[1][:2] == [FIRST, "expire"]
    undone = dataset.undo(FIRST)
    assert undone[0].changed
    assert repr(undone) == "<UndoResults: 1 of 1 partition came back>"
    assert str(undone) == str(undone[0])
    page_of(undone)
    page_of(undone[0])
    assert text_in(dataset.verify(AS_OF)).startswith("clean: 4 files, ")
    assert dataset.verify(AS_OF).to_pandas().columns.tolist() == ["kind", "path", "detail", "repaired"]
    assert text_in(dataset.vacuum(dry_run=True)).startswith("would delete 0 files, 0 B; ")
    assert text_in(dataset.compact()).startswith("nothing to compact")
    page_of(dataset.erase([("v", "==", 1)], dry_run=True))
    page_of(dataset.figures(AS_OF))
    page_of(dataset.contents())
    assert repr(dataset.rejects()) == "<RejectFiles: no rejected rows wait>"
    history = dataset.history()
    assert [entry.operation for entry in history][:2] == ["undo", "expire"]
    assert page_of(history).rows[1][1] == "undo"
    page_of(history[0])


def test_a_history_stays_a_list(dataset: Dataset) -> None:
    history = dataset.history()
    assert isinstance(history, list)
    assert history == list(history)
    assert isinstance(history[0], HistoryEntry)
    assert type(history[:1]) is type(history)
    assert str(history).splitlines()[0].split() == [
        *("when", "what", "version", "partitions", "rows", "size", "why", "by", "run", "undo", "until")
    ]
    frame = history.to_pandas()
    assert frame["operation"].tolist() == [entry.operation for entry in history]
    assert [str(frame.dtypes[name]) for name in ("at", "version", "rows")] == ["datetime64[us, UTC]", "Int64", "Int64"]
    assert frame.dtypes.equals(history[:0].to_pandas().dtypes)
    assert list(frame["keys"][0]) == list(history[0].keys)


def test_a_plain_table_is_not_listed_to_be_shown(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = daily(fs, bucket, format="parquet")
    monkeypatch.setattr(dataset._handle.table, "snapshot", None)
    assert "it has no log: partitions() lists what is in it" in text_in(dataset)


def test_a_dataset_that_cannot_be_read_is_shown_with_the_reason(dataset: Dataset, fs: LakeFileSystem) -> None:
    dataset.fs.rm(f"{dataset.spec.root}/_delta_log", recursive=True)
    text = text_in(dataset)
    assert "its table cannot be read: " in text
    assert "partitioned by" in text


def test_a_hostile_partition_value_is_text(fs: LakeFileSystem, bucket: str) -> None:
    dataset = Dataset.create(daily_spec(bucket, partition={"by": ["who"]}, tiers=[], retention={}), fs=fs)
    hostile = "</td><script>alert(1)</script>"
    dataset.ingest(rows(["2013-01-01"], each=1).append_column("who", [[hostile]]))
    catalog = dataset.partitions()
    assert page_of(catalog).rows[1][0] == str(catalog[0].key)
    assert "<script>" not in dataset.history()._repr_html_()
    assert "<script>" not in dataset.explain(catalog[0].key)._repr_html_()


def test_a_history_counts_the_partitions_that_it_does_not_name() -> None:
    entry = HistoryEntry(
        at=datetime(2013, 7, 1, tzinfo=UTC),
        operation="ingest",
        version=2,
        partitions=40,
        keys=("n=1",),
        rows=40,
        bytes=9,
        reason=None,
        run=None,
    )
    assert "n=1 and 39 more" in str(History([entry]))
    assert str(History()) == "no events"
