"""`tierlake demo`: the life of a dataset on a real S3 server, told as it happens.

The command alone, so that `tierlake --help` stays quick: `stage` starts the servers, `story` tells.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Final

import click

__all__ = ["demo"]

KEPT: Final = Path(".demo")


@click.command()
@click.option("--server", type=click.Choice(["seaweedfs", "minio"]), default="seaweedfs", show_default=True)
@click.option("--keep", is_flag=True, help=f"Keep the data, in ./{KEPT}.")
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the kept data; make it first where there is none.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="The UI's port.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; the story goes to stderr.")
def demo(server: str, *, keep: bool, ui: bool, port: int, as_json: bool) -> None:
    """Tell the life of a dataset on a real S3 server: ingested, priced, tiered, expired, undone, read with pandas.

    A year of flights from New York, on a server started for it, as if today were 2014-01-01.
    """
    from dagster_project import stage as stages
    from dagster_project.story import Story

    say = partial(click.echo, err=as_json)
    stays = keep or ui
    facts: dict[str, object] = {"server": server}
    with stages.kept_folder(KEPT / server) if stays else stages.temporary_folder() as folder:
        is_told = (folder / stages.DONE).exists()
        if not is_told or ui:
            with stages.staged(server, folder) as stage:
                if not is_told:
                    story = Story(stage, say)
                    story.tell()
                    facts |= story.facts
                    (folder / stages.DONE).touch()
                if ui:
                    stages.serve_ui(stage, port, say)
    option = "" if server == "seaweedfs" else f" SERVER={server}"
    if stays:
        facts["folder"] = str(folder)
        say(f"The data is kept in {folder}. The Dagster UI on it: make ui{option}")
    else:
        say(f"Everything is gone again. To look around in the UI: make demo KEEP=1{option}, then make ui{option}")
    if as_json:
        click.echo(json.dumps(facts, indent=2))
