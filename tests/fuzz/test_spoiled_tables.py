"""A whole table of which somebody spoiled one object: each verb works, or says which object it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.case import SOAK_EXAMPLES, check_error
from tests.fuzz.mutations import json_mutations, mutated_bytes
from tests.pipelines.conftest import make_trips, trip_spec
from tests.servers import Rig
from tierlake.connector.errors import LakeError
from tierlake.pipelines import Dataset

VERBS: dict[str, Callable[[Dataset], Any]] = {
    "partitions": lambda dataset: dataset.partitions(),
    "read": lambda dataset: dataset.read(),
    "history": lambda dataset: dataset.history(),
    "verify": lambda dataset: dataset.verify(),
    "vacuum": lambda dataset: dataset.vacuum(dry_run=True),
    "plan_expiry": lambda dataset: str(dataset.plan_expiry(as_of="2014-06-01")),
    "plan_tiering": lambda dataset: str(dataset.plan_tiering(as_of="2014-06-01")),
    "explain": lambda dataset: str(dataset.explain("date=2013-01-02")),
    "undo": lambda dataset: dataset.undo("date=2013-01-01", dry_run=True),
    "rehearse": lambda dataset: dataset.rehearse(make_trips(1), run_key="one"),
    "changed_after": lambda dataset: dataset.changed_after(dataset.state()),
    "why_gone": lambda dataset: dataset.why_gone(["date=2013-01-01"]),
    "drop": lambda dataset: dataset.drop(dry_run=True),
}
TOO_DEEP = 10_000
"""deltalake's parser of JSON has no bound: nested so deeply, a commit ends the process (see SECURITY.md)."""


def a_life(rig: Rig, bucket: str, table_format: str) -> str:
    """A dataset with an object of each kind that a table has; returns its URI."""
    fs = fsspec.filesystem("lake", skip_instance_cache=True, **rig.storage_options)
    dataset = Dataset.create(trip_spec(bucket, format=table_format), fs=fs)
    dataset.ingest(make_trips(4), run_key="one")
    dataset.ingest(make_trips(2), run_key="two")
    dataset.hold("date=2013-01-03", reason="audit")
    dataset.plan_expiry(as_of="2014-06-01").apply()
    dataset.undo("date=2013-01-02")
    return dataset.uri


def spoiled(objects: dict[str, bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    def one(key: str) -> st.SearchStrategy[tuple[str, bytes]]:
        data = objects[key]
        if not key.endswith(".json"):
            return st.tuples(st.just(key), mutated_bytes(data))
        lines = data.splitlines() if "_delta_log" in key else [data]

        def at(number: int) -> st.SearchStrategy[tuple[str, bytes]]:
            changed = json_mutations(json.loads(lines[number]))
            if "_delta_log" in key:
                changed = changed.filter(lambda line: line.count(b"[") < TOO_DEEP > line.count(b"{"))
            return changed.map(lambda line: (key, b"\n".join([*lines[:number], line, *lines[number + 1 :]])))

        return st.integers(0, len(lines) - 1).flatmap(at)

    return st.sampled_from(sorted(objects)).flatmap(one)


def check(rig: Rig, bucket: str, table_format: str, examples: int, *, same: bool) -> None:
    uri = a_life(rig, bucket, table_format)
    keys = [key for key in rig.keys(bucket) if "/_lake/" in key or "/_delta_log/" in key]
    objects = {key: rig.admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    fs = fsspec.filesystem("lake", skip_instance_cache=True, view_freshness=0, **rig.storage_options)

    @settings(
        max_examples=examples, derandomize=same, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(spoiled(objects), st.lists(st.sampled_from(sorted(VERBS)), min_size=4, max_size=4, unique=True))
    def one(spoil: tuple[str, bytes], verbs: list[str]) -> None:
        key, data = spoil
        rig.admin.put_object(Bucket=bucket, Key=key, Body=data)
        try:
            for verb in verbs:
                try:
                    VERBS[verb](Dataset.open(uri, fs=fs))
                except LakeError as error:
                    check_error(error, "")
        finally:
            rig.admin.put_object(Bucket=bucket, Key=key, Body=objects[key])

    one()
    assert Dataset.open(uri, fs=fs).read().num_rows == 20


@pytest.mark.slow
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_each_verb_works_or_says_why(seaweedfs, seaweedfs_bucket, table_format):
    check(seaweedfs, seaweedfs_bucket(versioned=table_format == "parquet"), table_format, 20, same=True)


@pytest.mark.soak
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_each_verb_works_or_says_why_for_long(seaweedfs, seaweedfs_bucket, table_format):
    check(seaweedfs, seaweedfs_bucket(versioned=table_format == "parquet"), table_format, SOAK_EXAMPLES, same=False)


@pytest.fixture
def seaweedfs_bucket(seaweedfs):
    made: list[str] = []

    def make(**options: bool) -> str:
        made.append(seaweedfs.make_bucket(**options))
        return made[-1]

    yield make
    for name in made:
        seaweedfs.drop_bucket(name)
