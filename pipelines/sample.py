"""A description to start from, told by a sample of the rows that a dataset will hold."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from pipelines.errors import SourceError, SpecError
from pipelines.schema import check_storable, declared_schema, storable_type
from pipelines.sources import open_source, plain_batches
from pipelines.spec import DatasetSpec, PartitionSpec, TimePartition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.windows import Every

__all__ = ["spec_from_sample"]

_BATCHES = 4
"""Enough to tell types and times by; a sample may be the whole source."""


def spec_from_sample(source: object, uri: str) -> DatasetSpec:
    """Describe the dataset that rows like these would make.

    The time partition is by the first column that holds times: by month where all of them begin one, else by day, in
    the column's own timezone. Types are those found; a column without a value, or of a type that has no short name, is
    left to the first ingest.

    Args:
        source: what `Dataset.ingest` takes; only its beginning is read.
        uri: where the dataset will be.

    Raises:
        SourceError: the source cannot be read, or has no column.
        SchemaMismatch: a column's type is one that tables do not keep.
        SpecError: the URI names no bucket and prefix.
    """
    stream = open_source(source, None)
    sample = pa.Table.from_batches(islice(plain_batches(stream), _BATCHES), stream.schema)
    if not sample.num_columns:
        message = f"{stream.name} has no columns to describe"
        raise SourceError(message)
    check_storable(sample.schema)
    partition = PartitionSpec(time=_time_partition(sample))
    return DatasetSpec(uri=uri, partition=partition, columns=dict(_columns(sample.schema)))


def _columns(schema: pa.Schema) -> Iterable[tuple[str, str]]:
    for field in schema:
        text = str(storable_type(field.type))
        try:
            declared_schema({field.name: text})
        except SpecError:
            continue
        if not pat.is_null(field.type):
            yield field.name, text


def _time_partition(sample: pa.Table) -> TimePartition | None:
    for field in sample.schema:
        times = sample.column(field.name)
        if (pat.is_timestamp(field.type) or pat.is_date(field.type)) and times.null_count < len(times):
            every = _width(times)
            zone = field.type.tz if pat.is_timestamp(field.type) else None
            timezone = zone if zone in available_timezones() else "UTC"
            return TimePartition(
                column=field.name, every=every, timezone=timezone, key=_key(sample.schema.names, every)
            )
    return None


def _width(times: pa.ChunkedArray) -> Every:
    whole = pc.all(pc.equal(times, pc.floor_temporal(times, unit="month").cast(times.type))).as_py()
    return "month" if whole and len(pc.unique(times.drop_null())) > 1 else "day"


def _key(taken: list[str], every: Every) -> str:
    """The Hive column: it must be none of the data's."""
    key: str = "date" if every == "day" else every
    while key in taken:
        key = f"partition_{key}"
    return key
