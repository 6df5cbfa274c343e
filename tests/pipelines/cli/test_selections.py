"""KEYs that are ranges and patterns: what each command does with them, what it prints, and how it ends."""

import csv
from datetime import UTC, datetime, timedelta

import pytest

SPEC = """
uri: lake://{bucket}/events
format: {format}
partition:
  time: {{column: at, every: day, key: date}}
  by: [origin]
tiers:
  - {{after: 30d, tier: warm}}
retention: {{expire_after: 300d, grace: 7d}}
"""
JANUARY = [f"2013-01-{day:02d}" for day in range(1, 25)]
DAYS = [*JANUARY, "2013-06-01"]
TODAY = "2014-01-01"
"""January is past retention then, June is not."""


@pytest.fixture(params=["delta", "parquet"])
def table_format(request):
    return request.param


@pytest.fixture
def lake(tierlake_here, server, make_bucket, tmp_path, table_format):
    """The program with a dataset of 24 days of January and one of June, each of two origins, one of which is null."""
    bucket = make_bucket(versioned=True)

    def run(command, *arguments, env=None):
        return tierlake_here(command, *arguments, env={**server.environ(), **(env or {})})

    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=bucket, format=table_format))
    with (tmp_path / "events.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("at", "origin", "amount")]
            + [(f"{day}T0{hour}:00:00Z", origin, hour) for day in DAYS for hour in (1, 2) for origin in ("JFK", "")]
        )
    assert run("create", "spec.yaml").code == 0
    ingested = run("ingest", "spec.yaml", "events.csv", "--null", "")
    assert ingested.code == 0, ingested.err
    run.uri = f"lake://{bucket}/events"
    return run


def keys_of(answer):
    return [part["key"] for part in answer.document["partitions"]]


def test_24_partitions_take_one_undo(lake):
    expired = lake("expire", lake.uri, "--as-of", TODAY, "--yes", "--json")
    assert len(expired.document["done"]) == 48
    shown = lake("ls", lake.uri, "--expired").out.splitlines()
    assert shown[0].split() == ["key", "what", "when", "undo", "until", "files", "size", "class", "why"]
    assert shown[-1].split()[:2] == ["48", "partitions"]
    waiting = lake("ls", lake.uri, "date=2013-01-01..2013-01-02", "--expired", "--json").document
    assert [one["key"] for one in waiting["undoable"]] == [
        f"date={day}/origin={origin}" for day in JANUARY[:2] for origin in ("", "JFK")
    ]
    assert {one["storage_class"] for one in waiting["undoable"]} == {"STANDARD"}
    assert waiting["total"]["partitions"] == 4

    rehearsed = lake("undo", lake.uri, "date=2013-01*", "--dry-run")
    assert rehearsed.code == 0
    assert rehearsed.out.startswith("48 partitions would come back (48 files, ")
    assert len(keys_of(lake("ls", lake.uri, "--json"))) == 2
    done = lake("undo", lake.uri, "date=2013-01*/origin=JFK")
    assert done.code == 0, done.err
    first, *others = done.out.splitlines()
    assert first.startswith("24 partitions are back (24 files, ")
    assert others[0].startswith("  date=2013-01-01/origin=JFK is back: 1 file, ")
    again = lake("undo", lake.uri, "date=2013-01*/origin=JFK", "--json")
    assert (again.code, {one["changed"] for one in again.document["results"]}) == (0, {False})
    rest = lake("undo", lake.uri, "--since", "2013-01-20", "--until", "2013-01-24", "--json").document
    assert [one["key"] for one in rest["results"]] == [f"date={day}/origin=" for day in JANUARY[19:]]
    assert lake("verify", lake.uri).code == 0


@pytest.mark.slow
def test_done_in_part_exits_3_and_lists_each_failure(lake, tmp_path):
    lake("expire", lake.uri, "--as-of", TODAY, "--yes")
    (tmp_path / "again.csv").write_text("at,origin,amount\n2013-01-02T01:00:00Z,JFK,7\n")
    assert lake("ingest", lake.uri, "again.csv").code == 0
    part = lake("undo", lake.uri, "date=2013-01-01/origin=JFK", "date=2013-01-02/origin=JFK", "--json")
    assert part.code == 3
    assert part.document["failed"].keys() == {"date=2013-01-02/origin=JFK"}
    assert "error: date=2013-01-02/origin=JFK has been ingested again" in part.err
    refused = lake("undo", lake.uri, "date=2013-01-02/origin=JFK")
    assert refused.code == 4
    assert lake("undo", lake.uri, "date=2013-01-02/origin=JFK", "date=2013-01-02/origin=JFK").code == 4
    both = lake("undo", lake.uri, "date=2013-01-02")
    assert (both.code, both.out.splitlines()[0][:20]) == (0, "1 partition is back "), "what can be undone is matched"


def test_each_command_takes_a_range(lake, table_format):
    text = "date=2013-01-01..2013-01-03/origin=JFK"
    names = [f"date={day}/origin=JFK" for day in JANUARY[:3]]
    assert keys_of(lake("ls", lake.uri, text, "--json")) == names
    assert keys_of(lake("ls", lake.uri, "date=2013-01-02", "--json")) == ["date=2013-01-02/origin=", names[1]]
    assert keys_of(lake("ls", lake.uri, names[2], names[0], "--json")) == [names[0], names[2]]
    held = lake("hold", lake.uri, text, "--reason", "audit", "--dry-run")
    assert (held.code, held.out) == (0, "3 partitions would be held\n")
    held = lake("hold", lake.uri, text, "--reason", "audit", "--json").document
    assert (held["operation"], held["changed"], held["unchanged"]) == ("hold", names, [])
    again = lake("hold", lake.uri, text, "--reason", "audit")
    assert (again.code, again.out) == (0, "nothing changed, 3 were so already\n")
    planned = lake("plan", "expiry", lake.uri, "date=2013-01-01..2013-01-04/origin=JFK", "--as-of", TODAY, "--json")
    assert [step["key"] for step in planned.document["steps"]] == ["date=2013-01-04/origin=JFK"]
    assert [one["key"] for one in planned.document["refused"]] == names
    explained = lake("explain", lake.uri, text, "--as-of", TODAY)
    assert [line.split()[0] for line in explained.out.splitlines()] == names
    assert [one["key"] for one in lake("explain", lake.uri, text, "--json").document] == names
    assert lake("release", lake.uri, text).out == "3 partitions are released\n"
    assert lake("release", lake.uri, text).out == "nothing changed, 3 were so already\n"
    assert lake("retain", lake.uri, names[0], "--until", "2020-01-01").code == 0
    retained = lake("retain", lake.uri, text, "--until", "2015-01-01")
    assert (retained.code, retained.out) == (3, "2 partitions are retained, 1 failed\n")
    assert f"error: {names[0]} is retained until 2020-01-01" in retained.err
    restored = lake("restore", lake.uri, text)
    assert restored.out.splitlines()[0].startswith("asked for 0 files of 0 partitions (0 B); of 3 partitions")
    compacted = lake("compact", lake.uri, text, "--json")
    assert compacted.code == (0 if table_format == "delta" else 1)
    expired = lake("expire", lake.uri, "--until", "2013-01-05", "--as-of", TODAY, "--yes", "--json").document
    pairs = [(day, origin) for day in JANUARY[:5] for origin in ("", "JFK")]
    kept = [(day, "JFK") for day in JANUARY[:3]]
    assert expired["done"] == [f"date={day}/origin={origin}" for day, origin in pairs if (day, origin) not in kept]
    tiered = lake("tier", lake.uri, "date=2013-06-01", "--as-of", TODAY, "--dry-run", "--json")
    assert {step["key"] for step in tiered.document["steps"]} <= {
        "date=2013-06-01/origin=",
        "date=2013-06-01/origin=JFK",
    }


WRONG = [
    (("ls", "date=2013-02*"), 1, "matches date=2013-02*"),
    (("ls", "date=2013-02*"), 1, "next to it: "),
    (("ls", "dat=2013-02*"), 1, "'date'"),
    (("ls", "2013-02*"), 2, "date=2013-07-04"),
    (("hold", "date=2013-02..2013-01", "--reason", "x"), 1, "write date=2013-01..2013-02"),
    (("hold", "--reason", "x"), 2, "name partitions"),
    (("undo", "date=2013-01*"), 0, ""),
    (("undo", "date=2014*"), 1, "that can be undone that matches date=2014*"),
    (("undo",), 2, "name partitions (KEY), or an ingest"),
    (("undo", "date=2013-01*", "--run", "x"), 2, "name partitions (KEY), or an ingest"),
    (("tier", "date=2014-01-01..", "--yes"), 1, "matches date=2014-01-01.."),
    (("ls", "--since", "2014-01-01"), 1, "since 2014-01-01"),
    (("ls", "--since", "2013-02-01", "--until", "2013-01-01"), 1, "before it begins"),
    (("ls", "--expired", "--as-of", TODAY), 2, "--as-of"),
    (("compact", "date=2014*"), 1, ""),
    (("restore", "date=2014*"), 1, "2014"),
    (("explain", "date=2014*"), 1, "2014"),
]
"""A command, how it ends, and what it says on stderr."""


@pytest.mark.slow
def test_what_matches_nothing_is_an_error_that_names_it(lake):
    for (command, *others), code, words in WRONG:
        answer = lake(command, lake.uri, *others)
        assert (answer.code, words in answer.err.replace("\n", " ")) == (code, True), (command, others, answer.err)


@pytest.mark.slow
def test_ls_expired_of_nothing_and_of_one_day(lake):
    assert lake("ls", lake.uri, "--expired").out == "nothing can be undone\n"
    document = lake("ls", lake.uri, "--expired", "--json").document
    assert document == {"undoable": [], "total": {"partitions": 0, "files": 0, "bytes": 0}}
    lake("expire", lake.uri, "date=2013-01-01", "--as-of", TODAY, "--yes")
    (first, second) = lake("ls", lake.uri, "--expired", "--json").document["undoable"]
    until = datetime.fromisoformat(first["undo_until"])
    assert timedelta(days=6) < until - datetime.now(UTC) < timedelta(days=8)
    assert (first["operation"], second["key"]) == ("expire", "date=2013-01-01/origin=JFK")
