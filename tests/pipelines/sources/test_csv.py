"""CSV comes in cell by cell, whatever marks it is written with, and each row knows the line where it begins."""

import csv
import io
import re
import subprocess
import sys

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import TextOptions, open_source
from tierlake.pipelines.sources.csv import head_of, read_rows
from tierlake.pipelines.sources.files import find_files
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_FILE, REJECT_LINE, REJECT_VALUE

CELL = st.one_of(
    st.none(),
    st.text(st.sampled_from("ab,;|\t\"'\n\r é€𝄞0.\\"), max_size=6),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)
LINE_END = re.compile("\r\n|\r|\n")


def tables(width):
    return st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=12)


def written(rows, delimiter, end):
    """As any program might write it: None unquoted, everything else quoted where it is needed."""

    def field(value):
        if value is None:
            return ""
        bare = value and not set(value) & set(f'{delimiter}"\r\n')
        return value if bare else f'"{value.replace(chr(34), chr(34) * 2)}"'

    return [delimiter.join(map(field, row)) + end for row in rows]


def read(path, *, block_bytes=None, **text):
    (file,) = find_files([str(path)], {}, None, TextOptions(**text))
    batches = list(read_rows(file, head_of(file), None, block_bytes))
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    bad = [row for batch in batches if batch.bad is not None for row in batch.bad.to_pylist()]
    return rows, bad


def put(content):
    path = "memory://csv/x.csv"
    with fsspec.open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


@given(
    st.integers(1, 4).flatmap(tables),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sets(st.integers(0, 11)),
    st.booleans(),
    st.integers(400, 900),
)
def test_every_cell_and_every_line(table, delimiter, end, blanks, is_ended, block_bytes):
    names = [f"n{number}" for number in range(len(table[0]) if table else 2)]
    if len(names) == 1:
        table = [row for row in table if row != [None]]
    lines, expected, at = [delimiter.join(names) + end], [], 2
    for number, (row, line) in enumerate(zip(table, written(table, delimiter, end), strict=True)):
        if number in blanks:
            lines.append(end)
            at += 1
        lines.append(line)
        expected.append({**dict(zip(names, row, strict=True)), REJECT_FILE: "/csv/x.csv", REJECT_LINE: at})
        at += len(LINE_END.findall(line))
    text = "".join(lines)
    path = put(text if is_ended or (table and table[-1][-1] is None) else text.removesuffix(end))
    rows, bad = read(path, block_bytes=block_bytes, delimiter=delimiter, quote='"', header=True)
    assert (rows, bad) == (expected, [])


@given(st.integers(2, 4).flatmap(tables), st.sampled_from(",;\t|"))
def test_what_python_writes(table, delimiter):
    text = io.StringIO(newline="")
    names = [f"n{number}" for number in range(len(table[0]) if table else 2)]
    csv.writer(text, delimiter=delimiter).writerows([names, *table])
    rows, bad = read(put(text.getvalue()), delimiter=delimiter, quote='"')
    assert not bad
    assert [[row[name] or "" for name in names] for row in rows] == [[cell or "" for cell in row] for row in table]


def test_what_is_no_row_is_told_with_its_line():
    text = '\n"a\nb",c\n1,2\n\n3\n4,5,6\n"x\ny",""\n"7\n8",9,10\n,7'
    rows, bad = read(put(text))
    assert [(row["a\nb"], row["c"], row[REJECT_LINE]) for row in rows] == [
        ("1", "2", 4),
        ("x\ny", "", 8),
        (None, "7", 12),
    ]
    assert [(row[REJECT_LINE], row[REJECT_VALUE], row[REASON_COLUMN]) for row in bad] == [
        (6, "3", "has 1 field instead of 2"),
        (7, "4,5,6", "has 3 fields instead of 2"),
        (10, '"7\n8",9,10', "has 3 fields instead of 2"),
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a,b\n1\n\n2,3,4\n", [2, 4]),
        ("a,b\n1", [2]),
        ('a,b\n"1\n2"\n3\n', [2, 4]),
        ("a,b\n0,0\n" + "1\n" * 90, range(3, 93)),
    ],
)
def test_lines_without_a_row_among_them_are_told_as_well(text, lines):
    _, bad = read(put(text), block_bytes=40)
    assert [row[REJECT_LINE] for row in bad] == list(lines)


@pytest.mark.parametrize(
    "text",
    ['a,b\n1,2\n"x,3\n4,5\n', 'a,b\n1,2\n3,"x\n4,5\n', 'a,b\n1,2\n3,"x', 'a\n1\n"x\n4\n', 'a,b\n1,2\n3,4,"x\n4,5\n'],
)
def test_a_quote_that_is_never_closed_is_named(text):
    with pytest.raises(SourceError, match=r"x\.csv: the quote \(\"\) opened in line 3 is never closed"):
        read(put(text))


def test_a_quote_that_swallows_more_than_a_block_is_named():
    with pytest.raises(SourceError, match=r"line 3, or one of the next, is longer than 100 bytes"):
        read(put('a,b\n1,2\n3,"x' + "\n4,5" * 100), block_bytes=100)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("n,city\n1,x\n2,café\n".encode("latin-1"), r"line 3, column city, is not UTF-8"),
        ("n,city\n1,x\n2,y\0\n", r"line 3, column city, has a NUL byte"),
        ("n,city\n1,x\n".encode("utf-16"), r"byte order mark of UTF-16"),
        ("n,n\n1,2\n", "has the column n twice"),
        ("n,N\n1,2\n", "has the column n and N, which differ by upper and lower case"),
        ("n,\n1,2\n", "column 2 has no name"),
        ("1,2.5\n1,2\n", "its first line looks like a row, not like names"),
    ],
)
def test_what_cannot_be_taken_is_named(content, says):
    with pytest.raises(SourceError, match=says):
        read(put(content))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252", "utf-8", "utf-8-sig"])
def test_an_encoding_that_is_said(encoding):
    rows, _ = read(put("n,city\n1,café\n".encode(encoding)), encoding=encoding)
    assert [row["city"] for row in rows] == ["café"]


def test_a_byte_order_mark_is_no_name():
    assert list(read(put("n,m\n1,2\n".encode("utf-8-sig")))[0][0])[:2] == ["n", "m"]


def types(text, known=None, **options):
    stream = open_source(put(text), known, text=options)
    assert all(pa.types.is_string(kind) for batch in stream.batches for kind in batch.rows.schema.types[:-2])
    return {field.name: str(field.type) for field in stream.schema}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", ""], "int64"),
        (["1"] * 100_000 + ["1.5"], "double"),
        (["02134", "1"], "string"),
        (["+4912"], "string"),
        (["9223372036854775808"], "string"),
        (["NA", "1"], "string"),
        (["2013-01-01", "2013-01-02"], "date32[day]"),
        (["2013-01-01 10:00:00"], "timestamp[us]"),
        (["2013-01-01T10:00:00Z", "2013-01-01T10:00:00+02:00"], "timestamp[us, tz=UTC]"),
        (["2013-01-01T10:00:00Z", "2013-01-01T10:00:00"], "string"),
        (["true", "False"], "bool"),
        (["", ""], "null"),
    ],
)
def test_types_of_whole_columns(values, kind):
    assert types("k,v\n" + "".join(f"x,{value}\n" for value in values))["v"] == kind


def test_known_columns_keep_their_types():
    assert types("n,m\n1,2\n", pa.schema({"m": pa.string()})) == {"n": "int64", "m": "string"}


@pytest.mark.parametrize(
    ("text", "notes", "cells"),
    [
        (
            "a;b\n1,5;x\n2,5;y\n",
            ("the delimiter is a semicolon", "the decimal mark is a comma"),
            [("1.5", "x"), ("2.5", "y")],
        ),
        ("a\tb\n1.5\tx, y, z\n", ("the delimiter is a tab",), [("1.5", "x, y, z")]),
        ("a|b\n1|x\n", ("the delimiter is a bar",), [("1", "x")]),
        ('a,b\n"1,2",x\n', (), [("1,2", "x")]),
        ("a,b\n'x,y',2\n", ("the quote is an apostrophe",), [("x,y", "2")]),
    ],
)
def test_what_was_sniffed_is_told(text, notes, cells):
    stream = open_source(put(text), None)
    rows = [tuple(row.values())[:2] for batch in stream.batches for row in batch.rows.to_pylist()]
    assert (stream.notes, rows) == (notes, cells)


def test_a_point_under_a_decimal_comma_is_no_number():
    stream = open_source(
        put("a;b\n1,5;x\n1.234;y\n"), pa.schema({"a": pa.float64(), "b": pa.string()}), text={"decimal": ","}
    )
    (batch,) = stream.batches
    assert batch.rows.column("a").to_pylist() == ["1.5"]
    assert batch.bad.column(REASON_COLUMN).to_pylist() == ["a has a point, and the decimal mark is a comma"]


def test_only_the_empty_unquoted_field_is_null_unless_words_are_given():
    text = 'a,b\nNA,1\n"",2\n,3\n"NA",4\n'
    assert [row["a"] for row in read(put(text))[0]] == ["NA", "", None, "NA"]
    assert [row["a"] for row in read(put(text), nulls=["NA"])[0]] == [None, "", None, "NA"]


def test_names_for_a_file_without_any():
    assert list(read(put("1,2\n3,4\n"), header=False)[0][0])[:2] == ["c0", "c1"]
    rows, _ = read(put("1,2\n3,4\n"), header=["x", "y"])
    assert [(row["x"], row[REJECT_LINE]) for row in rows] == [("1", 1), ("3", 2)]


def test_a_header_alone_is_an_empty_source():
    stream = open_source(put("a,b\n"), None)
    assert stream.schema.names == ["a", "b"]
    assert not list(stream.batches)


ABANDON = """
import sys
from tierlake.pipelines.sources import csv, files
from tierlake.pipelines.model.text_options import TextOptions

csv._COLUMN_BYTES = 0
(file,) = files.find_files([sys.argv[1]], {}, None, TextOptions())
for _ in range(200):
    rows = csv.read_rows(file, csv.head_of(file), None, 4096)
    next(rows)
    rows.close()
"""


@pytest.mark.slow
def test_a_process_ends_that_left_files_half_read(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("a,b\n" + "1,2\n" * 100_000)
    subprocess.run([sys.executable, "-c", ABANDON, str(path)], check=True, timeout=240)
