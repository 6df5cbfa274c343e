"""A batch of a source as rows of the table: each cell fits its type, or its row is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.model.stored_types import storable_type
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE
from tierlake.pipelines.sources.stream import line_numbers, text_field
from tierlake.pipelines.values import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.ingest.partitioner import Assigned, Partitioner
    from tierlake.pipelines.model.schema import SchemaPlan

__all__ = ["Intake", "Taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """One batch, sorted out.

    Attributes:
        assigned: Rows with a partition, in the types of the files.
        bad: Rows without one, as they came, with the reject columns; None where there are none.
    """

    assigned: Assigned
    bad: pa.Table | None


@dataclass(frozen=True, slots=True)
class Intake:
    """How the rows of one source become rows of the table.

    Attributes:
        plan: How the source's columns become the table's.
        zone: The zone of text times without an offset; None where the dataset has none.
        texts: Columns of untyped text, such as all columns of CSV.
        is_text: Whether the whole source is untyped text.
    """

    plan: SchemaPlan
    zone: str | None
    texts: frozenset[str] = frozenset()
    is_text: bool = False

    def take(self, rows: pa.Table, partitioner: Partitioner) -> Taken:
        """Fit the cells, then find each row's partition."""
        columns, faults = [], _Faults(rows.num_rows)
        present = set(rows.column_names)
        for field in self.plan.rows:
            if field.name not in present:
                columns.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
                continue
            source = rows.column(field.name)
            from_text = field.name in self.texts and pat.is_string(source.type)
            fitted = fit(source, field.type, zone=self.zone, from_text=from_text)
            columns.append(fitted.values)
            if fitted.reasons is not None:
                faults.add(field.name, fitted.reasons)
            if field.name in self.plan.required:
                faults.add_nulls(field.name, fitted.values)
        names = list(self.plan.rows.names)
        if partitioner.computed in present:  # rows that were read from a table have it
            names.append(str(partitioner.computed))
            columns.append(rows.column(partitioner.computed))
        # where a row came from may be no name of its own: rejected rows keep the lines of the files they came from
        places = pa.chunked_array([line_numbers(0, rows.num_rows)])
        fitting = pa.table([*columns, places], names=[*names, REJECT_LINE])
        bad = []
        if faults.places:
            bad.append(self._rejected(rows, *faults.listed()))
            fitting = fitting.filter(faults.mask())
        assigned = partitioner.assign(fitting)
        if assigned.bad.num_rows:
            bad.append(self._as_it_came(rows, assigned.bad))
        return Taken(assigned, pa.concat_tables(bad) if bad else None)

    def _as_it_came(self, rows: pa.Table, bad: pa.Table) -> pa.Table:
        """Rows without a partition, with the cells of the source."""
        places, columns = bad.column(REJECT_LINE).to_pylist(), bad.column(REJECT_COLUMN).to_pylist()
        return self._rejected(rows, places, columns, bad.column(REASON_COLUMN).to_pylist())

    def _rejected(
        self, rows: pa.Table, places: Sequence[int], columns: Sequence[str | None], reasons: Sequence[str]
    ) -> pa.Table:
        taken = _without_views(rows).take(pa.array(places, pa.int64()))
        shown = [None if name is None else _text(taken.column(name)[at]) for at, name in enumerate(columns)]
        for name, values in ((REJECT_COLUMN, columns), (REJECT_VALUE, shown), (REASON_COLUMN, reasons)):
            taken = taken.append_column(name, pa.array(values, pa.string()))
        marked = [text_field(field.name) if self._is_text_in(field) else field for field in taken.schema]
        return pa.Table.from_arrays(taken.columns, schema=pa.schema(marked))

    def _is_text_in(self, field: pa.Field[Any]) -> bool:
        return field.name in self.texts and pat.is_string(field.type)


class _Faults:
    """The first cell of each row that does not fit."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.places: dict[int, tuple[str, str]] = {}

    def add(self, column: str, reasons: pa.ChunkedArray) -> None:
        for place in pc.indices_nonzero(reasons.is_valid()).to_pylist():
            self.places.setdefault(place, (column, f"{column} {reasons[place].as_py()}"))

    def add_nulls(self, column: str, values: pa.ChunkedArray) -> None:
        if values.null_count:
            for place in pc.indices_nonzero(values.is_null()).to_pylist():
                self.places.setdefault(place, (column, f"{column} is null, which the table does not allow"))

    def listed(self) -> tuple[list[int], list[str | None], list[str]]:
        places = sorted(self.places)
        return places, [self.places[place][0] for place in places], [self.places[place][1] for place in places]

    def mask(self) -> pa.Array:
        return pa.array([place not in self.places for place in range(self._rows)])


def _without_views(rows: pa.Table) -> pa.Table:
    """Views as plain arrays: Arrow can neither take from those of texts nor cast those of lists (seen with 26.0)."""
    columns = [
        fit(column, storable_type(column.type)).values if "_view" in str(column.type) else column
        for column in rows.columns
    ]
    return pa.table(columns, names=rows.column_names)


def _text(cell: Any) -> str | None:
    if not cell.is_valid:
        return None
    try:
        value = cell.as_py()
    except (OverflowError, ValueError):  # a time outside Python's calendar
        return str(cell.cast(pa.string()).as_py())
    return value if isinstance(value, str) else str(value)
