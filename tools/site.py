"""Hooks of MkDocs: what the site has beyond `docs/`, made when it is built and committed nowhere.

The reference (tools/reference.py) takes the place of `<!-- reference: NAME -->`. The project's own pages and the
notebooks become pages. Files of the repository that a page links to are copied, so that no link needs another host.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import nbformat
from mkdocs.structure.files import File

from tools.reference import PAGES

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PROJECT_PAGES = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarking.md",
}
"""Path in the repository to path in the site."""

PLACEHOLDER = re.compile(r"<!-- reference: (\w+) -->")
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|data:|#)([^)\s]+)(?=\))")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def notebooks() -> dict[str, str]:
    """Path in the repository to path in the site."""
    return {f"notebooks/{one.name}": f"notebooks/{one.stem}.md" for one in sorted(ROOT.glob("notebooks/*.ipynb"))}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put into the navigation what is made here."""
    for section in config.nav or ():
        for title, entries in section.items():
            if title == "Notebooks":
                entries += list(notebooks().values())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's pages, the notebooks, and the files that pages link to."""
    for name, place in PROJECT_PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    for name, place in notebooks().items():
        files.append(File.generated(config, place, content=notebook_page(ROOT / name)))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            path = repository_path(link, page.src_uri)
            if is_copied(path) and (copy := f"source/{path}") not in files.src_uris:
                files.append(File.generated(config, copy, content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs'
    """Put the reference in its place, and point links into the site."""
    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(lambda link: site_link(link[0], page.file.src_uri), part) for part in parts[::2]]
    return PLACEHOLDER.sub(lambda place: PAGES[place[1]](), "".join(parts))


def repository_path(link: str, page: str) -> str:
    """The file that a link on a page means, from the repository's root."""
    origins = {place: name for name, place in {**PROJECT_PAGES, **notebooks()}.items()}
    origin = origins.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), urlsplit(link).path))


def is_copied(path: str) -> bool:
    """Whether a file of the repository is no page and nothing that a page shows."""
    is_page = path in PROJECT_PAGES or path in notebooks() or path.startswith("docs/")
    return not is_page and not path.startswith("../") and (ROOT / path).is_file()


def site_link(link: str, page: str) -> str:
    """A link, as it leads from a page of the site."""
    path, fragment = repository_path(link, page), urlsplit(link).fragment
    if (ROOT / path).is_dir() and (ROOT / path / "README.md").exists():
        path = f"{path}/README.md"
    places = {**PROJECT_PAGES, **notebooks()}
    if path in places:
        place = places[path]
    elif path.startswith("docs/"):
        place = path.removeprefix("docs/")
    elif (ROOT / path).is_dir():
        place = "project/contributing.md"
    else:
        place = f"source/{path}"
    return os.path.relpath(place, posixpath.dirname(page) or ".") + (f"#{fragment}" if fragment else "")


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its cells, and what they put out."""
    parts = []
    for one in nbformat.read(path, as_version=4).cells:
        if one.cell_type == "markdown":
            parts.append(one.source)
            continue
        parts.append(f"```python\n{one.source}\n```")
        parts += [text for output in one.outputs if (text := output_text(output))]
    return "\n\n".join(parts)


def output_text(output: Any) -> str:
    """What a cell put out, the richest form first that Markdown can hold."""
    data = output.get("data", {})
    if png := data.get("image/png"):
        return f"![](data:image/png;base64,{''.join(png.split())})"
    if html := data.get("text/html"):
        return re.sub(r"\n\s*\n", "\n", re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL))
    text = data.get("text/plain", output.get("text", ""))
    return f"```text\n{text.rstrip()}\n```" if text else ""
