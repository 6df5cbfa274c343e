"""The notebooks run from nothing, and their committed outputs are what they say."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VARYING = re.compile(r"\d+(\.\d+)? (B|KB|MB)\b|<?\$[\d.]+|\s+")
"""Sizes and prices change a little with the version of pyarrow, and columns move with them."""


def outputs(notebook):
    """Each cell's text as a person sees it, without what varies."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[VARYING.sub(" ", text_of(output)) for output in cell.outputs] for cell in cells]


def text_of(output):
    assert output.output_type != "error", output
    assert output.get("name") != "stderr", output.text
    return output.text if output.output_type == "stream" else output.data["text/plain"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_committed(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    committed = outputs(notebook)
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert outputs(notebook) == committed
    assert any(output for output in committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_tell_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    shown = "\n".join(text_of(output) for cell in notebook.cells for output in cell.get("outputs", []))
    for traitor in ("127.0.0.1", "localhost", "/tmp", str(Path.home()), "ipykernel", "SECRET"):  # noqa: S108 - looked for
        assert traitor not in shown
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
