"""Figures of a dataset: what is where, what is due, what the tiers save."""

from __future__ import annotations

import time
from datetime import timedelta

import pyarrow as pa
import pytest

from tests.observed import recording
from tests.pipelines.conftest import FIRST_DAY, make_trips, trip_spec
from tierlake.connector.observe import Count, Gauge
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import CommitConflict, RejectedTooMany
from tierlake.pipelines.tables.snapshot import Change

DAY = timedelta(days=1)


def gauges(recorder):
    return {(one.name, one.labels.get("tier", "")): one.value for one in recorder.events if isinstance(one, Gauge)}


def counts(recorder, name, *labels):
    """The sums of a metric, by some of its labels."""
    sums: dict[tuple[str, ...], float] = {}
    for one in recorder.events:
        if isinstance(one, Count) and one.name == name:
            key = tuple(one.labels[label] for label in labels)
            sums[key] = sums.get(key, 0) + one.amount
    return sums


def test_what_is_due_is_a_backlog_until_it_is_done(dataset):
    dataset.ingest(make_trips(4))
    young = dataset.figures(as_of=FIRST_DAY + 5 * DAY)
    assert (young.expiry_backlog, young.tiering_backlog) == (0, 0)
    assert young.tiers["hot"].partitions == 4
    assert young.tiers["hot"].rows == (40 if dataset.format == "delta" else None)
    assert young.tiers["hot"].bytes == sum(part.bytes for part in dataset.partitions())
    assert list(young.tiers) == ["hot", "warm", "cold"]
    assert young.tiers["warm"].partitions == 0
    assert dataset.figures(as_of=FIRST_DAY + 302 * DAY).expiry_backlog == 2


def test_gauges_are_the_figures(dataset):
    dataset.ingest(make_trips(2))
    with recording() as recorder:
        figures = dataset.figures()
    shown = gauges(recorder)
    assert shown["partition_count", "hot"] == 2
    assert shown["partition_count", "cold"] == 0
    assert shown.get(("stored_rows", "hot")) == (20 if dataset.format == "delta" else None)
    assert shown["stored_bytes", "hot"] == figures.tiers["hot"].bytes
    assert shown["expiry_backlog", ""] == figures.expiry_backlog == 2
    assert shown["figures_timestamp_seconds", ""] == pytest.approx(time.time(), abs=60)
    assert ("incomplete_upload_count", "") not in shown
    assert {one.labels["dataset"] for one in recorder.events if isinstance(one, Gauge)} == {dataset.uri}


def test_objects_are_looked_at_where_that_is_asked_for(server, dataset):
    dataset.ingest(make_trips(1))
    bucket = dataset.uri.split("/")[2]
    server.admin.create_multipart_upload(Bucket=bucket, Key="city/trips/left-behind")
    figures = dataset.figures(uploads=True, encryption=True)
    assert figures.incomplete_uploads == 0  # it is young
    assert figures.unencrypted_objects == 0


def test_the_checkpoint_of_a_delta_table_has_an_age(delta, server):
    delta.ingest(make_trips(1))
    assert delta.figures().checkpoint_age is None
    bucket = delta.uri.split("/")[2]
    server.admin.put_object(Bucket=bucket, Key="city/trips/_delta_log/_last_checkpoint", Body=b"{}")
    age = delta.figures(as_of=delta.now() + 3 * DAY).checkpoint_age
    assert age is not None
    assert timedelta(days=2.9) < age < timedelta(days=3.1)


def test_figures_are_a_table_that_fits_a_terminal(dataset):
    dataset.ingest(make_trips(2))
    text = str(dataset.figures())
    assert "expiry backlog" in text
    assert max(map(len, text.splitlines())) <= 100


def test_it_takes_one_listing(dataset, server, fs):
    dataset.ingest(make_trips(2))
    opened = Dataset.open(dataset.uri, fs=fs)
    with recording() as recorder:
        opened.figures()
    operations = [one.operation for one in recorder.requests]
    assert operations.count("list_objects_v2") <= 1 + (opened.format == "parquet")
    assert operations.count("head_object") <= 1


def test_an_ingest_counts_its_rows_and_its_commit(dataset):
    with recording() as recorder:
        dataset.ingest(make_trips(2))
        dataset.ingest(make_trips(1), run_key="once")
        dataset.ingest(make_trips(1), run_key="once")
    commits = 3 if dataset.format == "delta" else 2  # the first one takes another, which gives the log its columns
    assert counts(recorder, "row_count", "outcome", "dataset") == {("accepted", dataset.uri): 30}
    assert counts(recorder, "commit_count", "format", "dataset") == {(dataset.format, dataset.uri): commits}
    assert counts(recorder, "conflict_count", "format") == {}


def test_rejected_rows_are_counted_even_if_nothing_is_committed(bucket, fs):
    dataset = Dataset.create(trip_spec(bucket), fs=fs)
    rows = make_trips(1, 2).set_column(0, "at", pa.array([None, FIRST_DAY], pa.timestamp("us", "UTC")))
    with recording() as recorder, pytest.raises(RejectedTooMany):
        dataset.ingest(rows)
    assert counts(recorder, "row_count", "outcome") == {("rejected",): 1}
    assert counts(recorder, "commit_count", "format") == {}


def test_a_commit_that_lost_is_a_conflict(delta, fs):
    delta.ingest(make_trips(1))
    other = Dataset.open(delta.uri, fs=fs)
    base = delta._handle.table.snapshot()
    other.ingest(make_trips(1, fare=2.0))
    with recording() as recorder, pytest.raises(CommitConflict):
        delta._handle.table.commit(Change("expire", base=base, removes=base.files))
    assert counts(recorder, "conflict_count", "format", "dataset") == {("delta", delta.uri): 1}
