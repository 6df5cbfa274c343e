"""What text knows of the place where it is read."""

import io

import pytest

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.cells import escaped, escaped_lines, width_of, wrapped
from tierlake.pipelines.runtime.page import Page, emphasised, has_colour, listed, on_page

HEADS = ["key", ">rows", "class", "held"]
ROW = ("date=2013-07-04", "8,760", "STANDARD_IA", "held: the audit of the year 2013 needs every row of it")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environ", "on_terminal", "in_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colour_is_for_terminals_that_take_it(environ, on_terminal, in_pipe):
    assert has_colour(Terminal(), environ) is on_terminal
    assert has_colour(io.StringIO(), environ) is in_pipe


def test_a_terminal_has_a_width_and_few_rows_and_a_pipe_takes_all(monkeypatch):
    for name, value in (("COLUMNS", "40"), ("LINES", "30"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    assert Page.of(io.StringIO()) == Page()
    assert Page.of(Terminal()) == Page(width=40, rows=22)
    assert Page.of(Terminal(), shows_all=True) == Page(width=40)
    monkeypatch.setenv("LINES", "5")
    assert Page.of(Terminal()).rows == 10


def test_styles_are_written_on_coloured_pages_alone():
    assert emphasised("x") == "x"
    with on_page(Page()):
        assert emphasised("x") == "x"
    with on_page(Page(is_coloured=True)):
        assert emphasised("x") == "\x1b[1mx\x1b[0m"
        assert emphasised("") == ""


def test_a_list_is_as_long_as_its_page_and_says_how_to_see_the_rest():
    lines = [str(number) for number in range(100)]
    assert listed(lines, 2) == ["0", "1", "... and 98 more"]
    with on_page(Page()):
        assert listed(lines, 2) == lines
    with on_page(Page(rows=3)):
        assert listed(lines, 2) == ["0", "1", "2", "... and 97 more: --all"]
        assert listed(lines[:3], 2) == ["0", "1", "2"]


@pytest.mark.parametrize("width", [200, 80, 60, 40, 20])
def test_a_table_fits_its_page_and_loses_nothing(width):
    with on_page(Page(width=width)):
        text = formatting.table_text(HEADS, [ROW, ROW], footer=("2 partitions", "17,520", "", ""))
    assert all(width_of(line) <= width for line in text.splitlines())
    assert all(line == line.rstrip() for line in text.splitlines())
    words = "".join(text.split())
    for cell in (*ROW, *ROW, "17,520"):
        for word in cell.split():
            assert word in words


def test_wide_characters_take_two_columns():
    row = ("city=東京都港区", "1", "STANDARD", "保持" * 20)
    for width in (60, 30):
        with on_page(Page(width=width)):
            text = formatting.table_text(HEADS, [row])
        assert all(width_of(line) <= width for line in text.splitlines())
        assert "city=東京都港区" in text
        assert text.count("保持") + text.count("保\n") >= 15
    aligned = formatting.table_text(["key", ">n"], [("東京", "1"), ("a", "2")]).splitlines()
    assert {width_of(line) for line in aligned} == {7}


@pytest.mark.parametrize("number", [0, 1, 10_000])
def test_no_row_one_row_and_ten_thousand(number):
    rows = ((f"k={place}", "1") for place in range(number))
    with on_page(Page()):
        lines = formatting.table_text(["key", ">rows"], rows, footer=(formatting.partitions(number), "x")).splitlines()
    assert len(lines) == number + 2
    assert lines[-1].split()[:2] == [f"{number:,}", "partition" if number == 1 else "partitions"]
    with on_page(Page(width=40, rows=10)):
        shown = formatting.table_text(["key"], ([f"k={place}"] for place in range(number))).splitlines()
    assert len(shown) == 1 + min(number, 10) + (number > 10)
    assert (shown[-1] == "... and 9,990 more: --all") is (number > 10)


def test_only_the_rows_that_are_shown_are_made():
    made = []

    def row(place):
        made.append(place)
        return (str(place),)

    with on_page(Page(width=80, rows=10)):
        text = formatting.table_text(["key"], map(row, range(10_000)), number=10_000)
    assert "... and 9,990 more: --all" in text
    assert len(made) == 10


def test_control_characters_are_escaped_wherever_they_come_from():
    nasty = "k=\x1b[2J\x1b]0;title\x07\r\nnext\u202e"
    assert escaped(nasty) == r"k=\x1b[2J\x1b]0;title\x07\r\nnext\u202e"
    with on_page(Page(width=80, is_coloured=True)):
        table = formatting.table_text(["key"], [[nasty]])
    assert r"\x1b[2J" in table
    assert escaped_lines("a\tb\nc\x1b[2J", is_coloured=False) == "a\tb\nc\\x1b[2J"
    assert escaped_lines(f"{emphasised('x')}\x1b[1mb\x1b[0m\x1b[2J", is_coloured=True) == "x\x1b[1mb\x1b[0m\\x1b[2J"
    assert escaped_lines("\x1b[1mb", is_coloured=False) == "\\x1b[1mb"


ODD_LETTERS = "Total\u00a0EUR \u3000 \U0001f469\u200d\U0001f680 \u200b"


def test_letters_that_a_terminal_takes_stay_as_they_are():
    assert escaped(ODD_LETTERS) == ODD_LETTERS
    assert escaped_lines(ODD_LETTERS, is_coloured=True) == ODD_LETTERS
    assert formatting.table_text(["name"], [["x\u00a0"]]).splitlines()[-1] == "x\u00a0"


def test_text_is_broken_between_words_and_within_long_ones():
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("lake://warehouse/x", 6) == ["lake:/", "/wareh", "ouse/x"]
    assert wrapped("", 5) == [""]
