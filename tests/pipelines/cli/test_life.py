"""The command line on real servers: what it says, what it changes, and how it ends."""

import csv
import time

import pytest
import requests

from tierlake.pipelines.cli.failures import ExitCode

SPEC = """
uri: lake://{bucket}/events
format: {format}
partition:
  time: {{column: at, every: day, key: date}}
tiers:
  - {{after: 30d, tier: warm}}
retention: {{expire_after: 300d, grace: 7d}}
"""
DAYS = ("2013-01-01", "2013-06-01", "2013-12-31")
TODAY = "2014-01-01"


@pytest.fixture(params=["delta", "parquet"])
def table_format(request):
    return request.param


@pytest.fixture
def lake(tierlake_here, server, make_bucket):
    """The program with a server and a bucket of its own; arguments may name `{uri}` and `{bucket}`."""
    bucket = make_bucket(versioned=True)

    def run(*arguments, env=None, answer=None):
        filled = [str(each).format(uri=f"lake://{bucket}/events", bucket=bucket) for each in arguments]
        return tierlake_here(*filled, env={**server.environ(), **(env or {})}, answer=answer)

    run.bucket = bucket
    run.server = server
    return run


@pytest.fixture
def events(lake, tmp_path, table_format):
    """A dataset of three days with two rows each."""
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=lake.bucket, format=table_format))
    write_csv(tmp_path / "events.csv", [(f"{day}T{hour:02}:00:00Z", hour) for day in DAYS for hour in (1, 2)])
    created = lake("create", "spec.yaml", "--json")
    assert created.document == {"uri": f"lake://{lake.bucket}/events", "format": table_format, "created": True}
    ingested = lake("ingest", "spec.yaml", "events.csv", "--run-key", "first", "--json")
    assert ingested.code == 0, ingested.err
    assert ingested.document["rows"] == 6
    return lake


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["at", "amount"])
        writer.writerows(rows)


def keys_of(lake):
    return [part["key"] for part in lake("ls", "{uri}", "--json").document["partitions"]]


@pytest.mark.slow
def test_create_and_ingest_again_change_nothing_and_exit_0(events, tmp_path):
    again = events("create", "spec.yaml", "--json")
    assert (again.code, again.document["created"]) == (0, False)
    repeated = events("ingest", "{uri}", "events.csv", "--run-key", "first")
    assert repeated.code == 0
    assert repeated.out == "run key first is committed already: nothing changed\n"


def test_a_rehearsed_ingest_counts_and_writes_nothing(events, tmp_path):
    write_csv(tmp_path / "more.csv", [("2013-06-01T00:00:00Z", 1), ("2013-06-02T00:00:00Z", 1), ("", 1)])
    refused = events("ingest", "{uri}", "more.csv", "--dry-run", "--json")
    assert refused.code == events("ingest", "{uri}", "more.csv").code == ExitCode.FAILED
    assert refused.document["error"]["code"] == "rejected_too_many"
    write_csv(tmp_path / "more.csv", [("2013-06-01T00:00:00Z", 1), ("2013-06-30T00:00:00Z", 1)])
    rehearsed = events("ingest", "{uri}", "more.csv", "--dry-run", "--json")
    assert rehearsed.code == 0, rehearsed.err
    assert rehearsed.document["partitions"] == {"date=2013-06-01": 1, "date=2013-06-30": 1}
    assert [(one["key"], one["rows_in"]) for one in rehearsed.document["replaced"]] == [("date=2013-06-01", 1)]
    again = events("ingest", "{uri}", "more.csv", "--dry-run", "--run-key", "first")
    assert again.out == "this run key is committed already: nothing would change\n"
    assert keys_of(events) == [f"date={day}" for day in DAYS]


def test_too_many_bad_rows_fail_and_are_kept(events, tmp_path):
    write_csv(tmp_path / "bad.csv", [("2013-06-01T00:00:00Z", 1), ("", 1)])
    failed = events("ingest", "{uri}", "bad.csv", "--json")
    assert failed.code == 1
    assert failed.document["error"]["code"] == "rejected_too_many"
    assert "_lake/rejects/" in failed.err


def test_ls_is_a_table_for_people_and_can_be_narrowed(events):
    listed = events("ls", "{uri}")
    assert [line.split()[0] for line in listed.out.splitlines()[1:4]] == [f"date={day}" for day in DAYS]
    one = events("ls", "{uri}", "date=2013-06-01", "--json").document
    assert [part["key"] for part in one["partitions"]] == ["date=2013-06-01"]
    assert one["total"]["partitions"] == 1


def test_show_explain_and_history_tell_what_there_is(events):
    shown = events("show", "{uri}", "--json").document
    assert shown["spec"]["retention"]["expire_after"] == "300d"
    assert shown["columns"]["amount"] == "int64"
    assert "300d" in events("show", "{uri}").out
    sentence = events("explain", "{uri}", "date=2013-12-31", "--as-of", TODAY).out
    assert sentence.startswith("date=2013-12-31 (1 file, ")
    outlooks = events("explain", "{uri}", "--as-of", TODAY, "--json").document
    assert [each["next"] for each in outlooks] == ["expire", "expire", "warm"]
    operations = [entry["operation"] for entry in events("history", "{uri}", "--json").document]
    assert "ingest" in operations
    assert "ingest" in events("history", "{uri}").out


@pytest.mark.slow
def test_expire_asks_first_and_undo_brings_back(events):
    mute = events("expire", "{uri}", "--as-of", TODAY)
    assert mute.code == 2
    assert "--yes" in mute.err
    assert keys_of(events) == [f"date={day}" for day in DAYS]

    declined = events("expire", "{uri}", "--as-of", TODAY, answer="n")
    assert (declined.code, declined.out) == (1, "")
    assert "date=2013-01-01" in declined.err
    assert "nothing was changed" in declined.err
    assert keys_of(events) == [f"date={day}" for day in DAYS]

    rehearsed = events("expire", "{uri}", "--as-of", TODAY, "--dry-run", "--json")
    assert [step["key"] for step in rehearsed.document["steps"]] == ["date=2013-01-01"]
    assert keys_of(events) == [f"date={day}" for day in DAYS]

    done = events("expire", "{uri}", "--as-of", TODAY, "--yes", "--json")
    assert (done.code, done.document["done"]) == (0, ["date=2013-01-01"])
    assert keys_of(events) == ["date=2013-06-01", "date=2013-12-31"]
    again = events("expire", "{uri}", "--as-of", TODAY, "--yes", "--json")
    assert (again.code, again.document["steps"]) == (0, [])

    would = events("undo", "{uri}", "date=2013-01-01", "--dry-run")
    assert would.code == 0
    assert would.out.startswith("would bring back date=2013-01-01")
    assert "can be undone until" in would.out
    back = events("undo", "{uri}", "date=2013-01-01", "--json")
    assert (back.code, back.document["changed"]) == (0, True)
    assert keys_of(events) == [f"date={day}" for day in DAYS]
    repeated = events("undo", "{uri}", "date=2013-01-01")
    assert repeated.code == 0
    assert "nothing changed" in repeated.out


def test_a_plan_is_saved_applied_and_applied_again(events, tmp_path):
    planned = events("plan", "expiry", "{uri}", "--as-of", TODAY, "--out", "plan.json")
    assert planned.code == 0
    assert "tierlake apply plan.json" in planned.err
    assert "date=2013-01-01" in planned.out
    applied = events("apply", "plan.json", "--yes", "--json")
    assert (applied.code, applied.document["done"]) == (0, ["date=2013-01-01"])
    again = events("apply", "plan.json", "--yes", "--json")
    assert (again.code, again.document["done"]) == (0, [])


@pytest.mark.slow
def test_holds_and_retentions_win_over_expiry(events):
    assert events("hold", "{uri}", "date=2013-01-01", "--reason", "audit").code == 0
    again = events("hold", "{uri}", "date=2013-01-01", "--reason", "audit")
    assert (again.code, "nothing changed" in again.out) == (0, True)
    plan = events("plan", "expiry", "{uri}", "--as-of", TODAY, "--json").document
    assert plan["steps"] == []
    assert plan["refused"] == [{"key": "date=2013-01-01", "reason": "held: audit"}]
    assert events("release", "{uri}", "date=2013-01-01", "--json").document["changed"] is True
    assert events("release", "{uri}", "date=2013-01-01", "--json").document["changed"] is False
    assert events("retain", "{uri}", "date=2013-01-01", "--until", "2015-01-01").code == 0
    plan = events("plan", "expiry", "{uri}", "--as-of", TODAY, "--json").document
    assert plan["steps"] == []


def test_a_hold_put_after_the_plan_makes_apply_exit_4(events):
    events("plan", "expiry", "{uri}", "--as-of", TODAY, "--out", "plan.json")
    events("hold", "{uri}", "date=2013-01-01", "--reason", "audit")
    refused = events("apply", "plan.json", "--yes", "--json")
    assert refused.code == 4
    assert refused.document["failed"].keys() == {"date=2013-01-01"}
    assert "audit" in refused.err


def test_what_is_done_in_part_exits_3_and_lists_the_rest(events):
    later = "2014-06-01"  # two of the three days are past their retention
    assert events("plan", "expiry", "{uri}", "--as-of", later, "--out", "plan.json").code == 0
    events("hold", "{uri}", "date=2013-01-01", "--reason", "audit")
    partly = events("apply", "plan.json", "--yes", "--json")
    assert partly.code == 3
    assert partly.document["done"] == ["date=2013-06-01"]
    assert partly.err == "error: date=2013-01-01 is held: audit\n"


def test_vacuum_deletes_for_good_once_the_grace_is_over(lake, tmp_path, table_format):
    text = SPEC.format(bucket=lake.bucket, format=table_format).replace("grace: 7d", "grace: 0d")
    (tmp_path / "spec.yaml").write_text(text)
    write_csv(tmp_path / "events.csv", [(f"{day}T01:00:00Z", 1) for day in DAYS])
    lake("create", "spec.yaml")
    lake("ingest", "{uri}", "events.csv")
    lake("expire", "{uri}", "--as-of", TODAY, "--yes")
    deadline = time.monotonic() + 10  # the server's clock counts whole seconds: the grace may end within this one
    while "would delete 1 file" not in lake("vacuum", "{uri}", "--dry-run").out:
        assert time.monotonic() < deadline
    assert lake("vacuum", "{uri}").code == 2  # nobody to ask
    done = lake("vacuum", "{uri}", "--json", answer="y")
    assert done.code == 0
    assert len(done.document["expired"]) == 1
    assert "nothing to delete" in lake("vacuum", "{uri}", "--yes").out
    told = [entry for entry in lake("history", "{uri}", "--json").document if entry["operation"] == "vacuum"]
    assert len(told) == 1, "one vacuum is one line"
    assert lake.server.keys(lake.bucket, "events/date=2013-01-01/") == []
    refused = lake("undo", "{uri}", "date=2013-01-01", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (4, "policy_refused")


def test_verify_is_clean_and_finds_what_is_missing(events):
    clean = events("verify", "{uri}", "--json")
    assert (clean.code, clean.document["ok"]) == (0, True)
    admin, bucket = events.server.admin, events.bucket
    lost = next(key for key in events.server.keys(bucket, "events/date=2013-06-01/"))
    for version in admin.list_object_versions(Bucket=bucket, Prefix=lost)["Versions"]:
        admin.delete_object(Bucket=bucket, Key=lost, VersionId=version["VersionId"])
    found = events("verify", "{uri}", "--json")
    if events("show", "{uri}", "--json").document["format"] == "parquet":
        assert found.code == 0  # what is listed is the table: a file deleted behind our back is no longer part of it
    else:
        assert found.code == 1
        assert [problem["kind"] for problem in found.document["problems"]] == ["missing"]


@pytest.mark.slow
def test_vacuum_asks_and_deletes_only_after_the_grace(events):
    events("expire", "{uri}", "--as-of", TODAY, "--yes")
    waiting = events("vacuum", "{uri}", "--yes", "--json")
    assert waiting.code == 0
    assert waiting.document["expired"] == []
    assert waiting.document["kept"] >= 1
    assert events("undo", "{uri}", "date=2013-01-01").code == 0


@pytest.mark.slow
def test_unknown_things_are_named(events):
    missing = events("undo", "{uri}", "date=1999-01-01", "--json")
    assert missing.code == 1
    assert missing.document["error"]["code"] == "unknown_partition"
    assert "Traceback" not in missing.err
    nowhere = events("ls", "lake://{bucket}/nothing", "--json")
    assert nowhere.code == 1
    assert nowhere.document["error"]["code"] == "table_not_found"


@pytest.mark.slow
def test_append_works_on_delta_and_is_refused_by_name_on_plain(events, table_format):
    appended = events("ingest", "{uri}", "events.csv", "--append", "--json")
    if table_format == "delta":
        assert appended.code == 0
        total = events("ls", "{uri}", "--json").document["total"]
        assert (total["rows"], total["files"]) == (12, 6)
    else:
        assert appended.code == 1
        assert appended.document["error"]["code"] == "unsupported_by_table"


def test_tiering_moves_once_or_says_what_is_missing(lake, tmp_path, server):
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=lake.bucket, format="delta"))
    write_csv(tmp_path / "events.csv", [(f"{day}T01:00:00Z", 1) for day in DAYS])
    lake("create", "spec.yaml")
    lake("ingest", "{uri}", "events.csv")
    moved = lake("tier", "{uri}", "--as-of", TODAY, "--yes", "--json")
    assert moved.code == 0
    if server.name == "minio":  # its tiers are other servers, and nobody has set one up: the demo's test has
        assert moved.document["steps"] == []
        reasons = {refusal["key"]: refusal["reason"] for refusal in moved.document["refused"]}
        assert "rule" in reasons["date=2013-06-01"]
        return
    assert moved.document["done"] == ["date=2013-06-01"]
    again = lake("tier", "{uri}", "--as-of", TODAY, "--yes", "--json")
    assert (again.code, again.document["steps"]) == (0, [])
    heads = server.heads(lake.bucket, "events/date=2013-06-01/")
    assert {head["StorageClass"] for head in heads.values()} == {"STANDARD_IA"}


@pytest.mark.more_than_a_role(
    "SeaweedFS 4.48 asks an identity's own actions for a form, not its policies", on="seaweedfs"
)
def test_presigned_urls_work_without_credentials(lake):
    put = lake("presign", "lake://{bucket}/note.txt", "--method", "PUT", "--json").document
    assert requests.put(put["url"], data=b"hello", headers=put["headers"], timeout=30).status_code == 200
    get = lake("presign", "lake://{bucket}/note.txt", "--json").document
    assert requests.get(get["url"], timeout=30).content == b"hello"
    form = lake("presign", "lake://{bucket}/form.txt", "--method", "POST", "--max-size", "1KB", "--json").document
    small = requests.post(form["url"], data=form["fields"], files={"file": b"x" * 10}, timeout=30)
    large = requests.post(form["url"], data=form["fields"], files={"file": b"x" * 5000}, timeout=30)
    assert (small.ok, large.ok) == (True, False)
    assert set(lake.server.heads(lake.bucket)) == {"note.txt", "form.txt"}
    assert {head["ServerSideEncryption"] for head in lake.server.heads(lake.bucket).values()} == {"AES256"}


def test_conditions_of_a_form_are_refused_elsewhere(lake):
    said = lake("presign", "lake://{bucket}/note.txt", "--max-size", "1KB")
    assert said.code == 2


def test_wrong_credentials_say_so_without_the_secret(lake):
    wrong = "not-the-secret-1234567890"
    said = lake("ls", "{uri}", "--json", env={"AWS_SECRET_ACCESS_KEY": wrong})
    assert said.code == 1
    assert said.document["error"]["code"] == "bad_credentials"
    assert wrong not in said.out + said.err


def test_a_bucket_that_does_not_exist_is_named(lake, tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket="t-no-such-bucket", format="delta"))
    said = lake("create", "spec.yaml", "--json")
    assert said.code == 1
    assert said.document["error"]["code"] == "bucket_not_found"
    assert "t-no-such-bucket" in said.err


def test_a_spec_with_contradictory_tiers_is_refused_before_anything_is_made(lake, tmp_path):
    text = SPEC.format(bucket=lake.bucket, format="delta").replace("after: 30d", "after: 400d")
    (tmp_path / "spec.yaml").write_text(text)
    said = lake("create", "spec.yaml")
    assert said.code == 1
    assert "contradict" in said.err
    assert lake.server.keys(lake.bucket) == []


@pytest.mark.slow
def test_a_rehearsal_says_what_the_real_one_says(events, tmp_path):
    """`--dry-run` makes every check: the same exit code and the same error, and nothing is written."""
    text = (tmp_path / "spec.yaml").read_text()
    described = {
        "class": text.replace("events", "others") + "write: {storage_class: STANDARD_1A}\n",
        "encryption": text.replace("events", "others") + "write: {encryption: dsse-kms}\n",
        "another-spec": text.replace("expire_after: 300d", "expire_after: 301d"),
        "inside": text.replace("/events", "/events/inner"),
        "above": text.replace("/events", "/above"),
        "not-empty": text.replace("/events", "/somebodys"),
        "no-bucket": text.replace(events.bucket, "t-no-such-bucket"),
    }
    assert described["another-spec"] != text
    for key in ("somebodys/notes.txt", "above/table/_delta_log/00000000000000000000.json"):
        events.server.admin.put_object(Bucket=events.bucket, Key=key, Body=b"mine")
    commands = []
    for name, spec in described.items():
        (tmp_path / f"{name}.yaml").write_text(spec)
        commands.append(("create", f"{name}.yaml"))
    write_csv(tmp_path / "bad.csv", [("never", 1), ("nor then", 2)])
    (tmp_path / "odd.csv").write_text("when,what\n1,2\n")
    commands += [("ingest", "spec.yaml", source) for source in ("bad.csv", "odd.csv", "missing.csv")]
    before = events.server.keys(events.bucket)
    for command in commands:
        rehearsed = events(*command, "--dry-run", "--json")
        assert events.server.keys(events.bucket) == before, command
        real = events(*command, "--json")
        assert real.code == rehearsed.code == 1, command
        assert real.document["error"]["code"] == rehearsed.document["error"]["code"], command
        before = events.server.keys(events.bucket)  # rejects are kept, when it is meant


@pytest.mark.slow
def test_a_key_that_matches_nothing_is_an_error(events):
    assert events("ls", "{uri}", "date=2013-01-01").code == 0
    for key, why in {
        "dat=2013-01-01": "has no partition dat=2013-01-01: it is partitioned by date",
        "date=2013-1-1": "spells the partition date=2013-1-1 as date=2013-01-01",
        "date=2099-01-01": "has no partition date=2099-01-01",
    }.items():
        said = events("ls", "{uri}", key, "--json")
        assert (said.code, said.document["error"]["code"]) == (1, "unknown_partition")
        assert why in said.document["error"]["message"]


@pytest.mark.slow
def test_a_rehearsed_undo_or_hold_says_what_the_real_one_says(events, tmp_path):
    write_csv(tmp_path / "again.csv", [("2013-06-01T01:00:00Z", 9)])
    assert events("ingest", "{uri}", "again.csv", "--run-key", "second").code == 0
    assert events("expire", "{uri}", "--as-of", TODAY, "--yes").code == 0
    expired, replaced, other = "date=2013-01-01", "date=2013-06-01", "date=2013-12-31"
    until = ("--until", "2030-01-01")
    assert events("retain", "{uri}", other, *until).code == 0
    same = [
        ("undo", expired),
        ("undo", replaced),
        ("undo", "--run", "second"),
        ("undo", "--run", "never"),
        ("undo", other),
        ("undo", "date=2012-01-01"),
        ("undo", "day=2013-01-01"),
        ("hold", other, "--reason", " "),
        ("hold", other, "--reason", "audit"),
        ("hold", "date=2012-01-01", "--reason", "audit"),
        ("release", "day=2013-01-01"),
        ("release", other),
        ("retain", other, "--until", "2029-01-01"),
        ("retain", other, *until),
        ("retain", "date=2012-01-01", *until),
    ]
    for verb, *more in same:
        keys = events.server.keys(events.bucket)
        told = [events(verb, "{uri}", *more, "--dry-run", *as_json) for as_json in ([], ["--json"])]
        assert events.server.keys(events.bucket) == keys, more
        real = events(verb, "{uri}", *more, "--json")
        assert [each.code for each in told] == [real.code, real.code], (verb, more)
        if real.code:
            assert told[1].document == real.document, (verb, more)
        else:
            would = real.document if isinstance(real.document, list) else [real.document]
            assert told[0].out.startswith("would") == any(each["changed"] for each in would), (verb, more, told[0].out)
    assert "nothing was taken out of it" in events("undo", "{uri}", other).out


@pytest.mark.slow
def test_a_rehearsed_plan_says_what_the_real_one_says(events, tmp_path):
    assert events("plan", "expiry", "{uri}", "--as-of", TODAY, "--out", "plan.json").code == 0
    would = events("apply", "plan.json", "--dry-run", "--json")
    assert (would.code, would.document["rehearsed"]["done"]) == (0, ["date=2013-01-01"])
    assert len(keys_of(events)) == len(DAYS)
    events("hold", "{uri}", "date=2013-01-01", "--reason", "audit")
    would, real = (events("apply", "plan.json", way) for way in ("--dry-run", "--yes"))
    assert would.code == real.code == 4
    assert "is held: audit" in would.err
    assert would.err == real.err
    assert "1 would fail" in would.out
    events("release", "{uri}", "date=2013-01-01")
    write_csv(tmp_path / "again.csv", [("2013-01-01T01:00:00Z", 9)])
    assert events("ingest", "{uri}", "again.csv").code == 0
    would, real = (events("apply", "plan.json", way) for way in ("--dry-run", "--yes"))
    assert would.code == real.code == 1
    assert "plan again" in would.err


def test_what_could_not_come_back_goes_by_a_flag_of_its_own(tierlake_here, server, make_bucket, tmp_path):
    bucket = make_bucket()
    (tmp_path / "spec.yaml").write_text(SPEC.format(bucket=bucket, format="parquet"))
    write_csv(tmp_path / "events.csv", [(f"{day}T01:00:00Z", 1) for day in DAYS])

    def run(*arguments, answer=None):
        return tierlake_here(*arguments, env=server.environ(), answer=answer)

    assert run("create", "spec.yaml").code == 0
    assert run("ingest", "spec.yaml", "events.csv").code == 0
    for how in ({"answer": "y"}, {}):
        refused = run("expire", "spec.yaml", "--as-of", TODAY, *([] if how else ["--dry-run"]), **how)
        assert refused.code == 4
        assert "`--no-undo`" in refused.err
        assert "Do this" not in refused.err, "nobody is asked for what is refused"
    assert run("plan", "expiry", "spec.yaml", "--as-of", TODAY, "--out", "plan.json").code == 0
    would = run("apply", "plan.json", "--no-undo", "--dry-run")
    assert run("apply", "spec.yaml", "--no-undo", "--yes").code == 2
    real = run("expire", "spec.yaml", "--as-of", TODAY, "--no-undo", answer="y")
    assert would.code == real.code
    if server.name == "minio":  # it has no condition under which an object is deleted
        assert real.code == 1
        assert "could be replaced by an ingest" in real.err
        return
    assert "without undo?" in real.err
    assert real.code == 0, real.err
    assert run("undo", "spec.yaml", "date=2013-01-01", "--dry-run").code == 4


def test_a_retention_of_what_has_expired_says_what_becomes_of_it(events):
    events("expire", "{uri}", "--as-of", TODAY, "--yes")
    said = events("retain", "{uri}", "date=2013-01-01", "--until", "2030-01-01")
    assert said.code == 0
    assert "once it is back: date=2013-01-01" in said.err
    assert "after that `vacuum` deletes its files" in said.err
    assert events("retain", "{uri}", "date=2013-06-01", "--until", "2030-01-01").err == ""


@pytest.mark.slow
def test_the_history_says_who_did_what_and_what_was_undone(events, tmp_path):
    write_csv(tmp_path / "again.csv", [("2013-06-01T01:00:00Z", 9)])
    events("ingest", "{uri}", "again.csv", "--run-key", "second")
    events("undo", "{uri}", "--run", "second")
    events("expire", "{uri}", "--as-of", TODAY, "--yes")
    events("undo", "{uri}", "date=2013-01-01")
    events("hold", "{uri}", "date=2013-01-01", "--reason", "audit")
    entries = events("history", "{uri}", "--json").document
    assert [entry["operation"] for entry in entries if not entry["by"]] == []
    undone = [entry["reason"] for entry in entries if entry["operation"] == "undo"]
    assert undone == ["undo of an expiry: 364 d old, kept for 300 d", "undo of the ingest second"]
    assert next(entry for entry in entries if entry["operation"] == "hold")["bytes"] is None
