"""Rejected rows as CSV to be corrected, in the format that the dataset reads."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow.types as pat

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.ingest.rejects import is_text, own_columns
from tierlake.pipelines.sources.row_origin import REJECT_COLUMN, REJECT_VALUE
from tierlake.pipelines.values import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from tierlake.pipelines.model.text_options import TextOptions

__all__ = ["as_csv"]


def as_csv(rows: pa.Table, options: TextOptions, schema: pa.Schema | None) -> bytes:
    """The rows of a reject file, without the reject columns.

    Lists, maps and structs are JSON. A line that was no row stays as it is, and is no row until it is corrected.

    Args:
        rows: The rows of a reject file.
        options: How the dataset's text files are written.
        schema: The schema of the table's data, whose fractional numbers get the decimal mark; None without rows yet.

    Raises:
        SourceError: The encoding lacks a character, or the names in `header` do not fit the rows.
    """
    own = own_columns(rows) or (schema.names if schema is not None else ["row"])
    names = list(options.header) if isinstance(options.header, tuple) else own
    if set(names) != set(own):
        hint = "`header` under `text:` names others"
        raise SourceError(f"the rejected rows have the columns {', '.join(own)}", hint=hint)
    marks = _Marks(options)
    head = [] if options.header is False or isinstance(options.header, tuple) else [marks.joined(names)]
    columns = {name: texts_of(rows.column(name)).to_pylist() for name in names if name in rows.column_names}
    fractional = {name for name in columns if _is_fractional(name, rows, schema)}
    lines = []
    reasons = zip(rows.column(REJECT_COLUMN).to_pylist(), rows.column(REJECT_VALUE).to_pylist(), strict=True)
    for place, (column, value) in enumerate(reasons):
        if column is None and value is not None:
            lines.append(marks.no_row(value, len(names), is_line=is_text(rows)))
            continue
        pointed = fractional - {column}  # the bad cell is what it was
        row = {name: marks.number(cells[place]) if name in pointed else cells[place] for name, cells in columns.items()}
        lines.append(marks.joined([row.get(name) for name in names]))
    text = "".join(f"{line}\n" for line in (*head, *lines))
    try:
        return text.encode(options.encoding or "utf-8")
    except UnicodeEncodeError as error:
        raise SourceError(f"the rejected rows cannot be written as {options.encoding}: {error}") from error


def _is_fractional(name: str, rows: pa.Table, schema: pa.Schema | None) -> bool:
    known = schema is not None and name in schema.names
    kind = schema.field(name).type if schema is not None and known else rows.schema.field(name).type
    return bool(pat.is_floating(kind) or pat.is_decimal(kind))


class _Marks:
    """The marks of a CSV file."""

    def __init__(self, options: TextOptions) -> None:
        self._delimiter = options.delimiter or ","
        self._quote = options.quote or '"'
        self._decimal = options.decimal or "."
        self._nulls = frozenset(options.nulls)

    def joined(self, cells: Sequence[str | None]) -> str:
        """One row; null is the empty field without quotes."""
        if len(cells) == 1 and cells[0] is None:
            return next(iter(sorted(self._nulls)), self._quote * 2)  # a blank line is no row
        return self._delimiter.join(map(self._field, cells))

    def number(self, text: str | None) -> str | None:
        """A number with the file's decimal mark."""
        return text if text is None or self._decimal == "." else text.replace(".", self._decimal)

    def no_row(self, line: str, width: int, *, is_line: bool) -> str:
        """A line that was no row, written so that it still is none."""
        if is_line:
            reader = csv.reader(io.StringIO(line, newline=""), delimiter=self._delimiter, quotechar=self._quote)
            fields = [len(row) for row in reader]
            if len(fields) == 1 and fields[0] not in {0, width}:
                return line
        return self._quoted(line) if width != 1 else f"{self._quoted(line)}{self._delimiter}"

    def _field(self, cell: str | None) -> str:
        if cell is None:
            return ""
        is_plain = cell and cell not in self._nulls and not set(cell) & {self._delimiter, self._quote, "\r", "\n"}
        return cell if is_plain else self._quoted(cell)

    def _quoted(self, cell: str) -> str:
        return f"{self._quote}{cell.replace(self._quote, self._quote * 2)}{self._quote}"
