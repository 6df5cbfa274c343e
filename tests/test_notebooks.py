"""The notebooks run from nothing, and their committed outputs are what they say."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VARYING = re.compile(
    r"\d+(\.\d+)? ([KMGT]?B|bytes)\b"
    r"|<?\$[\d.]+"
    r"|\b20[2-9]\d-\d\d-\d\d( \d\d:\d\d)?"
    r"|\bpart-[\w.-]+"
    r"|\s+"
)
"""Sizes and prices change a little with the version of pyarrow, the day with the day; columns move with them."""

TRAITORS = ("127.0.0.1", "localhost", "/tmp", str(Path.home()), "ipykernel", "SECRET")  # noqa: S108 - looked for
LARGEST_PICTURE, LARGEST_NOTEBOOK = 60_000, 150_000


class _Text(HTMLParser):
    """The text of a page, as a person reads it: style sheets are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._is_style = False

    def handle_starttag(self, tag, attrs):
        self._is_style = tag == "style"

    def handle_endtag(self, tag):
        self._is_style = False

    def handle_data(self, data):
        if not self._is_style:
            self.parts.append(data)


def text_of_page(html):
    page = _Text()
    page.feed(html)
    page.close()
    return " ".join(page.parts)


def outputs(notebook):
    """Each cell's text as a person sees it, without what varies."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[VARYING.sub(" ", text_of(output)) for output in cell.outputs] for cell in cells]


def text_of(output):
    """What an output says, as text and as a page."""
    assert output.output_type != "error", output
    assert output.get("name") != "stderr", output.text
    if output.output_type == "stream":
        return output.text
    page = output.data.get("text/html")
    return output.data["text/plain"] + (f"\n{text_of_page(page)}" if page is not None else "")


def pictures(notebook):
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_committed(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    committed = outputs(notebook)
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert outputs(notebook) == committed
    assert any(output for output in committed)
    assert list(tmp_path.iterdir()) == [], "what a notebook writes goes away with it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_tell_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    shown = "\n".join(text_of(output) for cell in notebook.cells for output in cell.get("outputs", []))
    assert [traitor for traitor in TRAITORS if traitor in shown] == []
    assert "\x1b" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_small(path):
    assert path.stat().st_size < LARGEST_NOTEBOOK
    shown = pictures(nbformat.read(path, as_version=4))
    assert shown
    assert max(map(len, shown)) < LARGEST_PICTURE


def test_pages_are_compared_by_their_text():
    page = nbformat.v4.new_output(
        "execute_result",
        data={
            "text/plain": "<Plan>",
            "text/html": "<style>a</style><table><tr><td>a &lt;b&gt;</td><td>7</td></tr></table>",
        },
    )
    assert VARYING.sub(" ", text_of(page)) == "<Plan> a <b> 7"
