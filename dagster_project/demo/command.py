"""`tierlake demo`: the life of a dataset on a real S3 server, shown as it happens.

This process sets the stage (`stage.py`: servers, a bucket, a folder) and clears it away; a child runs the story on it
(`story.py`). Dagster keeps Ctrl-C to itself while it runs something, but a child can always be ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from tierlake.dagster_project.demo.narrator import Narrator

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
    from tierlake.dagster_project.demo.narrator import Narrator

    stream = sys.stderr if as_json else sys.stdout
    echo = partial(click.echo, file=stream)
    if child_of is not None:
        with Narrator(stream) as narrator:
            _tell(child_of, narrator)
        return 0
    with ExitStack() as stack:
        with Narrator(stream) as narrator, narrator.during(f"starting {server}"):
            from tierlake.dagster_project.demo import stage

            stage.check_extras()
            folder = stack.enter_context(stage.kept_folder(KEPT / server) if keep or ui else stage.temporary_folder())
            done = folder / stage.DONE
            is_told = done.exists()
            if ui or not is_told:
                stack.enter_context(stage.staged(server, folder))
        if is_told and not ui:
            echo(f"The story has been told here: delete {folder} to hear it again.")
        code = 0 if is_told else stage.run_story_in_child(folder, as_json=as_json)
        if code:
            return code
        if ui:
            stage.serve_ui(folder, port, echo)
        if as_json:
            click.echo(done.read_text(encoding="utf-8"))
        with Narrator(stream) as narrator, narrator.during(f"stopping {server}"):
            stack.close()
    echo(_farewell(server, folder if keep or ui else None))
    return 0


def _tell(folder: Path, narrator: Narrator) -> None:
    """The child's part: the story, money first, as that needs nothing that takes long to load."""
    from tierlake.dagster_project.demo.bill import bill_of
    from tierlake.dagster_project.demo.referee import Referee, source_folder
    from tierlake.dagster_project.demo.stage import DONE, TODAY

    referee = Referee(source_folder())
    bill = bill_of(referee.flights_a_day(), TODAY)
    narrator.chapter(bill.title)
    narrator.say(bill.table())
    narrator.prose(bill.prose())
    with narrator.during("loading Dagster"):
        from tierlake.dagster_project.demo.story import run_story
    facts = {"bill": bill.facts(), **run_story(folder, referee, narrator)}
    (folder / DONE).write_text(json.dumps(facts), encoding="utf-8")


def _farewell(server: str, kept: Path | None) -> str:
    """What is left, and what to type next."""
    is_at_hand = shutil.which("tierlake") is not None or Path(sys.argv[0]).name != "tierlake"
    program = "tierlake" if is_at_hand else os.path.relpath(sys.argv[0])
    option = "" if server == "seaweedfs" else f" --server {server}"
    commands = {
        f"demo --ui{option}": "the same, kept, in Dagster's UI",
        "survey s3://bucket": "what a bucket of yours holds and costs, and what could be saved; it only reads",
        "init sample.csv": "a first description of your own data, to be edited",
    }
    left = "Everything is gone again." if kept is None else f"The data are kept in {kept}."
    width = max(map(len, commands))
    lines = (f"  {program} {command:{width}}  {meaning}" for command, meaning in commands.items())
    return "\n".join((f"{left} Try next:", *lines))
