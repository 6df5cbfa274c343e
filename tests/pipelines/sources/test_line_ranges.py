"""A text file in parts: each line is in one of them, whole and in order."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.sources.line_ranges import LinesOf, cut_lines

LINES = st.lists(st.sampled_from([b"", b"a", b"1,2", b"\xc3\xbc" * 40, b"\r"]), max_size=30).map(b"\n".join)


def parts_of(text, wanted, *, has_header):
    cut = cut_lines(io.BytesIO(text), len(text), wanted, has_header=has_header)
    return cut, [LinesOf(io.BytesIO(text), lines) for lines in cut]


@given(LINES, st.integers(1, 200), st.integers(1, 7))
def test_parts_put_together_are_the_file(text, wanted, size):
    _, parts = parts_of(text, wanted, has_header=False)
    read = [b"".join(iter(lambda part=part: part.read(size), b"")) for part in parts]
    assert b"".join(read) == text
    assert all(part.endswith(b"\n") for part in read[:-1])
    assert all(len(part) <= wanted + max(map(len, text.splitlines(keepends=True))) for part in read)


@given(LINES, st.integers(1, 200))
def test_each_part_but_the_first_begins_with_the_header(body, wanted):
    head = b"\r\n\nat,city\n"
    cut, parts = parts_of(head + body, wanted, has_header=True)
    read = [part.read() + part.read() for part in parts]
    assert read[0].startswith(head)
    assert all(part.startswith(b"at,city\n") for part in read[1:])
    assert b"".join([read[0], *(part.removeprefix(b"at,city\n") for part in read[1:])]) == head + body
    assert cut[0].start == 0


class Stream(io.BytesIO):
    """HTTP without ranges, as fsspec has it."""

    def seek(self, *_):
        raise ValueError("Cannot seek streaming HTTP file")


@pytest.mark.parametrize("file", [io.BytesIO(b"at,city"), io.BytesIO(b"\n\n"), Stream(b"at,city\n1,2\n3,4\n")])
def test_what_cannot_be_cut_stays_whole(file):
    assert cut_lines(file, 7, 2, has_header=True) == ()
