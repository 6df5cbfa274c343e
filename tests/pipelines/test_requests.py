"""The requests of each verb, written down. What is there twice is named in `TWICE`, with the reason.

A verb that asks less makes a line go: change it here. One that asks more has to say why.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.ledger import Ledger, recording
from tests.pipelines.samples import Offset, daily_spec, rows
from tierlake.pipelines import Dataset
from tierlake.pipelines.costs.model import REQUESTS_OF_A_MOVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DAYS = tuple(f"2013-01-0{day}" for day in range(1, 6))
PART = "date=2013-01-03"
ROOT = "daily"
DUE = "2013-03-01"
"""On this day all of them are warm."""

DELTA = {
    "create": """
        1 GET _lake/dataset.json
        1 HEAD /
        1 LIST ., 2 times each
        1 LIST /_delta_log/ one, 2 times each
        1 LIST /_lake/dataset.json one, 2 times each
        1 PUT _delta_log/*.json
        1 PUT _lake/dataset.json
    """,
    "open": """
        1 GET _lake/dataset.json
        1 HEAD /
        1 LIST _delta_log/
    """,
    "read_parquet": """
        3 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        2 GET date=*/*.parquet range
        1 LIST /_delta_log/ one
        1 LIST _delta_log/ after a version
        1 LIST _delta_log/ one
    """,
    "read_parquet of a folder": """
        3 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        1 GET date=*/*.parquet range, 2 times each
        1 LIST /_delta_log/ one
        1 LIST _delta_log/ after a version
        1 LIST _delta_log/ one
    """,
    "Dataset.read": """
        3 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        1 GET date=*/*.parquet
        1 LIST _delta_log/ after a version
    """,
    "ingest": """
        4 GET _delta_log/*.json, 2 or 4 times each
        1 GET _delta_log/_last_checkpoint
        1 GET _lake/dataset.json, 2 times each
        1 HEAD /, 2 times each
        1 HEAD _delta_log/*.json
        1 HEAD _lake/journal
        3 LIST _delta_log/ after a version
        1 LIST _lake/journal/
        1 PUT _delta_log/*.json
        2 PUT _lake/journal/removal-*.json
        5 PUT date=*/*.parquet
    """,
    "plan tiering": """
        4 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        1 GET _lake/dataset.json
        1 LIST .
        1 LIST _delta_log/ after a version
    """,
    "figures": """
        4 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        1 GET _lake/dataset.json
        1 HEAD /
        1 HEAD _delta_log/_last_checkpoint
        1 LIST .
        1 LIST _delta_log/ after a version
    """,
    "tiering": """
        5 COPY date=*/*.parquet
        1 GET /?versioning
        4 GET _delta_log/*.json, 2 times each
        1 GET _delta_log/_last_checkpoint
        1 GET _lake/dataset.json
        1 HEAD /
        5 HEAD date=*/*.parquet, 2 times each
        1 LIST .
        1 LIST _delta_log/ after a version
        1 LIST _lake/journal/
        1 PUT _lake/journal/tiering-*.json
    """,
}

VERSIONS = """
    5 COPY date=*/*.parquet
    5 DELETE /keys
    1 GET /?versioning
    3 GET _delta_log/*.json, 2 times each
    1 GET _delta_log/_last_checkpoint
    1 GET _lake/dataset.json
    5 GET date=*/*.parquet?tagging
    1 HEAD /
    1 HEAD _lake/journal
    5 HEAD date=*/*.parquet, 2 times each
    1 LIST .
    1 LIST _delta_log/ after a version
    1 LIST _lake/journal/
    5 LIST versions date=*/*.parquet, 2 times each
    1 PUT _lake/journal/tiering-*.json
    5 PUT date=*/*.parquet?tagging
"""
"""The tiering of a Delta table on a bucket that keeps versions."""

EXPIRY = """
    6 GET _delta_log/*.checkpoint.parquet range, 1 or 5 times each
    2 GET _delta_log/*.json, 2 or 3 times each
    1 GET _delta_log/_last_checkpoint
    1 GET _lake/dataset.json, 3 times each
    1 HEAD /
    1 HEAD _delta_log/*.json
    1 HEAD _lake/journal
    2 LIST _delta_log/ after a version, 1 or 2 times each
    1 LIST _lake/journal/
    1 PUT _delta_log/*.json
    2 PUT _lake/journal/removal-*.json
"""
"""The expiry of one partition, one commit after a checkpoint.

The log is opened once: five scans of the checkpoint by deltalake, of which each reads the footer again.
"""

PLAIN = {
    "create": """
        1 GET _lake/dataset.json
        1 HEAD /
        1 LIST ., 2 times each
        1 LIST /_delta_log/ one, 2 times each
        1 LIST /_lake/dataset.json one, 2 times each
        1 PUT _lake/dataset.json
    """,
    "open": """
        1 GET _lake/dataset.json
        1 HEAD /
    """,
    "read_parquet": """
        1 GET _lake/dataset.json
        2 GET date=*/*.parquet range
        1 HEAD .
        1 HEAD _common_metadata
        1 HEAD _metadata
        1 LIST .
        1 LIST . one names
        1 LIST /_delta_log/ one
        1 LIST _delta_log/ one
    """,
    "read_parquet of a folder": """
        1 GET _lake/dataset.json
        1 GET date=*/*.parquet range, 2 times each
        1 HEAD date=*
        1 HEAD date=*/_common_metadata
        1 HEAD date=*/_metadata
        1 LIST /_delta_log/ one
        1 LIST _delta_log/ one
        1 LIST date=*/
        1 LIST date=*/ one names
    """,
    "Dataset.read": """
        1 GET _lake/schema.json
        1 GET date=*/*.parquet
        1 LIST .
    """,
    "ingest": """
        1 GET /?versioning
        1 GET _lake/dataset.json, 3 times each
        1 GET _lake/schema.json, 2 times each
        5 GET date=*/*.parquet range
        1 HEAD /, 3 times each
        1 HEAD _lake/journal
        1 LIST .
        1 LIST _delta_log/
        1 LIST _lake/journal/
        2 PUT _lake/journal/removal-*.json
        1 PUT _lake/runs/*.json
        5 PUT date=*/*.parquet
    """,
    "plan tiering": """
        1 GET _lake/dataset.json
        1 GET _lake/schema.json
        1 LIST .
    """,
    "figures": """
        1 GET _lake/dataset.json
        1 GET _lake/schema.json
        1 LIST .
    """,
    "tiering": """
        1 GET /?versioning
        1 GET _lake/changes.json
        1 GET _lake/dataset.json
        1 GET _lake/schema.json
        5 GET date=*/*.parquet
        5 GET date=*/*.parquet?tagging
        1 HEAD /
        5 HEAD date=*/*.parquet, 2 times each
        1 LIST .
        1 LIST _lake/journal/
        1 PUT _lake/changes.json
        1 PUT _lake/journal/tiering-*.json
        5 PUT date=*/*.parquet
    """,
}

TWICE = {
    "GET _delta_log/*.json": "deltalake replays the log for the protocol, for the files, and for each run asked about",
    "GET _delta_log/*.checkpoint.parquet range": "likewise, and reads the footer each time",
    "GET _lake/dataset.json": "holds and drops are looked at again just before a commit",
    "GET _lake/schema.json": "the schema is kept by compare and swap",
    "GET date=*/*.parquet range": "pyarrow opens the file for its schema, and again for its rows",
    "HEAD .": "the server's time, when the act is written down and when it is committed",
    "HEAD /": "the server's time, when the act is written down and when it is committed",
    "HEAD date=*/*.parquet": "what the object has before the copy, and that the copy has it",
    "LIST .": "before the description of a new dataset is there, and after",
    "LIST /_delta_log/ one": "whether there is a table above, likewise",
    "LIST /_lake/dataset.json one": "likewise",
    "LIST _delta_log/ after a version": "deltalake looks for newer commits before its own and after it",
    "LIST versions date=*/*.parquet": "whether another version came between the look and the copy",
}


@pytest.fixture(scope="session")
def server(seaweedfs):
    return seaweedfs


@pytest.fixture(scope="module")
def ledger(server, tmp_path_factory):
    with recording(server.endpoint_url, tmp_path_factory.mktemp("ledger")) as ledger:
        yield ledger


@pytest.fixture
def new_fs(server, ledger):
    options = {**server.storage_options, "endpoint_url": ledger.url}
    return lambda **more: fsspec.filesystem("lake", skip_instance_cache=True, **{**options, **more})


def written_down(bucket: str, new_fs: Any, ledger: Ledger, table_format: str) -> dict[str, list[str]]:
    """What each verb asks, of whoever has just come."""
    pages: dict[str, list[str]] = {}

    def write(name: str, verb: Callable[[], Any]) -> Any:
        ledger.turn_page()
        result = verb()
        pages[name] = ledger.page(bucket)
        return result

    path, where = f"{bucket}/{ROOT}", [("date", "==", "2013-01-03")]
    spec = daily_spec(bucket, format=table_format)
    fs = new_fs()
    write("create", lambda: Dataset.create(spec, fs=fs, clock=Offset(fs, bucket))).ingest(rows(DAYS))
    write("read_parquet", lambda: pd.read_parquet(path, filesystem=new_fs(), filters=where))
    write("read_parquet of a folder", lambda: pd.read_parquet(f"{path}/{PART}", filesystem=new_fs()))
    dataset = write("open", lambda: Dataset.open(spec.uri, fs=new_fs()))
    write("Dataset.read", lambda: dataset.read(where=where))
    write("ingest", lambda: dataset.ingest(rows(DAYS)))
    plan = write("plan tiering", lambda: dataset.plan_tiering(DUE))
    write("figures", lambda: dataset.figures(DUE))
    assert len(write("tiering", plan.apply).done) == len(DAYS)
    return pages


def of_files(page: Iterable[str]) -> dict[str, int]:
    """How often each kind of request is made for each of the five files."""
    counts: Counter[str] = Counter()
    for line in page:
        number, kind, times = re.fullmatch(r"(\d+) (.+?)(?:, (\d+) times each)?", line).groups()
        operation, is_of_file = re.subn(r" date=\*/\*\.parquet", "", kind.replace("?", " ").replace(" /keys", ""))
        if is_of_file or operation == "DELETE":
            counts[operation] += int(number) * int(times or 1) // len(DAYS)
    return dict(counts)


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_the_requests_of_each_verb(bucket, new_fs, ledger, table_format) -> None:
    expected = {"delta": DELTA, "parquet": PLAIN}[table_format]
    for name, page in written_down(bucket, new_fs, ledger, table_format).items():
        assert page == [line.strip() for line in expected[name].strip().splitlines()], name
        if (name, table_format) == ("tiering", "delta"):
            assert of_files(page) == REQUESTS_OF_A_MOVE["copy"]


def test_the_requests_of_a_tiering_of_versions(make_bucket, new_fs, ledger) -> None:
    bucket, fs = make_bucket(versioned=True), new_fs()
    dataset = Dataset.create(daily_spec(bucket), fs=fs, clock=Offset(fs, bucket))
    dataset.ingest(rows(DAYS))
    plan = dataset.plan_tiering(DUE)
    ledger.turn_page()
    plan.apply()
    page = ledger.page(bucket)
    assert page == [line.strip() for line in VERSIONS.strip().splitlines()]
    assert of_files(page) == REQUESTS_OF_A_MOVE["copy of a version"]


def test_the_requests_of_an_expiry_after_a_checkpoint(bucket, new_fs, ledger) -> None:
    fs = new_fs()
    dataset = Dataset.create(daily_spec(bucket), fs=fs, clock=Offset(fs, bucket))
    dataset.ingest(rows(DAYS))
    DeltaTable(f"s3://{bucket}/{ROOT}", storage_options=fs.delta_options()).create_checkpoint()
    dataset.ingest(rows(["2013-03-05"]))
    plan = dataset.plan_expiry("2013-04-02T12:00:00")
    ledger.turn_page()
    assert len(plan.apply().done) == 1
    assert ledger.page(bucket) == [line.strip() for line in EXPIRY.strip().splitlines()]


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("table_format", ["delta", "parquet"])
def test_a_vacuum_lists_the_table_once(make_bucket, new_fs, ledger, table_format, versioned) -> None:
    bucket, fs = make_bucket(versioned=versioned), new_fs()
    dataset = Dataset.create(daily_spec(bucket, format=table_format), fs=fs)
    dataset.ingest(rows(DAYS))
    looks = 1 + (table_format == "parquet")  # of a plain table a listing is the snapshot too
    ledger.turn_page()
    dataset.vacuum(dry_run=True)
    listed = [entry for entry in ledger.entries() if entry.kind(bucket, ROOT) in {"LIST .", "LIST versions ."}]
    assert len(listed) == looks


@pytest.mark.parametrize("page", [*DELTA.values(), *PLAIN.values(), VERSIONS, EXPIRY])
def test_what_is_asked_twice_has_a_reason(page) -> None:
    twice = {re.sub(r"^\d+ |, .*$", "", line.strip()) for line in page.splitlines() if "times each" in line}
    assert twice <= TWICE.keys()
