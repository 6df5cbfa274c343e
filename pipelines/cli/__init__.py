"""The `tierlake` command line: one verb family a file.

    ingest.py       init, create, ingest           adopt.py        adopt
    inspect.py      ls, show, explain, history     rejects.py      rejects
    lifecycle.py    plan, diff, apply, tier, expire
    partition.py    undo, hold, release, retain, restore
    maintenance.py  verify, vacuum, drop, undrop   rewrite.py      compact, erase
    presign.py      presign                        bucket.py       bucket
    uploads.py      uploads                        iam_policy.py   iam-policy
    doctor.py       doctor                         server.py       server
    stats.py        stats                          commands.py     families, lines and examples for --help

Exit codes: 0 done, 1 failed, 2 usage, 3 done in part (each failure listed), 4 refused by a policy.

Another distribution, or another package of ours, adds a command by an entry point whose name is the command's:

    [project.entry-points."tierlake.commands"]
    demo = "tierlake.dagster_project.demo.command:demo"        # a click.Command
"""

from __future__ import annotations

from tierlake.pipelines.cli.app import main

__all__ = ["main"]
