"""Every reader takes partitions alike: ranges, patterns, one string, keys, iterators; now, and at an older version."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from tests.pipelines.samples import daily_spec, rows
from tierlake.pipelines import Dataset, Selection
from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey

DAYS = [f"2013-01-{day:02d}" for day in range(1, 8)]
GONE = DAYS[:4]
LEFT = DAYS[4:]
NOW = ("to_reader", "to_lazy")
"""Readers of the present alone."""

READERS: dict[str, Callable[..., Collection[str]]] = {
    "scan": lambda dataset, **what: dataset.scan(**what).to_table(["date"]).column("date").to_pylist(),
    "read": lambda dataset, **what: dataset.read(["date"], **what).column("date").to_pylist(),
    "to_reader": lambda dataset, **what: dataset.to_reader(["date"], **what).read_all().column("date").to_pylist(),
    "to_lazy": lambda dataset, **what: dataset.to_lazy(["date"], **what).collect()["date"].to_list(),
    "to_pandas": lambda dataset, **what: list(dataset.to_pandas(["date"], **what)["date"]),
    "to_polars": lambda dataset, **what: dataset.to_polars(["date"], **what)["date"].to_list(),
    "to_dask": lambda dataset, **what: list(dataset.to_dask(["date"], **what).compute(scheduler="sync")["date"]),
}
SELECTIONS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "one string": (lambda: "date=2013-01-05", DAYS[4:5]),
    "range": (lambda: "date=2013-01-03..2013-01-06", DAYS[2:6]),
    "pattern": (lambda: "date=2013-01-0[1-5]", DAYS[:5]),
    "list": (
        lambda: ["date=2013-01-0[12]", "date=2013-01-05..", PartitionKey.parse("date=2013-01-03")],
        DAYS[:3] + LEFT,
    ),
    "generator": (lambda: (f"date={day}" for day in DAYS[2:6]), DAYS[2:6]),
    "generator of patterns": (lambda: iter(["date=*-07", "date=*-01"]), [DAYS[0], DAYS[6]]),
    "span": (lambda: Selection(since="2013-01-04", until="2013-01-05"), DAYS[3:5]),
    "all": (lambda: None, DAYS),
    "none": (lambda: (), []),
}
PARTLY_GONE = ("list", "generator of patterns")


@pytest.fixture(params=["delta", "parquet"])
def dataset(request, make_bucket, fs) -> Dataset:
    """Seven days, a row each, of which four have expired."""
    made = Dataset.create(daily_spec(make_bucket(versioned=True), format=request.param), fs=fs)
    made.ingest(rows(DAYS, each=1))
    made.plan_expiry("2013-06-01", keys="date=2013-01-01..2013-01-04").apply().raise_failures()
    return made


def test_every_reader_takes_every_selection(dataset: Dataset) -> None:
    for selection, (keys, days) in SELECTIONS.items():
        expected = [day for day in days if day in LEFT]
        for name, read in READERS.items():
            if selection in PARTLY_GONE:
                # of several, each range and each pattern must match
                with pytest.raises(UnknownPartition, match="that matches date="):
                    read(dataset, keys=keys())
            else:
                assert sorted(read(dataset, keys=keys())) == expected, (name, selection)


@pytest.mark.parametrize("dataset", ["delta"], indirect=True)
def test_an_older_version_has_its_own_partitions(dataset: Dataset) -> None:
    before = dataset.version - 1
    for selection, (keys, days) in SELECTIONS.items():
        for name in READERS.keys() - set(NOW):
            assert sorted(READERS[name](dataset, version=before, keys=keys())) == days, (name, selection)
