"""`make docs` builds the site without a warning, offline, and each link in it leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from tests import ROOT
from tests.docs.pages import pages
from tools.reference import PAGES
from tools.site import PROJECT_PAGES

NOT_PAGES = {"README.md"}


class Links(HTMLParser):
    """What a page links to and loads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.places |= {value for name in ("id", "name") if (value := named.get(name))}
        if tag == "a" and (link := named.get("href")):
            self.links.append(link)
        loaded = {"script": "src", "img": "src", "link": "href", "iframe": "src"}.get(tag)
        if loaded and (place := named.get(loaded)) and named.get("rel") != "canonical":
            self.loaded.append(place)


def navigation() -> set[str]:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    return set(re.findall(r"[\w/-]+\.md", yaml.safe_dump(nav)))


def test_each_page_is_in_the_navigation():
    written = {page.removeprefix("docs/") for page in pages() if page not in NOT_PAGES}
    assert written <= navigation()
    assert navigation() <= written | set(PROJECT_PAGES.values())


def test_each_part_of_the_reference_has_a_page():
    text = "".join((ROOT / page).read_text() for page in pages() if page.startswith("docs/reference/"))
    assert set(re.findall(r"<!-- reference: (\w+) -->", text)) == set(PAGES)


@pytest.mark.slow
def test_it_is_built_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environ = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ, timeout=200)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    parsed = {file: Links(file.read_text()) for file in tmp_path.rglob("*.html")}
    assert len(parsed) > 35
    dead = [
        f"{file.relative_to(tmp_path)}: {link}"
        for file in parsed
        for link in parsed[file].links
        if not leads(file, link, parsed)
    ]
    assert dead == []
    outside = {place for one in parsed.values() for place in one.loaded if urlsplit(place).netloc}
    assert outside == set()
    for word in ("grace", "--run-key", "commit_unknown", "plan_tiering"):  # of each part of the reference, one
        assert any(word in file.read_text() for file in (tmp_path / "reference").rglob("*.html")), word


def leads(file: Path, link: str, parsed: dict[Path, Links]) -> bool:
    """Whether a link of a page leads to a place in the site; what is outside is not asked."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    path = unquote(parts.path)
    target = file if not path else (file.parent / path).resolve()
    if path.startswith("/"):
        return file.name == "404.html"
    if target.is_dir():
        target /= "index.html"
    if target not in parsed:
        return target.exists()
    return not parts.fragment or unquote(parts.fragment) in parsed[target].places
