"""Pages: whole, small and without anybody's markup, whatever is in them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.pages import page_of, read_page
from tierlake.pipelines.runtime.html import Shown, escaped, page
from tierlake.pipelines.runtime.page import Page, emphasised, on_page
from tierlake.pipelines.runtime.table import Table

texts = st.text(max_size=100) | st.text("<>&\"'\x1b\n\u202e🙂", max_size=400)


class Said(Shown):
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@settings(max_examples=40)
@given(texts, st.lists(texts, max_size=30), st.lists(st.tuples(texts, texts), max_size=15))
def test_a_page_is_whole_and_small(summary: str, lines: list[str], rows: list[tuple[str, str]]) -> None:
    shown = read_page(page(summary, "\n".join(lines), Table(["a", ">b"], rows, tuple), Table(["c", "d"], rows, tuple)))
    assert all(len(row) in {1, 2} for row in shown.rows)


@given(texts)
def test_a_value_of_any_text_is_a_line_and_a_page(text: str) -> None:
    page_of(Said(text))


def test_markup_stays_text() -> None:
    hostile = "<script>alert('x')</script>&amp;"
    shown = read_page(page(hostile, hostile, Table([hostile], [hostile], lambda one: (one,), (hostile,))))
    assert shown.texts == [hostile] * 5


def test_control_characters_are_written_out() -> None:
    assert escaped("a\x1b[31m\nb\u202ec\ud800") == r"a\x1b[31m\nb\u202ec\ud800"


def test_a_long_text_is_cut_where_the_reader_sees_it() -> None:
    assert escaped("x" * 80) == "x" * 80
    assert escaped("x" * 81) == "x" * 79 + "…"


def test_rows_and_lines_that_are_not_shown_are_counted() -> None:
    shown = read_page(page("many", Table(["n"], range(10_000), lambda one: (str(one),)), "line\n" * 30))
    assert [row for row in shown.rows if row] == [
        ["n"],
        *([str(number)] for number in range(12)),
        ["... and 9,988 more"],
    ]
    assert shown.texts[-1] == "... and 10 more lines"


def test_rows_that_are_too_wide_are_counted_too() -> None:
    wide = Table(["a"] * 30, range(20), lambda one: ["&" * 80] * 30)
    assert read_page(page("wide", wide)).rows[-1] == ["... and 20 more"]


def test_what_is_empty_is_left_out() -> None:
    assert page("nothing", "", Table(["a"], [], lambda one: (one,))) == "<div><p><strong>nothing</strong></p></div>"


def test_colours_are_the_terminals_alone() -> None:
    class Bold(Shown):
        def __str__(self) -> str:
            return f"{emphasised('first')}\n{emphasised('second')}"

    with on_page(Page(is_coloured=True)):
        assert str(Bold()).startswith("\x1b")
        assert repr(Bold()) == "<Bold: first>"
        assert "x1b" not in Bold()._repr_html_()
