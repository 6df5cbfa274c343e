"""A first description, inferred from a sample of the rows, with the reason for each guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.connector.documents import yaml_text
from tierlake.pipelines.errors import SourceError, SpecError
from tierlake.pipelines.ingest.run import rejected_rows
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec, TimePartition
from tierlake.pipelines.model.stored_types import check_storable, declared_schema, settled_type, storable_type
from tierlake.pipelines.runtime.cells import blanked
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.files import paths_of
from tierlake.pipelines.sources.text_format import as_it_came
from tierlake.pipelines.values import fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tierlake.pipelines.model.time_window import Every
    from tierlake.pipelines.sources import RowStream, TextOptions

__all__ = ["Description", "describe_sample", "spec_from_sample"]

_SAMPLED_ROWS = 1 << 17
"""Enough rows to recognise times; types are inferred from all rows of text."""

_VALUE_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Description:
    """A guessed spec, with reasons.

    Attributes:
        spec: The guess.
        reasons: For each column of the sample, a sentence.
        times: The columns that hold times, the chosen one first.
        notes: Guesses about the file itself, and the rows that would be rejected.
        is_timely: Whether the chosen column has a time in every row.
        nearly_times: Columns that hold times except in a few rows.
    """

    spec: DatasetSpec
    reasons: Mapping[str, str]
    times: tuple[str, ...]
    notes: tuple[str, ...]
    is_timely: bool = True
    nearly_times: tuple[str, ...] = ()

    def to_yaml(self) -> str:
        """The spec as YAML, each guess with its reason in a comment."""
        document = self.spec.model_dump(mode="json")
        lines = [f"# {note}" for note in self.notes]
        for name, value in document.items():
            if name == "columns":
                lines.extend(self._column_lines())
                continue
            if name == "partition":
                lines.extend(f"# {line}" for line in self._partition_reasons())
            if name == "evolution" and value is not None:
                lines.append("# columns that are left to the first ingest are new ones")
            lines.append(yaml_text({name: value}).rstrip("\n"))
        return "\n".join(lines) + "\n"

    def _partition_reasons(self) -> Iterator[str]:
        if self.nearly_times:
            yield f"times but for a few rows: {', '.join(map(blanked, self.nearly_times))}"
        if not self.times:
            yield "no column holds times, so there is one partition: tiers and retention need partition.time"
            return
        chosen, *others = self.times
        what = "the first column that holds times" if self.is_timely else "which is empty in the fewest rows"
        yield f"by {blanked(chosen)}, {what}" + (
            f"; it could also be {', '.join(map(blanked, others))}" if others else ""
        )

    def _column_lines(self) -> Iterator[str]:
        declared = self.spec.columns
        yield "columns:" if declared else "columns: {}"
        for name, reason in self.reasons.items():
            if name in declared:
                yield f"  {_entry(name, declared[name])}  # {reason}"
            else:
                yield f"  # {blanked(name)}: {reason}; left to the first ingest"


def _entry(name: str, kind: str) -> str:
    """A column and its type as one line of YAML, whatever the name."""
    entry = yaml_text({name: kind}, width=math.inf).rstrip("\n")
    is_plain = "\n" not in entry and not entry.startswith("? ")
    return entry if is_plain else f"{_quoted(name)}: {_quoted(kind)}"


def _quoted(text: str) -> str:
    return yaml_text(text, default_style='"', width=math.inf).rstrip("\n")


def spec_from_sample(source: object, uri: str) -> DatasetSpec:
    """Describe the dataset that rows like these would make; see `describe_sample`."""
    return describe_sample(source, uri).spec


def describe_sample(source: object, uri: str, text: TextOptions | None = None) -> Description:
    """Describe the dataset that rows like these would make, with the reasons.

    The time partition goes by the first column that holds a time in every row, otherwise by the one with the fewest
    gaps. Windows are months where all times begin one, otherwise days, in the column's own timezone. Types are those of
    the rows; a column without a value, or of a type without a short name, is left to the first ingest. The notes name
    rows of a file that the dataset would reject.

    Args:
        source: What `Dataset.ingest` takes.
        uri: Where the dataset will be.
        text: How text files are written; what it leaves out is sniffed.

    Raises:
        SourceError: The source cannot be read, or has no column.
        SchemaMismatch: A column has a type that tables cannot hold.
        SpecError: The URI names no bucket and prefix.
    """
    stream = open_source(source, None, text=text)
    if not len(stream.schema):
        raise SourceError(f"{stream.name} has no columns to describe", hint="describe a file with rows, or columns")
    check_storable(stream.schema)
    sample = _sampled(stream)
    times = [name for name in sample.column_names if _holds_times(sample.column(name))]
    times.sort(key=lambda name: sample.column(name).null_count)
    partition = PartitionSpec(time=_time_partition(sample, times[0]) if times else None)
    columns = dict(_columns(stream.schema))
    grows = {"evolution": "add"} if columns and len(columns) < len(stream.schema) else {}
    spec = DatasetSpec(uri=uri, partition=partition, columns=columns, **grows, **({"text": text} if text else {}))
    reasons = {field.name: _reason(field, stream, sample) for field in stream.schema}
    is_timely = not times or sample.column(times[0]).null_count == 0
    notes = (*stream.notes, *(_rejected(spec, source) if paths_of(source) else ()))
    nearly = tuple(name for name, spoilers in stream.spoilers.items() if pat.is_temporal(spoilers.kind))
    return Description(spec, reasons, tuple(times), notes, is_timely, nearly)


def _rejected(spec: DatasetSpec, source: object) -> Iterator[str]:
    """The rows of a file that the dataset would reject, as notes."""
    rows, reasons = rejected_rows(spec, source)
    if reasons:
        why = ", ".join(f"{count:,} x {blanked(reason)}" for reason, count in sorted(reasons.items()))
        allowed = sum(reasons.values()) <= spec.rejects.max_ratio * rows
        more = "" if allowed else f"; that is more than rejects.max_ratio {spec.rejects.max_ratio:g} allows"
        yield f"{sum(reasons.values()):,} of {rows:,} rows would be rejected ({why}){more}"


def _sampled(stream: RowStream) -> pa.Table:
    """The first rows, in the stream's types."""
    batches, rows = [], 0
    for batch in stream.batches:
        batches.append(batch.rows)
        rows += batch.rows.num_rows
        if rows >= _SAMPLED_ROWS:
            break
    if not batches:
        return stream.schema.empty_table()
    read = pa.Table.from_batches(batches)
    columns = []
    for field in stream.schema:
        column = read.column(field.name)
        if stream.is_text and not pat.is_null(field.type):
            column = fit(column, field.type, from_text=True).values
        columns.append(pa.chunked_array([pa.nulls(read.num_rows)]) if pat.is_null(field.type) else column)
    return pa.table(columns, names=stream.schema.names)


def _reason(field: pa.Field, stream: RowStream, sample: pa.Table) -> str:
    kind, column = storable_type(field.type), sample.column(field.name)
    if settled_type(kind) is None:
        return "no value tells its type"
    present = len(column) - column.null_count
    nulls = f", {column.null_count:,} empty" if column.null_count else ""
    spoilers = stream.spoilers.get(field.name)
    if spoilers is None:
        return f"all of the {present:,} values looked at{nulls}"
    shown = ", ".join(
        f"{blanked(repr(as_it_came(one.text))[:_VALUE_SHOWN])} in line {one.line:,}" for one in spoilers.texts
    )
    return f"most values are {spoilers.kind}, but not {shown}; declare {spoilers.kind} to have such rows rejected"


def _columns(schema: pa.Schema) -> Iterable[tuple[str, str]]:
    for field in schema:
        kind = storable_type(field.type)
        text = str(kind)
        try:
            is_named = declared_schema({field.name: text}).field(0).type == kind
        except SpecError:
            continue
        if is_named and settled_type(kind) == kind:
            yield field.name, text


def _holds_times(column: pa.ChunkedArray) -> bool:
    is_time = pat.is_timestamp(column.type) or pat.is_date(column.type)
    return bool(is_time and column.null_count < len(column))


def _time_partition(sample: pa.Table, column: str) -> TimePartition:
    times = sample.column(column)
    every = _width(times)
    zone = times.type.tz if pat.is_timestamp(times.type) else None
    timezone = zone if zone in available_timezones() else "UTC"
    return TimePartition(column=column, every=every, timezone=timezone, key=_key(sample.column_names, every))


def _width(times: pa.ChunkedArray) -> Every:
    whole = pc.all(pc.equal(times, pc.floor_temporal(times, unit="month").cast(times.type))).as_py()
    return "month" if whole and len(pc.unique(times.drop_null())) > 1 else "day"


def _key(taken: list[str], every: Every) -> str:
    """A name for the Hive column that no data column has."""
    key: str = "date" if every == "day" else every
    while key.lower() in {name.lower() for name in taken}:
        key = f"partition_{key}"
    return key
