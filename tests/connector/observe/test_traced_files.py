"""Requests of open files belong to the span around them, also where Arrow's own threads make them."""

import threading

import fsspec.asyn
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from tests.observed import recording
from tierlake.connector import observe
from tierlake.connector.observe import RequestEvent


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without traces."""
    return seaweedfs


@pytest.fixture
def folder(fs, bucket) -> str:
    """Files of several row groups."""
    table = pa.table({f"c{number}": pa.array(range(200_000)) for number in range(6)})
    for number in range(4):
        with fs.open(f"{bucket}/f/{number}.parquet", "wb") as file:
            pq.write_table(table, file, row_group_size=25_000, compression="none")
    fs.invalidate_cache()
    return f"{bucket}/f"


def strays(recorder, root) -> list[RequestEvent]:
    """Requests that are not within a span."""
    parents = {one.span.span_id: one.parent_id for one in recorder.spans}

    def is_within(span_id: str | None) -> bool:
        while span_id is not None and span_id != root.span_id:
            span_id = parents.get(span_id)
        return span_id is not None

    return [one for one in recorder.requests if not is_within(one.parent_id)]


def read_by_arrow(fs, folder):
    return pads.dataset(folder, filesystem=fs, format="parquet").to_table()


def read_one(fs, folder):
    return pq.read_table(f"{folder}/0.parquet", filesystem=fs)


def read_by_pandas(fs, folder):
    return pd.read_parquet(folder, filesystem=fs)


def read_and_write(fs, folder):
    with fs.open(f"{folder}/0.parquet") as source, fs.open(f"{folder}/copy", "wb") as target:
        target.write(source.read())


@pytest.mark.parametrize("work", [read_by_arrow, read_one, read_by_pandas, read_and_write])
def test_all_of_it_is_within_the_span(work, fs, folder) -> None:
    with recording() as recorder, observe.span("outer") as outer:
        work(fs, folder)
    assert recorder.requests
    assert strays(recorder, outer) == []


def test_a_file_that_is_read_after_its_span_belongs_to_where_it_was_opened(fs, folder) -> None:
    with recording() as recorder:
        with observe.span("outer") as outer:
            file = fs.open(f"{folder}/0.parquet")
        file.read()
        writing = fs.open(f"{folder}/copy", "wb")
        writing.write(b"x" * (12 << 20))
        writing.close()
    reads = [one for one in recorder.requests if one.operation == "get_object"]
    assert len(reads) > 1
    assert [one for one in strays(recorder, outer) if one in reads] == []
    opened = {one.span.span_id for one in recorder.spans if one.name == "fs.open"}
    assert {one.parent_id for one in recorder.requests if (one.key or "").endswith("copy")} <= opened


def test_between_two_threads_with_spans_arrows_belong_to_neither(fs, folder) -> None:
    is_open, is_over = threading.Event(), threading.Event()

    def another() -> None:
        with observe.span("another"):
            is_open.set()
            is_over.wait(60)

    with recording() as recorder:
        thread = threading.Thread(target=another)
        thread.start()
        is_open.wait(60)
        with observe.span("outer"):
            read_by_arrow(fs, folder)
        is_over.set()
        thread.join()
    (other,) = (one for one in recorder.spans if one.name == "another")
    inside = {one.parent_id for one in (*recorder.spans, *recorder.requests)}
    assert other.span.span_id not in inside


def test_the_event_loop_and_pythons_threads_are_as_before(fs) -> None:
    async def current():
        return observe.current()

    with recording(), observe.span("outer") as outer:
        assert fsspec.asyn.sync(fs.loop, current) == outer
        seen = []
        thread = threading.Thread(target=lambda: seen.append(observe.current()))
        thread.start()
        thread.join()
        assert seen[0].span_id != outer.span_id
