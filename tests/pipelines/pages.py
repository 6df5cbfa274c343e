"""Reads the pages that notebooks show, as a browser would: text without markup, and markup that is closed."""

from html.parser import HTMLParser

from tierlake.pipelines.runtime.cells import escaped

TAGS = {"div", "p", "strong", "br", "table", "thead", "tbody", "tfoot", "tr", "th", "td"}
"""All that our pages may have."""


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert all(name in {"style", "colspan"} and value is not None for name, value in attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def read_page(html: str) -> _Page:
    """The page, which is whole, plain and small."""
    assert len(html.encode()) < 10_000
    page = _Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert all(escaped(text) == text for text in page.texts)
    return page


def page_of(value: object) -> _Page:
    """The page of a value, whose `repr` is a line."""
    line = repr(value)
    assert escaped(line) == line
    assert len(line) < 400
    return read_page(value._repr_html_())  # type: ignore[attr-defined]


def text_in(value: object) -> str:
    return " ".join(page_of(value).texts)
