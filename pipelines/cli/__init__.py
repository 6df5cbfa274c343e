"""The `tierlake` command line: one verb family a file.

    build.py    create, ingest
    look.py     ls, show, explain, history
    policy.py   plan, apply, tier, expire
    keep.py     undo, hold, release, retain
    care.py     verify, vacuum
    access.py   presign
    serve.py    server

Exit codes: 0 done, 1 failed, 2 usage, 3 done in part (each failure listed), 4 refused by a policy.

Another distribution, or another package of ours, adds a command by an entry point whose name is the command's:

    [project.entry-points."tierlake.commands"]
    demo = "tierlake.dagster_project.demo.command:demo"        # a click.Command
"""

from __future__ import annotations

from tierlake.pipelines.cli.app import main

__all__ = ["main"]
