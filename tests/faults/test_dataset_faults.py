"""What the network does to each operation of a dataset: afterwards it is as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.answers import Cut, LostReply, Refusal, Stall, Times, Twice
from tests.faults.kills import OPERATIONS, Operation, ended, fork_server, prepared
from tests.faults.proxy import Proxy
from tierlake.pipelines import Dataset

IMPATIENT = {"read_timeout": 2}


def _hold(dataset: Dataset) -> object:
    return dataset.hold("date=2013-01-01", reason="audit")


def _read(dataset: Dataset) -> object:
    assert dataset.read().num_rows == 40
    return None


HERE = {**OPERATIONS, "hold": Operation(lambda _: None, _hold), "read": Operation(lambda _: None, _read)}


def _work(place, name, endpoint_url):
    HERE[name].run(place.open(endpoint_url, HERE[name].offset))


def matching(method, part):
    """The requests of one kind."""
    return lambda asked, target: part if asked == method and part in target else None


LOG, DATA, DOCUMENT, JOURNAL = "/_delta_log/0", ".parquet", "/_lake/dataset.json", "/_lake/journal/"
CASES = [
    ("hold", "delta", LostReply(reset=True), "PUT", DOCUMENT),
]
SLOW_CASES = [
    ("ingest", "delta", Twice(), "PUT", LOG),
    ("ingest", "parquet", LostReply(reset=True), "PUT", DATA),
    ("expire", "delta", LostReply(), "PUT", LOG),
    ("ingest", "delta", Stall(), "GET", LOG),
    ("read", "delta", Cut(reset=True), "GET", DATA),
    ("append", "delta", Twice(), "PUT", DATA),
    ("append", "delta", LostReply(reset=True), "PUT", LOG),
    ("ingest", "parquet", Twice(), "PUT", DATA),
    ("ingest", "parquet", Refusal(), "PUT", DATA),
    ("ingest", "parquet", Stall(), "PUT", DATA),
    ("expire", "delta", LostReply(reset=True), "PUT", JOURNAL),
    ("expire", "delta", Refusal(), "PUT", LOG),
    ("expire", "delta", Twice(), "PUT", LOG),
    ("undo", "delta", LostReply(), "PUT", LOG),
    ("compact", "delta", Cut(), "GET", DATA),
    ("compact", "delta", LostReply(reset=True), "PUT", LOG),
    ("erase", "delta", Cut(reset=True), "GET", DATA),
    ("hold", "delta", Refusal(), "GET", DOCUMENT),
    ("hold", "delta", Cut(), "GET", DOCUMENT),
    ("read", "delta", Cut(), "GET", DATA),
    ("read", "delta", Stall(), "GET", DATA),
    ("read", "delta", Refusal(), "GET", DATA),
    ("read", "parquet", Cut(reset=True), "GET", DATA),
    ("read", "parquet", Stall(), "GET", DATA),
]


def name_of(case):
    operation, table_format, answer, method, part = case
    return f"{operation} {table_format}: {type(answer).__name__} of {method} {part.strip('/._')}"


def as_it_should_be(place, operation):
    dataset = place.open(offset=HERE[operation].offset)
    commits = [entry.operation for entry in dataset.history()]
    holds = {str(part.key): part.held for part in dataset.partitions()}
    return place.by_lake(), commits, holds


@pytest.mark.parametrize(
    "case",
    [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW_CASES)],
    ids=name_of,
)
def test_it_is_done_once_and_whole(seaweedfs, case):
    operation, table_format, answer, method, part = case
    bucket = seaweedfs.make_bucket(versioned=True)
    try:
        calm, stormy = (prepared(seaweedfs, bucket, HERE[operation], number, table_format) for number in range(2))
        HERE[operation].run(calm.open(offset=HERE[operation].offset))
        hook = Times(answer, matching(method, part))
        hurried = replace(stormy, options={**stormy.options, **IMPATIENT})
        with Proxy(seaweedfs.endpoint_url, before=hook) as proxy:
            child = fork_server().Process(target=_work, args=(hurried, operation, proxy.url))
            child.start()
            assert ended(child, operation) == 0
        assert hook.given, "the fault was played"
        assert as_it_should_be(stormy, operation) == as_it_should_be(calm, operation)
        assert stormy.open().verify().ok
    finally:
        seaweedfs.drop_bucket(bucket)
