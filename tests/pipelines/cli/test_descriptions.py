"""`diff` and `apply` of a description, and what says no to one that differs."""

import json
from functools import partial

import pytest

SPEC = """
uri: lake://{bucket}/events
format: {format}
partition:
  time: {{column: at, every: day, key: date}}
retention: {{expire_after: {expire_after}, grace: 7d}}
"""
DAYS = ("2013-01-01", "2013-06-01", "2013-12-31")
TODAY = "2014-01-01"


@pytest.fixture
def describe(tmp_path, make_bucket):
    """Writes a description of the dataset; its bucket is in `bucket`."""
    bucket = make_bucket(versioned=True)

    def write(name, **changes):
        text = SPEC.format(**({"bucket": bucket, "format": "delta", "expire_after": "300d"} | changes))
        (tmp_path / name).write_text(text)
        return name

    write.bucket = bucket
    return write


@pytest.fixture
def lake(tierlake_here, server, describe, tmp_path):
    """The program on a dataset of three days, which `events.yaml` describes and `other.yaml` otherwise."""
    run = partial(tierlake_here, env=server.environ())
    (tmp_path / "events.csv").write_text("at,amount\n" + "".join(f"{day}T01:00:00Z,1\n" for day in DAYS))
    assert run("create", describe("events.yaml")).code == 0
    assert run("ingest", "events.yaml", "events.csv").code == 0
    describe("other.yaml", expire_after="200d")
    return run


def stored_days(lake, describe):
    spec = lake("show", f"lake://{describe.bucket}/events", "--json").document["spec"]
    return spec["retention"]["expire_after"]


def test_diff_exits_as_diff_does_and_apply_makes_it_so(lake, describe):
    same = lake("diff", "events.yaml", "--json")
    assert (same.code, same.document["differs"]) == (0, False)
    assert "is as described" in lake("diff", "events.yaml").out
    other = lake("diff", "other.yaml", "--as-of", TODAY, "--json")
    assert other.code == 1
    assert other.document["changes"] == [{"field": "retention.expire_after", "before": "300d", "after": "200d"}]
    assert other.document["effect"]["due"] == ["date=2013-06-01"]
    shown = lake("diff", "other.yaml", "--as-of", TODAY).out
    assert "retention.expire_after  300d    200d" in shown
    assert "become due: date=2013-06-01" in shown

    rehearsed = lake("apply", "other.yaml", "--dry-run", "--json")
    assert (rehearsed.code, rehearsed.document["changed"]) == (0, False)
    assert lake("apply", "other.yaml").code == 2, "there is nobody to ask"
    assert lake("apply", "other.yaml", answer="n").code == 1
    assert stored_days(lake, describe) == "300d"
    answered = lake("apply", "other.yaml", "--reason", "agreed with legal", answer="y")
    assert answered.code == 0
    assert "retention.expire_after  300d    200d" in answered.err, "what is asked for is shown before"
    assert stored_days(lake, describe) == "200d"
    again = lake("apply", "other.yaml", "--yes", "--json")
    assert (again.code, again.document["changed"]) == (0, False)
    event = lake("history", "other.yaml", "--json").document[0]
    assert event["operation"] == "apply"
    assert event["reason"] == "agreed with legal: retention.expire_after 300d -> 200d"
    assert event["by"]


@pytest.mark.slow
def test_apply_takes_a_plan_as_well_and_tells_them_apart_by_content(lake, describe, tmp_path):
    assert lake("plan", "expiry", "events.yaml", "--as-of", TODAY, "--out", "saved.yaml").code == 0
    done = lake("apply", "saved.yaml", "--yes", "--json")
    assert (done.code, done.document["done"]) == (0, ["date=2013-01-01"])
    description = {"uri": f"lake://{describe.bucket}/events", "retention": {"grace": "9d"}}
    (tmp_path / "as.json").write_text(json.dumps(description))
    assert lake("apply", "as.json", "--yes").code == 0, "YAML may be JSON"
    assert stored_days(lake, describe) is None
    (tmp_path / "broken.json").write_text('{"kind": "expiry"}')
    assert "not a saved plan" in lake("apply", "broken.json", "--yes").err
    assert lake("apply", "saved.yaml", "--reason", "x", "--yes").code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["ls", "other.yaml"],
        ["plan", "expiry", "other.yaml"],
        ["plan", "tiering", "other.yaml"],
        ["expire", "other.yaml", "--as-of", TODAY, "--yes"],
        ["tier", "other.yaml", "--yes"],
        ["ingest", "other.yaml", "events.csv"],
        ["ingest", "other.yaml", "events.csv", "--dry-run"],
        ["history", "other.yaml"],
        ["vacuum", "other.yaml", "--yes"],
        ["hold", "other.yaml", "date=2013-01-01", "--reason", "x"],
    ],
    ids=" ".join,
)
def test_a_file_that_differs_is_an_error_that_names_both_ways_out(lake, describe, command):
    said = lake(*command, "--json")
    assert said.code == 1
    error = said.document["error"]
    assert error["code"] == "spec_differs"
    assert "retention.expire_after is 200d, stored as 300d" in error["message"]
    assert "tierlake apply other.yaml" in error["hint"]
    assert f"name lake://{describe.bucket}/events alone" in error["hint"]
    assert lake("ls", f"lake://{describe.bucket}/events", "--json").document["total"]["partitions"] == 3


def test_what_cannot_change_is_refused_before_anybody_is_asked(lake, describe):
    describe("plain.yaml", format="parquet")
    for answer, more in (("y", []), (None, ["--dry-run"])):
        said = lake("apply", "plain.yaml", *more, "--json", answer=answer)
        assert said.code == 1
        assert said.document["error"]["code"] == "spec_error"
        assert "format: the files lie as that format has them" in said.document["error"]["message"]
    assert lake("diff", "plain.yaml").code == 1


def test_create_of_another_description_names_apply(lake):
    said = lake("create", "other.yaml")
    assert said.code == 1
    assert "tierlake apply" in said.err


def test_a_dataset_that_is_not_there_is_named(lake, tmp_path, describe):
    (tmp_path / "no.yaml").write_text(f"uri: lake://{describe.bucket}/nothing\n")
    for command in ("diff", "apply"):
        said = lake(command, "no.yaml", "--json")
        assert said.document["error"]["code"] == "table_not_found"


def test_drop_asks_first_and_undrop_takes_it_back(lake, describe):
    uri = f"lake://{describe.bucket}/events"
    rehearsed = lake("drop", "events.yaml", "--dry-run", "--json")
    assert (rehearsed.code, rehearsed.document["changed"], rehearsed.document["partitions"]) == (0, False, 3)
    assert lake("drop", uri).code == 2, "there is nobody to ask"
    assert lake("drop", uri, answer="n").code == 1
    assert lake("ls", uri, "--json").document["total"]["partitions"] == 3
    assert lake("hold", uri, "date=2013-01-01", "--reason", "audit").code == 0
    held = lake("drop", uri, "--yes", "--json")
    assert held.code == 4
    assert "date=2013-01-01 (held: audit)" in held.document["error"]["message"]
    assert lake("release", uri, "date=2013-01-01").code == 0

    dropped = lake("drop", uri, "--reason", "moved", answer="y")
    assert dropped.code == 0
    assert "3 partitions" in dropped.err
    assert f"`tierlake undrop {uri}` takes it back until" in dropped.out
    assert lake("ls", uri, "--json").document["total"]["partitions"] == 0
    assert "tierlake undrop" in lake("show", uri).out
    for refused in (lake("ingest", uri, "events.csv"), lake("create", "events.yaml")):
        assert refused.code == 4
        assert f"tierlake undrop {uri}" in refused.err
    waiting = lake("vacuum", uri, "--yes", "--json")
    assert (waiting.code, waiting.document["ends_dataset"]) == (0, False)
    assert "would take" in lake("undrop", uri, "--dry-run").out
    assert lake("ls", uri, "--json").document["total"]["partitions"] == 0
    assert lake("undrop", uri).code == 0
    assert lake("undrop", uri, "--json").document["changed"] is False
    assert lake("ls", uri, "--json").document["total"]["partitions"] == 3
    assert {"drop", "undrop"} <= {each["operation"] for each in lake("history", uri, "--json").document}


@pytest.mark.slow
def test_vacuum_ends_a_dropped_dataset_whose_grace_is_over(lake, describe, tmp_path, server):
    text = SPEC.format(bucket=describe.bucket, format="delta", expire_after="300d").replace("grace: 7d", "grace: 0d")
    (tmp_path / "short.yaml").write_text(text)
    assert lake("apply", "short.yaml", "--yes").code == 0
    assert lake("drop", "short.yaml", "--yes").code == 0
    seen = lake("vacuum", "short.yaml", "--dry-run")
    assert "and the dataset itself" in seen.out
    done = lake("vacuum", "short.yaml", answer="y")
    assert done.code == 0, done.err
    assert "the dataset is gone" in done.out
    assert server.keys(describe.bucket) == []
    assert lake("create", "short.yaml").code == 0


@pytest.mark.parametrize("content", [b"\xff\xfe\x00uri", b"uri: [\n", b"- a\n", b"uri: lake://w/x\nretension: {}\n"])
def test_a_file_that_is_no_description_is_named(lake, tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    for command in (["create"], ["diff"], ["apply", "--yes"], ["ls"], ["adopt", "lake://w/x", "--yes", "--spec"]):
        said = lake(*command, "bad.yaml", "--json")
        assert said.code == 1, said
        assert said.document["error"]["code"] == "spec_error"
        assert said.document["error"]["message"].startswith("bad.yaml: the dataset spec "), command
        error, *hint = said.err.splitlines()
        assert error.startswith("error: bad.yaml: ")
        assert not hint or hint == ["  hint: Did you mean 'retention'?"]
