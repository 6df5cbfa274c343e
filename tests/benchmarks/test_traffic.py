"""What tierlake sends for each work: requests and bytes, which do not depend on the machine."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.relay import Traffic
from benchmarks.works import files, listing

pytestmark = pytest.mark.each_value

MIB = 1 << 20


def sent(stages, work: str, contender: str = "tierlake") -> Traffic:
    stage = stages(work)
    return stage.act(stage.work.contender(contender), f"written-{contender.replace(' ', '-').replace(',', '')}")


def count(traffic: Traffic, *kinds: str) -> int:
    return sum(traffic.requests.get(kind, 0) for kind in kinds)


def test_three_columns_cost_their_bytes_and_fewer_requests_than_arrows_own_client(stages):
    ours, arrows = sent(stages, "columns"), sent(stages, "columns", "pyarrow")
    assert ours.down <= 1.05 * stages("columns").place.facts["columns and footer"]
    assert ours.total <= arrows.total
    assert count(ours, "HEAD", "LIST") <= 2


@pytest.mark.parametrize("work", ["cat", "get"])
def test_a_whole_object_is_fetched_once_in_large_ranges(stages, work):
    traffic, size = sent(stages, work), stages(work).place.facts["answer"]["bytes"]
    assert traffic.down == size
    assert count(traffic, "GET") <= math.ceil(size / (4 * MIB))
    assert count(traffic, "HEAD", "LIST") <= 1


@pytest.mark.parametrize("contender", files.OURS)
def test_each_small_file_is_one_request_and_there_are_few_others(stages, contender, monkeypatch):
    monkeypatch.setenv("TIERLAKE_VIEW_FRESHNESS", "60")
    traffic, facts = sent(stages, "files", contender), stages("files").place.facts
    assert count(traffic, "GET") <= facts["files"] + 2  # whether it is a table
    assert count(traffic, "HEAD") <= (3 if "pandas" in contender else 1)  # the folder, sidecars
    assert count(traffic, "LIST") <= 4  # a table there or above, whether it is a folder, and its files
    others = sent(stages, "files", "s3fs")
    assert traffic.down <= others.down + 64 * 1024


@pytest.mark.parametrize("contender", [*files.OURS, "tierlake, Dataset.read"])
def test_a_table_costs_a_request_a_file_and_its_log(stages, contender):
    traffic, facts = sent(stages, "table", contender), stages("table").place.facts
    assert count(traffic, "GET") <= facts["files"] + 12
    assert count(traffic, "HEAD") <= 1
    assert count(traffic, "LIST") <= 6


def test_a_large_file_is_sent_once_in_parts(stages):
    traffic, file = sent(stages, "upload"), Path(stages("upload").place.facts["file"])
    size = file.stat().st_size
    assert size <= traffic.up <= size + 64 * 1024
    assert count(traffic, "PUT") <= math.ceil(size / (5 * MIB))
    assert count(traffic, "POST") <= 2
    assert count(traffic, "HEAD", "LIST", "GET") <= 4  # what is there, and whether it is in a table


def test_each_partition_is_one_request_and_a_commit_a_few(stages):
    for contender in ("tierlake", "tierlake, plain"):
        traffic, partitions = sent(stages, "ingest", contender), stages("ingest").place.facts["partitions"]
        assert count(traffic, "PUT") <= partitions + 8
        assert traffic.total <= partitions + 40, traffic.requests


def test_a_listing_costs_a_request_a_page_or_a_folder(stages):
    traffic = sent(stages, "listing")
    keys = stages("listing").place.facts["answer"]["keys"]
    assert traffic.total <= math.ceil(keys / 1000) + listing.FOLDERS + 3
    assert count(traffic, "HEAD", "GET") <= 1
