"""`tierlake stats`: figures of a dataset and of a running process, for people and for programs."""

from __future__ import annotations

import socket

import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector import observe
from tierlake.connector.observe import hooks
from tierlake.connector.observe import scrape as scraping
from tierlake.connector.observe.exporters import exported
from tierlake.connector.observe.tally import Requests
from tierlake.pipelines import Dataset
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.stats import requests_text

WIDTH = 100


@pytest.fixture
def trips(bucket, fs):
    dataset = Dataset.create(trip_spec(bucket), fs=fs)
    dataset.ingest(make_trips(4))
    return dataset


def test_a_dataset_has_figures_and_requests(tierlake_here, server, trips):
    shown = tierlake_here("stats", trips.uri, env=server.environ())
    assert shown.code == 0, shown.err
    assert max(map(len, shown.out.splitlines())) <= WIDTH
    for text in (trips.uri, "expiry backlog", "list_objects_v2", "p95", "hot"):
        assert text in shown.out
    document = tierlake_here("stats", trips.uri, "--json", "--as-of", "2013-01-06", env=server.environ()).document
    assert document["figures"]["tiers"]["hot"]["partitions"] == 4
    assert document["figures"]["tiers"]["hot"]["rows"] == 40
    assert document["figures"]["expiry_backlog"] == 0
    assert document["figures"]["unencrypted_objects"] is None
    assert document["total"]["requests"] == sum(one["requests"] for one in document["requests"]) > 0
    assert document["total"]["p50"] > 0
    assert hooks.sinks() == ()


def test_objects_are_counted_where_that_is_asked_for(tierlake_here, server, trips):
    document = tierlake_here("stats", trips.uri, "--objects", "--json", env=server.environ()).document
    assert document["figures"]["unencrypted_objects"] == 0
    assert document["figures"]["incomplete_uploads"] == 0


def test_a_running_process_shows_the_same(tierlake_here, trips):
    metrics = exported(["prometheus:0"], frozenset({"*"}))
    observe.add(metrics)
    try:
        figures = trips.figures()
        url = f"http://127.0.0.1:{metrics._started[0].port}"
        shown = tierlake_here("stats", url)
        document = tierlake_here("stats", f"{url}/metrics", "--json").document
    finally:
        observe.remove(metrics)
        metrics.close()
    assert shown.code == 0, shown.err
    assert trips.uri in shown.out
    assert "list_objects_v2" in shown.out
    assert max(map(len, shown.out.splitlines())) <= WIDTH
    (only,) = document["figures"]
    assert only["uri"] == trips.uri
    assert only["expiry_backlog"] == figures.expiry_backlog == 4
    assert only["tiers"]["hot"]["bytes"] == figures.tiers["hot"].bytes
    assert document["total"]["requests"] > 0


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("nothing.yaml", "nothing.yaml"),
        ("ftp://host/x", "ftp"),
        ("http://user:hush@host:1", "user name or password"),
        ("http://", "no endpoint"),
    ],
)
def test_a_wrong_place_is_named(tierlake_here, place, named):
    said = tierlake_here("stats", place)
    assert said.code in {ExitCode.FAILED, ExitCode.USAGE}
    assert named in said.err
    assert "hush" not in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "figure",
    ['tierlake_figures_timestamp_seconds{dataset="d"} 1e30', 'tierlake_checkpoint_age_seconds{dataset="d"} 1e20'],
)
def test_a_time_that_is_none_is_named(tierlake_here, figure, monkeypatch):
    monkeypatch.setattr(scraping, "_text", lambda *_: f"{figure}\n")
    said = tierlake_here("stats", "http://host:1")
    assert said.code == ExitCode.FAILED
    assert "a time that is none" in said.err


def test_a_process_moves_no_cursor(tierlake_here, monkeypatch):
    monkeypatch.setattr(scraping, "_text", lambda *_: 'tierlake_expiry_backlog{dataset="\x1b[2J"} 1\n')
    said = tierlake_here("stats", "http://host:1")
    assert said.code == 0, said.err
    assert "\x1b" not in said.out


def test_a_process_that_is_not_there_is_unreachable(tierlake_here):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    said = tierlake_here("stats", url, "--json")
    assert said.code == ExitCode.FAILED
    assert said.document["error"]["code"] == "endpoint_unreachable"


def test_the_widest_table_fits_a_terminal():
    one = Requests(
        "get_bucket_lifecycle_configuration",
        123_456,
        1234,
        99,
        1234,
        1234,
        999 * 10**9,
        999 * 10**9,
        59.94,
        59.94,
        59.94,
    )
    text = requests_text([one], one)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "get_bucket_lifecycle…" in text
