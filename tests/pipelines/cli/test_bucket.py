"""Commands on buckets: bucket plan, bucket apply, uploads abort."""

import uuid

import pytest

from tierlake.connector.errors import AppliedInPart
from tierlake.pipelines.cli.failures import ExitCode, Failure


@pytest.fixture
def run(tierlake_here, server):
    return lambda *arguments, answer=None: tierlake_here(*arguments, env=server.environ(), answer=answer)


@pytest.fixture
def name(server):
    new = f"t-{uuid.uuid4().hex[:20]}"
    yield new
    server.drop_bucket(new)


def exists(server, name):
    return name in {bucket["Name"] for bucket in server.admin.list_buckets()["Buckets"]}


@pytest.mark.more_than_a_role("buckets are an administrator's")
def test_a_bucket_by_its_name_gets_the_defaults(run, server, name):
    planned = run("bucket", "plan", name, "--json")
    assert planned.code == 0
    actions = {item["aspect"]: item["action"] for item in planned.document["items"]}
    assert (actions["bucket"], actions["default encryption"]) == ("create", "create")
    assert f"{planned.document['to_do']} to do" in run("bucket", "apply", name, "--dry-run").out
    unasked = run("bucket", "apply", name)
    assert (unasked.code, "say --yes" in unasked.err) == (ExitCode.USAGE, True)
    assert run("bucket", "apply", name, answer="n").code == ExitCode.FAILED
    assert not exists(server, name)

    done = run("bucket", "apply", name, "--yes", "--json")
    assert done.code == 0  # what the server lacks is told, and is no failure
    assert len(done.document["done"]) == planned.document["to_do"]
    assert "lacking: deny plain HTTP: the endpoint is plain HTTP" in done.err
    again = run("bucket", "apply", name)  # nothing to ask about
    assert (again.code, again.out) == (0, f"{name} is as it should be\n")


def test_a_bucket_by_its_spec(run, server, bucket, tmp_path):
    spec = tmp_path / "bucket.yaml"
    spec.write_text(f"bucket: {bucket}\nversioning: true\nencryption: null\npolicy: null\nlifecycle: null\n")
    assert run("bucket", "apply", spec, answer="y").code == 0
    assert server.admin.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    spec.write_text(f"bucket: {bucket}\nversionning: true\n")
    refused = run("bucket", "plan", spec)
    assert (refused.code, "Did you mean 'versioning'?" in refused.err) == (ExitCode.FAILED, True)
    assert run("bucket", "plan", tmp_path / "none.yaml").code == ExitCode.USAGE


def test_done_in_part():
    failure = Failure.of(AppliedInPart("half", {"CORS": "denied"}, hint="again"))
    assert failure.exit_code == ExitCode.PARTIAL
    assert failure.failures == {"CORS": "denied"}


def test_uploads_are_listed_and_aborted(run, server, bucket):
    for key in ("a/x", "b"):
        server.admin.create_multipart_upload(Bucket=bucket, Key=key)

    def left():
        return [one["Key"] for one in server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    assert run("uploads", "abort", bucket).out == "no such uploads\n"  # none is a day old
    listed = run("uploads", "abort", f"lake://{bucket}/a/", "--older-than", "0s", "--dry-run", "--json").document
    assert listed["aborted"] == []
    (upload,) = listed["would_abort"]
    assert upload["path"] == f"{bucket}/a/x"
    assert 0 <= upload["age_seconds"] < 60
    assert upload["upload_id"]
    unasked = run("uploads", "abort", bucket, "--older-than", "0s")
    assert (unasked.code, f"{bucket}/a/x" in unasked.err) == (ExitCode.USAGE, True)
    assert left() == ["a/x", "b"]
    assert run("uploads", "abort", f"{bucket}/a/", "--older-than", "0s", "--yes").code == 0
    assert left() == ["b"]
    assert len(run("uploads", "abort", bucket, "--older-than", "0s", "--yes", "--json").document["aborted"]) == 1
    assert left() == []
    assert run("uploads", "abort", bucket, "--older-than", "yesterday").code == ExitCode.FAILED
