"""How a text file is written: encoding, delimiter, quote, decimal mark, words for null; given, or sniffed."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tierlake.pipelines.model.missing_columns import is_value

if TYPE_CHECKING:
    from tierlake.pipelines.model.text_options import TextOptions

__all__ = [
    "DEFAULT_DELIMITERS",
    "Dialect",
    "as_it_came",
    "as_written_with_points",
    "looks_like_values",
    "overlooked_delimiter",
    "sample_rows",
    "sniffed",
    "with_point_for_comma",
]

DEFAULT_DELIMITERS = {"csv": ",", "tsv": "\t"}
_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_OTHER_DELIMITERS = ("^", "~", "#")
_SAMPLE_ROWS = 1000
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")
_COMMA_CELL = r"^(\s*[+-]?\d*),(\d*(?:[eE][+-]?\d+)?\s*)$"
_POINT_CELL = r"^(\s*[+-]?\d+)\.(\d)"
_SPOILED_CELL = re.compile(r"^(\s*[+-]?\d+) \. (\d)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one file of CSV is written.

    Attributes:
        delimiter: Between fields.
        quote: Around fields.
        decimal: The decimal mark.
        notes: What was guessed and is not the usual, a sentence each.
    """

    delimiter: str
    quote: str
    decimal: str
    notes: tuple[str, ...] = ()


def sniffed(head: str, default: str, options: TextOptions) -> Dialect:
    """The dialect of a file.

    The delimiter is the one that gives the most rows as many fields as the first. The quote is an apostrophe only where
    rows fall apart without it. The decimal mark is a comma only where the delimiter is another, some numbers have one,
    and none has a point.

    Args:
        head: Whole lines from the file's beginning.
        default: The delimiter of files with this name.
        options: What is known.
    """
    quotes = [options.quote] if options.quote else ['"'] if '"' in head else ['"', "'"]
    marks = [options.delimiter] if options.delimiter else sorted(_DELIMITERS, key=lambda mark: mark != default)
    delimiter, quote = (marks[0], quotes[0])
    best = (0.0, 0)
    for one_quote in quotes:
        for mark in marks:
            fit = _consistency(sample_rows(head, mark, one_quote))
            if fit > best:
                best, delimiter, quote = fit, mark, one_quote
    notes = []
    if not options.delimiter and delimiter != default:
        notes.append(f"the delimiter is a {_NAMES[delimiter]}")
    if not options.quote and quote != '"':
        notes.append("the quote is an apostrophe")
    decimal = options.decimal or (
        "," if delimiter != "," and _has_comma_numbers(sample_rows(head, delimiter, quote)) else "."
    )
    if not options.decimal and decimal == ",":
        notes.append("the decimal mark is a comma")
    return Dialect(delimiter, quote, decimal, tuple(notes))


def overlooked_delimiter(head: str, dialect: Dialect) -> str | None:
    """What separates the columns of a file that seems to have one alone: in all rows it gives equally many.

    Args:
        head: Whole lines from the file's beginning.
        dialect: Of the file, with which it has one column.
    """
    for mark in (*_DELIMITERS, *_OTHER_DELIMITERS):
        counts = [len(row) for row in sample_rows(head, mark, dialect.quote)] if mark != dialect.delimiter else []
        if len(counts) > 1 and counts[0] > 1 and len(set(counts)) == 1:
            return mark
    return None


def looks_like_values(names: list[str]) -> bool:
    """Whether what stands in the first line are numbers or dates rather than names."""
    return bool(names) and all(map(is_value, names))


def sample_rows(head: str, delimiter: str, quote: str) -> list[list[str]]:
    """The first rows of a file's beginning."""
    rows = []
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quotechar=quote)
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # a field longer than the head
    return rows


def _consistency(rows: list[list[str]]) -> tuple[float, int]:
    """The share of rows with as many fields as the first, rounded so that a few bad rows decide nothing."""
    if not rows or len(rows[0]) == 1:
        return (0.0, 0)
    counts = Counter(len(row) for row in rows)
    return (round(counts[len(rows[0])] / len(rows), 2), 0)


def _has_comma_numbers(rows: list[list[str]]) -> bool:
    cells = [cell.strip() for row in rows[1:] for cell in row]
    return any(map(_COMMA_NUMBER.fullmatch, cells)) and not any(map(_POINT_NUMBER.fullmatch, cells))


def as_written_with_points(column: pa.Array, dialect: Dialect) -> pa.Array:
    """Numbers with a decimal comma as with a point; what has a point already is made none."""
    if dialect.decimal == ".":
        return column
    return with_point_for_comma(pc.replace_substring_regex(column, _POINT_CELL, r"\1 . \2"))


def as_it_came(text: str) -> str:
    """Undoes `as_written_with_points` for a text that it made no number."""
    return _SPOILED_CELL.sub(r"\1.\2", text)


def with_point_for_comma(column: pa.Array) -> pa.Array:
    """Numbers with a decimal comma as with a point; other text stays as it is."""
    return pc.replace_substring_regex(column, _COMMA_CELL, r"\1.\2")
