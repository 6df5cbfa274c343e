"""Numbers and tables as people read them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.cells import escaped
from tierlake.pipelines.runtime.page import Page, on_page


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "-"),
        (0, "$0"),
        (1e-9, "<$0.000001"),
        (0.00000123, "$0.0000012"),
        (0.00012, "$0.00012"),
        (0.05, "$0.050"),
        (0.5, "$0.50"),
        (1, "$1.00"),
        (-2.5, "-$2.50"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money(dollars: float | None, text: str) -> None:
    assert formatting.money(dollars) == text


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_money_is_never_far_off(dollars: float) -> None:
    assert float(formatting.money(dollars).replace("$", "").replace(",", "")) == pytest.approx(dollars, rel=0.06)


def test_sizes_ages_counts() -> None:
    assert [formatting.size(value) for value in (999, 1000, 2_500_000, 3 * 10**12)] == [
        "999 B",
        "1.0 KB",
        "2.5 MB",
        "3.0 TB",
    ]
    assert [formatting.age(value) for value in (None, timedelta(hours=30), timedelta(days=1234))] == [
        "-",
        "30 h",
        "1,234 d",
    ]
    assert [formatting.count(value) for value in (None, 12345)] == ["-", "12,345"]
    assert [formatting.files(value) for value in (1, 2000)] == ["1 file", "2,000 files"]
    assert [formatting.day(value) for value in (None, datetime(2014, 1, 2, tzinfo=UTC))] == ["-", "2014-01-02"]


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "at unknown cost"),
        (0, "$0 a month"),
        (0.00012, "less than a cent a month"),
        (0.009999, "less than a cent a month"),
        (0.05, "$0.05 a month"),
        (1234.567, "$1,234.57 a month"),
        (-2.5, "-$2.50 a month"),
    ],
)
def test_what_something_costs_a_month_is_told_to_the_cent(dollars: float | None, text: str) -> None:
    assert formatting.monthly(dollars) == text


def test_nouns_and_verbs_agree_with_their_number() -> None:
    assert [formatting.counted(number, "upload") for number in (0, 1, 2, 1000)] == [
        "0 uploads",
        "1 upload",
        "2 uploads",
        "1,000 uploads",
    ]
    assert [formatting.rows(number) for number in (None, 1, 2)] == ["an unknown number of rows", "1 row", "2 rows"]
    assert [formatting.are(number, "file") for number in (1, 2)] == ["1 file is", "2 files are"]
    assert [formatting.were(number, "file") for number in (1, 2)] == ["1 file was", "2 files were"]


def test_a_table_is_aligned_and_capped() -> None:
    text = formatting.table_text(["name", ">n"], [["a", "1"], ["bb", "22"], ["c", "3"]], footer=["all", "26"], limit=2)
    assert text.splitlines() == ["name   n", "a      1", "bb    22", "... and 1 more", "all   26"]


LONG = "x" * 100_000


def test_a_long_cell_makes_no_other_row_long() -> None:
    rows = [("1", LONG if place == 7 else "short", "why") for place in range(300)]
    lines = formatting.table_text([">line", "value", "why"], rows).split("\n")
    assert lines[8] == f"   1  {LONG}  why"
    assert max(map(len, lines[:8] + lines[9:])) < 150


def test_a_long_cell_is_wrapped_soon() -> None:
    began = time.process_time()
    with on_page(Page(width=80)):
        text = formatting.table_text([">line", "value", "why"], [("1", LONG, "because " * 10)])
    assert text.count("x") == len(LONG)
    assert max(map(len, text.split("\n"))) <= 80
    assert time.process_time() - began < 1.0


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_nothing_that_people_wrote_breaks_a_line(rows: list[tuple[str, str]]) -> None:
    lines = formatting.table_text(["key", "why"], rows).split("\n")
    assert len(lines) == 1 + len(rows)
    assert all(escaped(line) == line for line in lines)
