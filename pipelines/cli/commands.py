"""The commands in the order of a dataset's life: families, a line each, and examples that work.

`tierlake --help` is written from this table alone: it imports no command. A test holds each line to the first sentence
of its command's docstring, and parses every example.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["COMMANDS", "EXAMPLES", "FAMILIES", "OTHERS", "PLUGIN_LINES", "Family"]

_FLIGHTS: Final = "lake://warehouse/flights"


class Family(NamedTuple):
    """Commands of one kind.

    Attributes:
        title: The heading.
        example: One command of the family, as it is typed.
        commands: Name, module and line of each; the module of what an entry point adds is empty.
    """

    title: str
    example: str
    commands: tuple[tuple[str, str, str], ...]


FAMILIES: Final = (
    Family(
        "Start",
        f"tierlake ingest {_FLIGHTS} flights.csv",
        (
            ("demo", "", "Tell the life of a dataset on a real S3 server"),
            ("server", "server", "Run a real S3 server on this machine until Ctrl-C"),
            ("init", "ingest", "Describe the dataset that the rows of a file would make"),
            ("create", "ingest", "Create the dataset that a YAML file describes"),
            ("survey", "survey", "Show what a bucket holds, what it costs, and what could be saved"),
            ("adopt", "adopt", "Make Parquet or a Delta table of others a dataset, where it lies"),
            ("ingest", "ingest", "Read files into the partitions of a dataset, as one commit"),
            ("rejects", "rejects", "List the rows that could not be taken, or take them again"),
        ),
    ),
    Family(
        "Look",
        f"tierlake ls {_FLIGHTS}",
        (
            ("ls", "inspect", "List the partitions: rows, files, size, class, tier, age, cost"),
            ("show", "inspect", "Show a dataset's description, columns and totals"),
            ("explain", "inspect", "Say why a partition is where it is, and what happens next"),
            ("history", "inspect", "Say what happened to a dataset: when, why, and by whom"),
            ("stats", "stats", "Show figures: bytes by tier, what is due, requests and times"),
        ),
    ),
    Family(
        "Policy",
        f"tierlake tier {_FLIGHTS} --dry-run",
        (
            ("plan", "lifecycle", "Say what a policy would move or expire, and what that saves"),
            ("diff", "lifecycle", "Say how a description differs from the stored one"),
            ("apply", "lifecycle", "Do what a saved plan says, or store a changed description"),
            ("tier", "lifecycle", "Move partitions to the tiers where they belong"),
            ("expire", "lifecycle", "Take partitions that are past retention out of the table"),
        ),
    ),
    Family(
        "Partitions",
        f"tierlake hold {_FLIGHTS} date=2013-07-04 --reason audit",
        (
            ("undo", "partition", "Bring back what was expired or replaced"),
            ("hold", "partition", "Forbid that a partition expires or is deleted"),
            ("release", "partition", "End a hold"),
            ("retain", "partition", "Keep a partition longer than the policy says"),
            ("restore", "partition", "Make a partition in an archived class readable"),
        ),
    ),
    Family(
        "Maintenance",
        f"tierlake compact {_FLIGHTS}",
        (
            ("verify", "maintenance", "Check that all that is committed is there, and as it should be"),
            ("vacuum", "maintenance", "Delete the files that no commit names"),
            ("compact", "rewrite", "Put small files together"),
            ("erase", "rewrite", "Delete the rows that match, for good (requests to be forgotten)"),
            ("drop", "maintenance", "Take a whole dataset away"),
            ("undrop", "maintenance", "Take a dropped dataset back"),
        ),
    ),
    Family(
        "Bucket and server",
        "tierlake bucket apply warehouse",
        (
            ("bucket", "bucket", "A bucket as it should be: encrypted, closed, owned, cleaned up"),
            ("uploads", "uploads", "Multipart uploads that were begun and not completed"),
            ("presign", "presign", "Print a URL that lets anybody read or write one object"),
            ("iam-policy", "iam_policy", "Print the least privilege that a role needs"),
            ("doctor", "doctor", "Try what the server can do, and compare it with its profile"),
        ),
    ),
)

COMMANDS: Final = {name: module for family in FAMILIES for name, module, _ in family.commands if module}
"""Command to module."""

PLUGIN_LINES: Final = {name: line for family in FAMILIES for name, module, line in family.commands if not module}
"""Command to its line in `tierlake --help`, of those that another package of ours adds, where it is installed."""

OTHERS: Final = "Of other packages"

EXAMPLES: Final = {
    "server": ("tierlake server --data ./lake", "tierlake server --data ./lake --port 9000 --kind minio"),
    "init": ("tierlake init flights.csv", f"tierlake init flights.csv --uri {_FLIGHTS} --out flights.yaml"),
    "create": ("tierlake create flights.yaml --dry-run", "tierlake create flights.yaml"),
    "adopt": (
        "tierlake adopt lake://warehouse/old-flights --dry-run",
        "tierlake adopt lake://warehouse/old-flights --spec policy.yaml --yes",
    ),
    "survey": ("tierlake survey s3://warehouse", "tierlake survey s3://warehouse/raw --out-dir specs"),
    "ingest": (
        f"tierlake ingest {_FLIGHTS} flights.csv --dry-run",
        f"tierlake ingest {_FLIGHTS} 2013-07.csv.gz 2013-08.parquet --append",
    ),
    "rejects": (
        f"tierlake rejects {_FLIGHTS} --show",
        f"tierlake rejects retry {_FLIGHTS}/_lake/rejects/a.parquet --mended mended.csv",
    ),
    "ls": (f"tierlake ls {_FLIGHTS}", f"tierlake ls {_FLIGHTS} date=2013-07-01..2013-07-31 --json"),
    "show": (f"tierlake show {_FLIGHTS}",),
    "explain": (f"tierlake explain {_FLIGHTS}", f"tierlake explain {_FLIGHTS} date=2013-07-04 --as-of 2014-01-01"),
    "history": (f"tierlake history {_FLIGHTS} --limit 10",),
    "stats": (f"tierlake stats {_FLIGHTS}", "tierlake stats http://127.0.0.1:9464"),
    "plan": (
        f"tierlake plan tiering {_FLIGHTS}",
        f"tierlake plan expiry {_FLIGHTS} --as-of 2014-01-01 --out plan.json",
    ),
    "diff": ("tierlake diff flights.yaml",),
    "apply": ("tierlake apply plan.json --dry-run", "tierlake apply flights.yaml --reason 'keep a year' --yes"),
    "tier": (f"tierlake tier {_FLIGHTS} --dry-run", f"tierlake tier {_FLIGHTS} --yes"),
    "expire": (f"tierlake expire {_FLIGHTS} --dry-run", f"tierlake expire {_FLIGHTS} --yes"),
    "undo": (f"tierlake undo {_FLIGHTS} 'date=2013-07*'", f"tierlake undo {_FLIGHTS} --run nightly-2013-07-05"),
    "hold": (f"tierlake hold {_FLIGHTS} date=2013-07-04 --reason 'case 7'",),
    "release": (f"tierlake release {_FLIGHTS} date=2013-07-04",),
    "retain": (f"tierlake retain {_FLIGHTS} date=2013-07-04 --until 2015-01-01",),
    "restore": (f"tierlake restore {_FLIGHTS} date=2013-07-04 --days 3 --speed standard",),
    "verify": (f"tierlake verify {_FLIGHTS}", f"tierlake verify {_FLIGHTS} --repair"),
    "vacuum": (f"tierlake vacuum {_FLIGHTS} --dry-run", f"tierlake vacuum {_FLIGHTS} --yes"),
    "compact": (f"tierlake compact {_FLIGHTS} --dry-run", f"tierlake compact {_FLIGHTS} date=2013-07-04 --level 9"),
    "erase": (
        f"tierlake erase {_FLIGHTS} --where tailnum=N14228 --dry-run",
        f"tierlake erase {_FLIGHTS} --where tailnum=N14228 --where origin=JFK --yes",
    ),
    "drop": (f"tierlake drop {_FLIGHTS} --dry-run", f"tierlake drop {_FLIGHTS} --reason 'moved to the new lake'"),
    "undrop": (f"tierlake undrop {_FLIGHTS}",),
    "bucket": ("tierlake bucket plan warehouse", "tierlake bucket apply warehouse"),
    "bucket plan": ("tierlake bucket plan warehouse", "tierlake bucket plan bucket.yaml --json"),
    "bucket apply": ("tierlake bucket apply warehouse", "tierlake bucket apply bucket.yaml --yes"),
    "uploads": ("tierlake uploads abort warehouse --dry-run",),
    "uploads abort": ("tierlake uploads abort warehouse/flights --older-than 7d --yes",),
    "presign": (
        f"tierlake presign {_FLIGHTS}/a.parquet --expires 3600",
        "tierlake presign lake://warehouse/inbox/a.csv --method POST --max-size 10MB",
    ),
    "iam-policy": (
        "tierlake iam-policy --role reader --bucket warehouse",
        "tierlake iam-policy --role writer --bucket warehouse --prefix flights",
    ),
    "doctor": ("tierlake doctor", "tierlake doctor --bucket warehouse --profile minio"),
}
"""Command to examples of it, at the end of its own help."""
