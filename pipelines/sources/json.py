"""JSON Lines: a value is what JSON says it is, a line without a row is named, types are the whole source's.

Text is text, 5 a whole number, 1.0 a number; a missing field is null. Numbers are never read from text, nor text from
numbers, but for decimals, which keep the digits that were written.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources.json_types import LARGEST, SMALLEST, Kind, Literal, holds_decimals
from tierlake.pipelines.sources.limits import check_columns, check_names
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_VALUE
from tierlake.pipelines.sources.stream import BadRow, SourceBatch, bad_rows, text_field, with_origin
from tierlake.pipelines.sources.utf8 import CleanText
from tierlake.pipelines.values import TextTypes, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tierlake.pipelines.sources.files import SourceFile

__all__ = ["json_schema", "read_json"]

_BATCH_BYTES = 4 << 20
_LONGEST_LINE_BYTES = 64 << 20
_WHOLE_KEY = re.compile(r"0|-?[1-9][0-9]{0,18}")


class _NoRow(ValueError):
    """Why a line is no row."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Some lines of a file: rows with their lines, and what is none."""

    rows: list[dict[str, Any]]
    lines: list[int]
    bad: list[BadRow]


def json_schema(files: Sequence[SourceFile], known: pa.Schema | None) -> pa.Schema:
    """The columns of all rows, and those that the table knows; each file is read once.

    Raises:
        SourceError: A file cannot be read, or a column has values of several types.
    """
    whole = Kind()
    times: dict[str, TextTypes] = {}
    known_names = set(known.names) if known is not None else set()
    worst: tuple[str, BadRow] | None = None
    for file in files:
        for block in _blocks(file):
            worst = worst or next(((file.path, bad) for bad in block.bad), None)
            try:
                whole.add(block.rows, file.path, block.lines)
            except RecursionError:
                where = f"{file.path}: near line {block.lines[0]:,}"
                raise SourceError(
                    f"cannot read {where} values are nested too deeply", hint="store such values as text"
                ) from None
            check_columns(file.path, len(whole.fields), file.limits)
            for name, kind in whole.fields.items():
                if name not in known_names and set(kind.seen) == {"text"}:
                    texts = _texts([row.get(name) for row in block.rows])
                    times.setdefault(name, TextTypes()).add(texts)
    if not whole.fields and known is None and worst is not None:
        raise _without_rows(*worst)
    hint = "mend the source: a table's columns differ by more than upper and lower case"
    check_names(files[0].path, list(whole.fields), hint)
    seen = {name: kind for name, kind in whole.fields.items() if kind.seen}
    fields = [
        pa.field(field.name, seen[field.name].type(field.name, field.type) if field.name in seen else pa.null())
        for field in known or ()
    ]
    for name, kind in whole.fields.items():
        if name not in known_names:
            guess = times[name].kind if name in times and set(kind.seen) == {"text"} else None
            fields.append(pa.field(name, guess if guess is not None and pat.is_temporal(guess) else kind.type(name)))
    return pa.schema(fields)


def _texts(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeError):
        return pa.array([value if type(value) is str and _is_whole(value) else None for value in values], pa.string())


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def read_json(file: SourceFile, schema: pa.Schema, known: pa.Schema | None = None) -> Iterator[SourceBatch]:
    """The rows of a file.

    Args:
        file: The file.
        schema: Of the source, as `json_schema` tells it.
        known: By the table: where it has decimals, numbers are handed over as they are written.

    Raises:
        SourceError: It cannot be read.
    """
    exact = known is not None and any(holds_decimals(field.type) for field in known)
    for block in _blocks(file, exact=exact):
        yield _batch(file.path, block, schema, {field.name: field.type for field in known or ()})


def _batch(path: str, block: _Block, schema: pa.Schema, types: Mapping[str, pa.DataType]) -> SourceBatch:
    columns: list[pa.Array] = []
    wrong: dict[int, tuple[str, str]] = {}
    spoiled: set[str] = set()
    for field in schema:
        raw = pa.string() if pat.is_temporal(field.type) else field.type
        values = [row.get(field.name) for row in block.rows]
        array, reasons = _column(values, raw, types.get(field.name))
        for index, reason in reasons.items():
            wrong.setdefault(index, (field.name, f"{field.name} {reason}"))
            spoiled.add(field.name)
        if raw != field.type:
            array = fit(pa.chunked_array([array]), field.type, from_text=True).values.combine_chunks()
        columns.append(array)
    lines = pa.array(block.lines, pa.int64())
    rows = pa.RecordBatch.from_arrays(columns, schema=schema) if columns else pa.RecordBatch.from_pylist([])
    batch, bad = with_origin(rows, path, lines), bad_rows(path, block.bad)
    if not wrong:
        return SourceBatch(batch, bad)
    worse = _wrong_rows(batch, block, dict(sorted(wrong.items())), spoiled)
    keep = pa.array([index not in wrong for index in range(len(block.rows))])
    tables = [worse] if bad is None else [bad, worse]
    return SourceBatch(batch.filter(keep), pa.concat_tables(tables, promote_options="default"))


def _wrong_rows(
    batch: pa.RecordBatch, block: _Block, wrong: Mapping[int, tuple[str, str]], spoiled: set[str]
) -> pa.Table:
    """Rows with a cell that does not fit: as they came, but for columns with such cells, which are JSON."""
    table = pa.table(batch.take(pa.array(list(wrong))))
    for name in spoiled:
        texts = pa.array([_as_text(block.rows[index].get(name)) for index in wrong], pa.string())
        table = table.set_column(table.schema.get_field_index(name), text_field(name), texts)
    shown = [_as_text(block.rows[index].get(name)) for index, (name, _) in wrong.items()]
    reasons = [[name for name, _ in wrong.values()], shown, [reason for _, reason in wrong.values()]]
    for name, texts in zip((REJECT_COLUMN, REJECT_VALUE, REASON_COLUMN), reasons, strict=True):
        table = table.append_column(name, pa.array(texts, pa.string()))
    return table


def _as_text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _is_whole(value)):
        return value
    return value.text if isinstance(value, Literal) else json.dumps(value, default=str)


def _column(values: list[Any], kind: pa.DataType, known: pa.DataType | None) -> tuple[pa.Array, dict[int, str]]:
    """Values in their type, null where one does not fit, with the reason."""
    fast = _whole_column(values, kind) if known is None or not holds_decimals(known) else None
    if fast is not None:
        return fast, {}
    reader = _reader(kind, known)
    reasons: dict[int, str] = {}
    read: list[Any] = []
    for index, value in enumerate(values):
        try:
            read.append(None if value is None else reader(value))
        except _NoRow as error:
            reasons[index] = str(error)
            read.append(None)
    return pa.array(read, kind), reasons


def _whole_column(values: list[Any], kind: pa.DataType) -> pa.Array | None:
    """All at once, where their types say that this is what each by itself would be; else None."""
    types = set(map(type, values)) - {type(None)}
    if types - _WHOLE.get(kind, set()):
        return None
    try:
        column = pa.array(values, kind)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None
    return None if types == {float} and pc.any(pc.is_inf(column)).as_py() else column


_WHOLE: dict[pa.DataType, set[type]] = {
    pa.string(): {str},
    pa.int64(): {int},
    pa.float64(): {float},
    pa.bool_(): {bool},
}


def _reader(kind: pa.DataType, known: pa.DataType | None) -> Callable[[Any], Any]:
    if pat.is_struct(kind):
        by_name = {field.name: field.type for field in known} if known is not None and pat.is_struct(known) else {}
        return partial(_object, fields={field.name: _reader(field.type, by_name.get(field.name)) for field in kind})
    if pat.is_map(kind):
        key = _whole_key if pat.is_integer(kind.key_type) else _text
        return partial(_map, key=key, item=_reader(kind.item_type, known.item_type if known is not None else None))
    if pat.is_list(kind):
        return partial(_list, item=_reader(kind.value_type, getattr(known, "value_type", None)))
    if known is not None and pat.is_decimal(known):
        return _number_as_written
    return next((reader for test, reader in _READERS if test(kind)), _text)


def _number_as_written(value: Any) -> str:
    if type(value) is int or isinstance(value, Literal):
        return value.text if isinstance(value, Literal) else str(value)
    return _text(value)


def _nothing(value: Any) -> None:
    if value != {}:
        raise _NoRow("has a value in a column that has none")


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _NoRow("is neither true nor false")
    return value


def _integer(value: Any) -> int:
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        if not SMALLEST <= value <= LARGEST:
            raise _NoRow("is out of range for int64")
        return int(value)
    raise _NoRow("is not a whole number" if isinstance(value, float) else "is not a number")


def _float(value: Any) -> float:
    if type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            raise _NoRow("is out of range for double") from None
        if number != value:
            raise _NoRow("has more digits than a double holds")
        return number
    if not isinstance(value, float):
        raise _NoRow("is not a number")
    if math.isinf(value):
        raise _NoRow("is out of range for double")
    return float(value)


def _single(value: Any) -> float:
    """Of 32 bits, by the same rule as text's: the number whose shortest spelling it is."""
    number = _float(value)
    with np.errstate(over="ignore"):
        narrow = np.float32(number)
    if np.isinf(narrow) or (number and not narrow):
        raise _NoRow("is out of range for float")
    if number not in (float(narrow), float(str(narrow))):
        raise _NoRow("would lose digits as float")
    return float(narrow)


def _text(value: Any) -> str:
    if isinstance(value, str):
        if not _is_whole(value):
            raise _NoRow("has half of a surrogate pair, which is no letter")
        return value
    raise _NoRow("is not text")


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]], ...] = (
    (pat.is_boolean, _boolean),
    (pat.is_integer, _integer),
    (pat.is_float32, _single),
    (pat.is_floating, _float),
    (pat.is_null, _nothing),
)


def _list(value: Any, item: Callable[[Any], Any]) -> list[Any]:
    if type(value) is not list:
        raise _NoRow("is not a list")
    return [None if one is None else item(one) for one in value]


def _object(value: Any, fields: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    if type(value) is not dict:
        raise _NoRow("is not an object")
    return {name: None if (one := value.get(name)) is None else read(one) for name, read in fields.items()}


def _map(value: Any, key: Callable[[Any], Any], item: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
    if type(value) is not dict:
        raise _NoRow("is not an object")
    return [(key(name), None if one is None else item(one)) for name, one in value.items()]


def _whole_key(name: str) -> int:
    """A key that is a whole number: JSON has no way to write it but as text."""
    if not _WHOLE_KEY.fullmatch(name):
        raise _NoRow("has a key that is not a whole number")
    return _integer(int(name))


def _blocks(file: SourceFile, *, exact: bool = False) -> Iterator[_Block]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_without_twins, parse_constant=_no_constant, parse_float=Literal if exact else None
    )
    block, size = _Block([], [], []), 0
    for number, line in _lines(file):
        text = line.decode("utf-8", "surrogatepass").strip(" \t\r\n")
        if not text:
            continue
        if number == 1 and text.startswith("["):
            _refuse_array(file.path)
        try:
            block.rows.append(_decoded(decoder, text))
            block.lines.append(number)
        except _NoRow as error:
            block.bad.append(BadRow(number, None, text, str(error)))
        size += len(line)
        if size > _BATCH_BYTES:
            yield block
            block, size = _Block([], [], []), 0
    if block.rows or block.bad:
        yield block


def _decoded(decoder: json.JSONDecoder, text: str) -> dict[str, Any]:
    try:
        row, end = decoder.raw_decode(text)
    except RecursionError:
        raise _NoRow("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _NoRow(f"is not JSON: {error.msg}") from None
    except _NoRow:
        raise
    except ValueError as error:
        raise _NoRow(str(error)) from None
    if end < len(text):
        raise _NoRow("is not JSON: Extra data")
    if type(row) is not dict:
        raise _NoRow("is no JSON object")
    return row


def _without_rows(path: str, first: BadRow) -> SourceError:
    """The error for a source of which no line is a row, nor anything tells its columns."""
    hint = "write a JSON object a line"
    if "twice" in first.reason:
        hint = "name each field of an object once"
    elif first.value is not None and first.value.lstrip().startswith("{"):
        hint = "write an object a line: `jq -c . FILE > FILE.jsonl`"
    return SourceError(f"cannot read {path}: no line of it is a row; line {first.line:,} {first.reason}", hint=hint)


def _refuse_array(path: str) -> None:
    hint = "write an object a line: `jq -c '.[]' FILE > FILE.jsonl`"
    raise SourceError(f"cannot read {path}: it is one JSON array, and not an object a line", hint=hint)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _NoRow("has an object that names a field twice")
    return row


def _no_constant(name: str) -> None:
    raise _NoRow(f"is not JSON: {name}")


def _lines(file: SourceFile) -> Iterator[tuple[int, bytes]]:
    with file.opened() as opened:
        text = CleanText(file.path, opened.read, file.text.encoding)
        number, rest = 1, b""
        while block := text.taken():
            first, *others = block.split(b"\n")
            rest += first
            if len(rest) > _LONGEST_LINE_BYTES:
                where = f"{file.path}: line {number:,}"
                raise SourceError(
                    f"cannot read {where} is longer than {_LONGEST_LINE_BYTES:,} bytes", hint="write an object a line"
                )
            for line in others:
                yield number, rest
                number, rest = number + 1, line
        if rest:
            yield number, rest
