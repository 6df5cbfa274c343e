"""One trace over Dask's workers: what they did belongs to the verb that sent them, and their errors are told once."""

import os
import pickle
from collections.abc import Iterator

import dask.dataframe as dd
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from tests.connector.observe.collector import Collector, collector
from tests.pipelines.conftest import make_trips, trip_spec
from tests.polling import until
from tierlake.connector.observe import Observing, configuration, hooks, tracing
from tierlake.connector.observe.events import ErrorEvent, Event
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.ingest.dask_workers import Workers

pytestmark = pytest.mark.slow  # workers are processes


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without workers."""
    return seaweedfs


@pytest.fixture(scope="module")
def own() -> Iterator[Collector]:
    """A collector that this process and its children, which are spawned, send to."""
    with collector() as own, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{own.url}/v1/traces")
        yield own


@pytest.fixture(autouse=True)
def _is_traced(own) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{own.url}/v1/traces")
        configuration.configure(Observing(traces="otlp"))
        yield
    configuration.configure(Observing(log="off"))


@pytest.fixture(scope="module")
def client(own) -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def trips(bucket, fs) -> Dataset:
    return Dataset.create(trip_spec(bucket), fs=fs)


def test_an_ingest_by_workers_is_one_trace_to_the_last_put(trips, client, own, tmp_path) -> None:
    pq.write_table(make_trips(), tmp_path / "trips.parquet")
    parts = dd.from_pandas(make_trips().to_pandas(), npartitions=4)
    with tracing.span("nightly", run_id="17") as nightly:
        trips.ingest(parts, engine="dask", client=client)
        trips.ingest(f"{tmp_path}/*.parquet", engine="dask", client=client, mode="append")
    client.run(hooks.flush)
    hooks.flush()
    spans = [span for span in own.spans if span.trace_id == nightly.trace_id]
    by_id = {span.span_id: span for span in spans}
    assert {span.parent_id for span in spans} - by_id.keys() == {None}
    shares = [span for span in spans if span.name == "dask.stage_share"]
    assert len(shares) == 5
    ingests = {span.span_id for span in spans if span.name == "dataset.ingest"}
    assert {span.parent_id for span in shares} == ingests
    assert {span.attributes["tierlake.run_id"] for span in shares} == {"17"}
    assert {span.attributes["tierlake.dataset"] for span in shares} == {trips.uri}
    puts = [span for span in spans if span.name == "put_object" and "/date=" in span.attributes["aws.s3.key"]]
    assert len(puts) == 8

    def ancestors(span):
        while span.parent_id is not None:
            span = by_id[span.parent_id]
            yield span.name

    for put in puts:
        assert [name for name in ancestors(put) if not name.startswith("ingest.")] == [
            "dask.stage_share",
            "dataset.ingest",
            "nightly",
        ]


def test_a_frame_that_is_computed_later_belongs_to_where_it_was_made(trips, client, own) -> None:
    trips.ingest(make_trips())
    with tracing.span("analysis") as analysis:
        frame = trips.to_dask()
        assert len(frame.compute()) == 40
    client.run(hooks.flush)
    hooks.flush()
    reads = [span for span in own.named("dask.read") if span.trace_id == analysis.trace_id]
    assert reads
    gets = [span for span in own.named("get_object") if span.parent_id in {read.span_id for read in reads}]
    assert gets
    with tracing.span("another"):
        again = trips.to_dask()
    assert again.__dask_graph__().keys() == frame.__dask_graph__().keys()


def refuse(_: int) -> None:
    raise SchemaMismatch("no such column")


def test_an_error_is_told_where_it_happened_and_not_again_here(client, own) -> None:
    class Errors:
        name = "errors"

        def __init__(self) -> None:
            self.taken: list[ErrorEvent] = []

        def take(self, event: Event) -> None:
            self.taken += [event] if isinstance(event, ErrorEvent) else []

        def flush(self, seconds: float) -> None: ...
        def close(self) -> None: ...

    errors = Errors()
    hooks.add(errors)
    try:
        with pytest.raises(SchemaMismatch) as refused, tracing.span("work", is_verb=True):
            list(Workers(client).run(refuse, [1]))
    finally:
        hooks.remove(errors)
    assert tracing.is_reported(refused.value)
    assert errors.taken == []
    with pytest.raises(SchemaMismatch) as first, tracing.span("work", is_verb=True):
        refuse(1)
    assert tracing.is_reported(pickle.loads(pickle.dumps(first.value)))  # noqa: S301 -- as Dask does


def test_workers_send_the_rest_when_they_end(own) -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        tracing.span("last") as last,
    ):
        list(Workers(client).run(os.path.exists, ["/"]))
    until(lambda: any(span.trace_id == last.trace_id for span in own.named("dask.exists")), 10)
