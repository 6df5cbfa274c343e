"""Nothing that somebody meant to fill in later is in what users read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests import ROOT
from tests.docs.pages import pages, text_of
from tools.reference import command_reference

PLACEHOLDER = re.compile(r"@@|\bTODO\b|\bTBD\b|\bFIXME\b|\bXXX+\b|\blorem\b|<your\b|\bto be written\b", re.IGNORECASE)


def texts() -> Iterator[tuple[str, str]]:
    yield from ((page, text_of(page)) for page in pages())
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "mkdocs.yml", "benchmarks/README.md"):
        yield name, (ROOT / name).read_text(encoding="utf-8")
    for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
        yield notebook.name, re.sub(r'"image/png": "[^"]*"', "", notebook.read_text(encoding="utf-8"))
    yield "--help", command_reference()


@pytest.mark.parametrize(("name", "text"), [pytest.param(*one, id=one[0]) for one in texts()])
def test_there_is_no_placeholder(name, text):
    assert PLACEHOLDER.findall(text) == []


@pytest.mark.parametrize("text", ["@@TEST@@", "to do: TODO", "a TBD b", "fixme", "Lorem ipsum", "<your-bucket>"])
def test_placeholders_are_known(text):
    assert PLACEHOLDER.search(text)
