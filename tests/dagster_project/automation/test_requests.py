"""The requests of a tick of the retention sensor, written down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.dagster_project.automation.test_sensors import DAYS, DUE, asked, ingest, tick
from tests.ledger import recording
from tierlake.dagster_project.resources.lake import LakeResource

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

TICK = """
    3 GET _delta_log/*.json, 2 times each
    1 GET _delta_log/_last_checkpoint
    1 GET _lake/dataset.json, 4 times each
    1 HEAD /, 3 times each
    1 HEAD _lake/journal
    2 LIST _delta_log/
    1 LIST _delta_log/ after a version
    1 LIST _lake/journal/
    4 LIST date=*/
"""
"""Of a table whose rows Dagster is told of. The log is opened once, in which deltalake reads each entry twice.

The description is read when the dataset is opened, for the holds, for `diff` and for a drop; the server's time too.
The folders are those of the partitions that are reported.
"""


def test_the_requests_of_a_tick(instance, lake, server, tmp_path: Path, monkeypatch) -> None:
    ingest(instance, lake, DAYS)
    bucket, _, root = os.environ["TIERLAKE_WAREHOUSE"].removeprefix("lake://").partition("/")
    with recording(server.endpoint_url, tmp_path) as ledger:
        monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", ledger.url)
        assert asked(tick(instance, LakeResource())) == [DUE]
        page = ledger.page(bucket, f"{root}/flights")
    assert page == [line.strip() for line in TICK.strip().splitlines()]
