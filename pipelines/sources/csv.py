"""CSV and its kin: each field is its text, each row knows its line, and what is no row is told.

Arrow tokenises; what a cell means is decided afterwards, by the whole column. Arrow counts rows, an editor lines: what
differs are the header, blank lines, and line ends within quotes, and these are counted here.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.types as pat

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources.limits import check_columns, check_names
from tierlake.pipelines.sources.row_origin import HAS_A_POINT
from tierlake.pipelines.sources.stream import BadRow, SourceBatch, bad_rows, gathered, line_numbers, with_origin
from tierlake.pipelines.sources.text_format import (
    DEFAULT_DELIMITERS,
    Dialect,
    looks_like_values,
    overlooked_delimiter,
    sample_rows,
    sniffed,
    with_point_for_comma,
)
from tierlake.pipelines.sources.utf8 import BLANK, END, CleanText, count_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.pipelines.sources.files import SourceFile

__all__ = ["BLOCK_BYTES", "Head", "head_of", "read_rows"]

BLOCK_BYTES = 2 << 20  # its reader takes 50 times that (seen with pyarrow 26)
_COLUMN_BYTES = 1 << 14  # a wide file has few rows in a block, and whatever is done to it is done column by column
_HEAD_BYTES = 1 << 16
_LINE_END = r"\r\n|\r|\n"
_HEADER_HINT = "mend the header; of a file without one, the spec names the columns: text: {header: [NAME, ...]}"
_INDEX_HINT = f"if that is pandas's index, write the file with to_csv(index=False); else {_HEADER_HINT}"
_LF, _CR = b"\n\r"


@dataclass(frozen=True, slots=True)
class Head:
    """How the rows of a file of CSV are written, as its beginning tells.

    Attributes:
        path: The file, for people.
        names: Of the columns.
        dialect: The marks.
        size: Bytes before the first row.
        line: Number of the first row's line.
    """

    path: str
    names: list[str]
    dialect: Dialect
    size: int
    line: int


def head_of(file: SourceFile) -> Head | None:
    """Read a file's beginning; None where it is empty.

    Raises:
        SourceError: It cannot be read, is too wide, or does not name its columns well.
    """
    with _clean(file) as text:
        return _head(file, text)


@contextmanager
def _clean(file: SourceFile) -> Iterator[CleanText]:
    with file.opened() as opened:
        yield CleanText(file.path, opened.read, file.text.encoding, DEFAULT_DELIMITERS[file.kind])


def _head(file: SourceFile, text: CleanText) -> Head | None:
    start = text.head(_HEAD_BYTES)
    while (start and not start.strip(b"\r\n")) or not (b"\n" in start.lstrip(b"\r\n") or len(start) > BLOCK_BYTES):
        longer = text.head(len(start) + 1)
        if len(longer) == len(start):
            break
        start = longer
    if not start.strip():
        return None
    first = start.lstrip(b"\r\n").splitlines()[0]
    usual = file.text.delimiter or DEFAULT_DELIMITERS[file.kind]
    check_columns(file.path, first.count(usual.encode()) + 1, file.limits)
    whole = start[: max(start.rfind(b"\n"), start.rfind(b"\r")) + 1] if len(start) >= _HEAD_BYTES else start
    sample = (whole or start).decode("utf-8", "replace")
    dialect = sniffed(sample, DEFAULT_DELIMITERS[file.kind], file.text)
    names, size = _first_record(file.path, sample, dialect)
    check_columns(file.path, len(names), file.limits)
    option = file.text.header
    if len(names) == 1 and option is None:
        _check_one_column(file.path, names[0], sample, dialect)
    if option is None and looks_like_values(names):
        hint = "say `header: true` under `text:` where it names the columns, else `header: false` or the names"
        raise SourceError(
            f"{file.path}: its first line looks like a row, not like names: {', '.join(names)}", hint=hint
        )
    if option is False or isinstance(option, tuple):
        given = list(option) if isinstance(option, tuple) else [f"c{number}" for number in range(len(names))]
        rows = sample_rows(sample, dialect.delimiter, dialect.quote)
        if not any(len(row) == len(given) for row in rows):  # the first may be no row
            hint = f"name all {len(names)}, or say another --delimiter where that is too many or too few"
            raise SourceError(f"{file.path} has {len(names)} columns, and `header` names {len(given)}", hint=hint)
        names, size = given, 0
    is_index = not names[0].strip()
    check_names(file.path, names, hint=_INDEX_HINT if is_index else _HEADER_HINT)
    # a part of a file has the header of the whole before it: its own lines are counted
    line = 1 if file.lines is not None and file.lines.header else 1 + count_lines(start[:size])
    return Head(file.path, names, dialect, size, line)


def _first_record(path: str, sample: str, dialect: Dialect) -> tuple[list[str], int]:
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for line in io.StringIO(sample, newline=""):
            taken += len(line.encode())
            yield line

    try:
        for record in csv.reader(lines(), delimiter=dialect.delimiter, quotechar=dialect.quote):
            if record:
                return record, taken
    except csv.Error as error:
        raise SourceError(f"cannot read {path}: its header: {error}", hint=_HEADER_HINT) from error
    raise SourceError(f"cannot read {path}: it has no header", hint=_HEADER_HINT)


def _check_one_column(path: str, name: str, sample: str, dialect: Dialect) -> None:
    """Refuse a file whose columns are taken for a single one."""
    mark = overlooked_delimiter(sample, dialect)
    if mark is None:
        return
    said = {"\t": "\\t"}.get(mark, mark)
    message = f"{path}: its only column {name!r} looks like several, separated by '{said}'"
    hint = f"say --delimiter '{said}', or in the spec text: {{delimiter: \"{said}\"}}; header: true where it is one"
    raise SourceError(message, hint=hint)


def read_rows(
    file: SourceFile, head: Head, schema: pa.Schema | None = None, block_bytes: int | None = None
) -> Iterator[SourceBatch]:
    """The rows of a file as text.

    Args:
        file: The file.
        head: Its beginning.
        schema: The types that the columns will be fitted to: those of numbers have their decimal mark made a point.
        block_bytes: How much is tokenised at a time; a row must not be longer.

    Raises:
        SourceError: It cannot be read.
    """
    with _clean(file) as text:
        text.head(head.size)
        text.skip(head.size)
        text.describe(head.dialect.delimiter, head.dialect.quote, head.names)
        batches = _Rows(file, head, text, schema).batches(block_bytes or BLOCK_BYTES)
        yield from gathered(batches, _COLUMN_BYTES * len(head.names))


@contextmanager
def _drained(reader: pacsv.CSVStreamingReader, text: CleanText) -> Iterator[None]:
    """Read to the end what is left half way: Arrow can deadlock where a reader goes whose thread still reads (26.0)."""
    try:
        yield
    except pa.ArrowInvalid:
        _BROKEN.append(reader)
        raise
    finally:
        text.stop()
        try:
            deque(reader, maxlen=0)
        except pa.ArrowInvalid:
            _BROKEN.append(reader)


_BROKEN: deque[pacsv.CSVStreamingReader] = deque(maxlen=4)  # these cannot be read to the end


class _Rows:
    """One pass over a file."""

    def __init__(self, file: SourceFile, head: Head, text: CleanText, schema: pa.Schema | None) -> None:
        self._path = file.path
        self._head = head
        self._text = text
        self._nulls = file.text.nulls
        self._numbers = _numbers(head, schema)
        self._events: deque[tuple[int, int, str]] = deque()
        self._next_row = 1
        self._line = head.line
        self._saw_end = False

    def batches(self, block_bytes: int) -> Iterator[SourceBatch]:
        if not self._text.head(1):
            return
        for batch in self._tokenised(block_bytes):
            yield from self._sorted_out(batch)
        if len(self._head.names) == 1:
            self._saw_end = True
        if not self._saw_end:
            self._refuse_open_quote()

    def _tokenised(self, block_bytes: int) -> Iterator[pa.RecordBatch]:
        names = self._head.names
        try:
            reader = pacsv.open_csv(
                self._text,
                read_options=pacsv.ReadOptions(block_size=block_bytes, use_threads=False, column_names=names),
                parse_options=pacsv.ParseOptions(
                    delimiter=self._head.dialect.delimiter,
                    quote_char=self._head.dialect.quote,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=self._on_invalid,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=["", *self._nulls],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
            with _drained(reader, self._text):
                for batch in reader:
                    self._raise_failure()
                    yield batch
                if self._events:  # not one line of the file is a row
                    yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        except pa.ArrowInvalid as error:
            self._raise_failure()
            if "straddl" not in str(error):
                raise
            what = (
                f"the row that begins in line {self._line:,}, or one of the next, is longer than {block_bytes:,} bytes"
            )
            hint = f"look for a quote ({self._head.dialect.quote}) that is never closed"
            raise SourceError(f"cannot read {self._path}: {what}", hint=hint) from error
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._text.failure is not None:
            raise self._text.failure

    def _on_invalid(self, row: Any) -> str:
        self._events.append((row.number, row.actual_columns, row.text))
        return "skip"

    def _refuse_open_quote(self) -> None:
        what = f"the quote ({self._head.dialect.quote}) opened in line {self._line:,} is never closed"
        raise SourceError(f"cannot read {self._path}: {what}", hint="close it, or double a quote that is meant as such")

    def _sorted_out(self, batch: pa.RecordBatch) -> Iterator[SourceBatch]:
        if self._text.is_at_end and self._text.has_quotes and self._holds_end(batch):
            self._line_of_last(batch)
            self._refuse_open_quote()
        lines, bad = self._lines(batch)
        columns = list(batch.columns)
        if self._text.has_blanks and self._text.has_quotes:
            columns = [pc.replace_substring(column, BLANK, "") for column in columns]
        rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        if batch.num_columns == 1 and (self._text.has_blanks or self._text.is_at_end):
            keep = pc.invert(pc.fill_null(pc.is_in(batch.column(0), pa.array([BLANK, END])), fill_value=False))
            rows, lines = rows.filter(keep), lines.filter(keep)
        rows, lines, worse = self._decimals(rows, lines)
        tables = [table for table in (bad, worse) if table is not None]
        rejected = pa.concat_tables(tables, promote_options="default") if tables else None
        if rows.num_rows or rejected is not None:
            yield SourceBatch(with_origin(rows, self._path, lines), rejected)

    def _holds_end(self, batch: pa.RecordBatch) -> bool:
        last = batch.slice(max(0, batch.num_rows - 1)).to_pylist()
        texts = [value for row in last for value in row.values() if value] if batch.num_columns > 1 else []
        if batch.num_columns == 1:
            texts = [value for row in last for value in row.values() if value and value != END]
        invalid = [text for _, _, text in self._events if text not in (BLANK, END)]
        return any(END in text for text in (*texts, *invalid))

    def _line_of_last(self, batch: pa.RecordBatch) -> None:
        """Stand at the line where the last row begins."""
        if any(END in text and text != END for _, _, text in self._events):
            self._lines(batch)
            return
        lines, _ = self._lines(batch)
        self._line = lines[-1].as_py()

    def _lines(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Table | None]:
        """The line of each row, and the rows between them that are none."""
        within = self._ends_within(batch)
        parts: list[pa.Array] = []
        bad: list[BadRow] = []
        done = 0
        while True:
            event = self._events[0] if self._events else None
            run = batch.num_rows - done if event is None else min(event[0] - self._next_row, batch.num_rows - done)
            if run:
                parts.append(self._run(within, done, run))
                done += run
            if event is None or event[0] != self._next_row:
                break
            self._events.popleft()
            self._next_row += 1
            self._note(event, bad)
            if END in event[2] and event[2] != END:
                break
        lines = pa.concat_arrays(parts) if parts else line_numbers(1, 0)
        return lines, bad_rows(self._path, bad)

    def _run(self, within: pa.Array | None, done: int, run: int) -> pa.Array:
        lines = line_numbers(self._line, run)
        self._next_row += run
        self._line += run
        if within is None:
            return lines
        ends = pc.cumulative_sum(within.slice(done, run))
        self._line += ends[-1].as_py()
        return pc.add(lines, pc.subtract(ends, within.slice(done, run)))

    def _note(self, event: tuple[int, int, str], bad: list[BadRow]) -> None:
        _, fields, text = event
        if text == END:
            self._saw_end = True
            return
        if END in text:
            return
        if text != BLANK:
            count = len(self._head.names)
            reason = f"has {fields:,} field{'s' * (fields != 1)} instead of {count:,}"
            bad.append(BadRow(self._line, None, text.replace(BLANK, ""), reason, dict.fromkeys(self._head.names)))
        self._line += 1 + count_lines(text.encode())

    def _ends_within(self, batch: pa.RecordBatch) -> pa.Array | None:
        """How many line ends are in the cells of each row; None for none at all."""
        if not self._text.has_quotes:
            return None
        total = None
        for column in filter(_may_hold_line_ends, batch.columns):
            if pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py():
                counts = pc.fill_null(pc.count_substring_regex(column, _LINE_END), 0).cast(pa.int64())
                total = counts if total is None else pc.add(total, counts)
        return total

    def _decimals(self, rows: pa.RecordBatch, lines: pa.Array) -> tuple[pa.RecordBatch, pa.Array, pa.Table | None]:
        """Numbers with a decimal comma, as everybody else writes them; a point in one is no number."""
        if not self._numbers or not rows.num_rows:
            return rows, lines, None
        pointed: dict[int, str] = {}
        for name in self._numbers:
            points = pc.fill_null(pc.match_substring(rows.column(name), "."), fill_value=False)
            for place in pc.indices_nonzero(points).to_pylist():
                pointed.setdefault(place, name)
        for name in self._numbers:
            position = rows.schema.get_field_index(name)
            rows = rows.set_column(position, name, with_point_for_comma(rows.column(name)))
        keep = pa.array([place not in pointed for place in range(rows.num_rows)]) if pointed else None
        if keep is None:
            return rows, lines, None
        cells = rows.filter(pc.invert(keep)).to_pylist()
        bad = [
            BadRow(lines[place].as_py(), pointed[place], row[pointed[place]], f"{pointed[place]} {HAS_A_POINT}", row)
            for place, row in zip(sorted(pointed), cells, strict=True)
        ]
        return rows.filter(keep), lines.filter(keep), bad_rows(self._path, bad)


def _may_hold_line_ends(column: pa.Array) -> bool:
    """Whether a line end is among the bytes of a column of text: much faster to see than which rows have one."""
    _, _, values = column.buffers()
    if values is None:
        return False
    letters = np.frombuffer(values, np.uint8)
    return bool((letters == _LF).any() or (letters == _CR).any())


def _numbers(head: Head, schema: pa.Schema | None) -> list[str]:
    if schema is None or head.dialect.decimal == ".":
        return []
    numeric = (pat.is_floating, pat.is_decimal)
    return [field.name for field in schema if field.name in head.names and any(kind(field.type) for kind in numeric)]
