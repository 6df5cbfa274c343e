"""Holds, releases and retentions: nothing shortens a retention by itself, and the history says who did it and why."""

from datetime import UTC, datetime

import pytest

from tests.pipelines.samples import AS_OF, DAYS, daily_spec, rows
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import PolicyRefused

pytestmark = pytest.mark.each_value

GONE = f"date={DAYS[0]}"


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, bucket, fs) -> Dataset:
    made = Dataset.create(daily_spec(bucket, format=request.param), fs=fs)
    made.ingest(rows())
    return made


@pytest.mark.slow
def test_a_retention_is_not_shortened_by_the_way(dataset: Dataset) -> None:
    assert dataset.retain(GONE, until="2027-01-01")
    with pytest.raises(PolicyRefused, match=r"retained until 2027-01-01.*later than 2020-01-01"):
        dataset.retain(GONE, until="2020-01-01")
    assert dataset._handle.document is not None
    assert dataset._handle.document.read().retains[GONE] == datetime(2027, 1, 1, tzinfo=UTC)
    assert [refusal.key for refusal in dataset.plan_expiry(AS_OF).refused] == [GONE]
    assert dataset.retain(GONE, until="2028-01-01")
    assert dataset.retain(GONE, until="2013-01-02", shorten=True)
    assert [step.key for step in dataset.plan_expiry(AS_OF).steps] == [GONE]


@pytest.mark.slow
def test_the_history_says_who_and_why(dataset: Dataset) -> None:
    dataset.hold(GONE, reason="audit of 2013", run_id="run-1")
    dataset.hold(GONE, reason="audit of 2013")
    dataset.retain(GONE, until="2027-01-01", reason="the auditors asked")
    dataset.release(GONE, reason="audit is over")
    dataset.release(GONE)
    entries = [entry for entry in dataset.history() if entry.operation in {"hold", "release", "retain"}]
    assert [entry.operation for entry in entries] == ["release", "retain", "hold"], "what changed nothing is no event"
    assert {entry.keys for entry in entries} == {(GONE,)}
    released, retained, held = entries
    assert (held.reason, held.run) == ("audit of 2013", "run-1")
    assert "the auditors asked" in (retained.reason or "")
    assert "2027-01-01" in (retained.reason or "")
    assert released.reason == "audit is over"
    assert all("@" in (entry.by or "") for entry in entries)
