"""`tierlake demo`: the life of a dataset on a real S3 server, shown as it happens.

This process sets the stage (`stage.py`: servers, a bucket, a folder) and clears it away; a child runs the story on it
(`story.py`). Dagster keeps Ctrl-C to itself while it runs something, but a child can always be ended.
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
@click.option("--stage", "child_of", type=click.Path(path_type=Path), hidden=True, help="The child's part, on a stage.")
def demo(server: str, *, keep: bool, ui: bool, port: int, as_json: bool, child_of: Path | None) -> int:
    """Tell the life of a dataset on a real S3 server.

    It is ingested, priced, tiered, expired, undone, and read with pandas: a year of flights from New York, on a server
    started for it, as if today were 2014-01-01.
    """
    from tierlake.dagster_project.demo import stage

    echo = partial(click.echo, err=as_json)
    if child_of is not None:
        from tierlake.dagster_project.demo.story import run_story

        facts = run_story(child_of, echo)
        (child_of / stage.DONE).write_text(json.dumps(facts), encoding="utf-8")
        return 0
    stage.check_extras()
    with stage.kept_folder(KEPT / server) if keep or ui else stage.temporary_folder() as folder:
        done = folder / stage.DONE
        if ui or not done.exists():
            with stage.staged(server, folder):
                code = 0 if done.exists() else stage.run_story_in_child(folder, as_json=as_json)
                if code:
                    return code
                if ui:
                    stage.serve_ui(folder, port, echo)
        if as_json:
            click.echo(done.read_text(encoding="utf-8"))
    option = "" if server == "seaweedfs" else f" SERVER={server}"
    if keep or ui:
        echo(f"The data is kept in {folder}. The Dagster UI on it: make ui{option}")
    else:
        echo(f"Everything is gone again. To look around in the UI: make demo KEEP=1{option}, then make ui{option}")
    return 0
