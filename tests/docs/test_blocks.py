"""Each block of README and docs runs as it stands, and puts out what is below it.

`WRITE_DOCS=1 pytest tests/docs/test_blocks.py` writes the outputs of now into the pages.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml

from tests.docs import not_run
from tests.docs.pages import all_blocks, blocks, file_of, pages, text_of
from tests.docs.session import Session, rewritten, shown_in
from tierlake import LakeDataset, LakeResource
from tierlake.connector.bucket.spec import BucketSpec
from tierlake.pipelines.cli.app import cli
from tierlake.pipelines.model.spec import DatasetSpec

TUTORIAL = "docs/tutorial/your-own-csv.md"
PART = {"uri": "lake://warehouse/part", "partition": {"time": {}}}
"""What a part of a description is completed with."""
SLOW = {"observe", "buckets", "from-dagster-aws", "from-dagster-deltalake", "servers"}
"""Pages of many processes, or of Dagster's runs."""
RUN = [
    pytest.param(page, marks=pytest.mark.slow) if Path(page).stem in SLOW else page
    for page in pages()
    if {"console", "python"} & {block.language for block in blocks(page)}
]


@pytest.fixture
def reader(seaweedfs, tmp_path, monkeypatch):
    """At a terminal in an empty folder, with the embedded server's variables and no bucket named warehouse."""
    for name, value in seaweedfs.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    seaweedfs.drop_bucket("warehouse")
    yield Session(tmp_path)
    seaweedfs.drop_bucket("warehouse")


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")  # Dagster itself calls it
@pytest.mark.parametrize("page", RUN)
def test_a_page_runs_from_top_to_bottom(page, reader):
    if page.startswith("docs/how-to/"):
        after_the_tutorial(reader)
    elif page not in {"README.md", TUTORIAL}:
        reader.typed("tierlake bucket apply warehouse --yes")
    reader.go_through(blocks(page))
    if os.environ.get("WRITE_DOCS"):
        file_of(page).write_text(rewritten(text_of(page), reader), encoding="utf-8")
    assert reader.faults == [], "\n\n".join(reader.faults)


def after_the_tutorial(reader):
    """What the how-to guides begin with: the tutorial's files, its bucket and its dataset with all rows."""
    for block in blocks(TUTORIAL):
        if block.title:
            (reader.folder / block.title).write_text(block.text)
    with (reader.folder / "trips.yaml").open("a") as file:
        file.write("rejects: {max_ratio: 0.3}\n")
    for command in ("bucket apply warehouse --yes", "create trips.yaml", "ingest trips.yaml trips.csv mended.csv"):
        code, output = reader.typed(f"tierlake {command}")
        assert code == 0, output


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_its_yaml_is_what_it_looks_like(block):
    document = yaml.safe_load(block.text)
    if block.page in not_run.YAML:
        return
    if "type" in document:
        assert document["type"] == "tierlake.LakeDataset"
        given = {name: value for name, value in document["attributes"].items() if name != "source"}
        lake = dg.Definitions(resources={"lake": LakeResource()})
        assert dg.Definitions.merge(LakeDataset(**given).definitions(), lake).resolve_asset_graph()
    elif "ops" in document:  # a run's configuration: tests/dagster_project gives such to the jobs
        assert all(set(op) == {"config"} for op in document["ops"].values())
    elif "bucket" in document:
        BucketSpec.from_yaml(block.text)
    else:
        DatasetSpec.from_yaml(yaml.safe_dump(PART | document))


@pytest.mark.parametrize("block", all_blocks("console"), ids=str)
def test_a_command_that_is_not_run_is_one(block):
    for shown in shown_in(block):
        if not_run.reason(shown.command) is None:
            continue
        subprocess.run(["bash", "-n", "-c", shown.command], check=True)
        words = shlex.split(shown.command, comments=True)
        if "tierlake" in words[:2]:
            parsed(cli, words[words.index("tierlake") + 1 :])


def parsed(command: click.Command, arguments: list[str]) -> None:
    """Let click look at a command's arguments, without running it."""
    context = command.make_context(command.name, list(arguments), resilient_parsing=False)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None, name
        parsed(inner, rest)


def test_each_reason_not_to_run_is_needed():
    commands = [shown.command for block in all_blocks("console") for shown in shown_in(block)]
    for page in (*not_run.PYTHON, *not_run.YAML):
        assert blocks(page), page
    used = {why for command in commands if (why := not_run.reason(command)) is not None}
    assert used
