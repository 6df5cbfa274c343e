"""Whatever of ours a user calls: an error that leaves it is reported once, and one that is handled inside is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest
from s3fs.utils import FileExpired

from tests import ROOT
from tierlake.connector import LakeFileSystem, LakeSettings, SseC, WriteRule
from tierlake.connector.errors import (
    AlreadyExists,
    BucketNotFound,
    InvalidName,
    LakeError,
    ObjectNotFound,
    PreconditionFailed,
)
from tierlake.connector.observe.edges import edge, guarded, is_guarded, left, reporting

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


@edge
class Shelf:
    """Raises in every way."""

    def method(self):
        raise InvalidName("method")

    @classmethod
    def of_class(cls):
        raise InvalidName("of_class")

    @staticmethod
    def static():
        raise InvalidName("static")

    async def awaited(self):
        raise InvalidName("awaited")

    def generated(self):
        yield 1
        raise InvalidName("generated")

    def handled(self):
        with suppress(LakeError):
            self.method()
        return 1

    def calls_another(self):
        self.method()

    def _inside(self):
        raise InvalidName("inside")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Shelf().method(), "Shelf.method"),
        (Shelf.of_class, "Shelf.of_class"),
        (Shelf.static, "Shelf.static"),
        (lambda: asyncio.run(Shelf().awaited()), "Shelf.awaited"),
        (lambda: list(Shelf().generated()), "Shelf.generated"),
        (lambda: Shelf().calls_another(), "Shelf.calls_another"),
    ],
)
def test_each_kind_of_method_is_an_edge(call, name, recorder):
    with pytest.raises(InvalidName):
        call()
    (report,) = recorder.errors
    assert (report.verb, report.code) == (name, "invalid_name")


def test_what_is_handled_inside_is_no_report(recorder):
    assert Shelf().handled() == 1
    assert recorder.errors == []


def test_what_is_private_is_no_edge(recorder):
    with pytest.raises(InvalidName):
        Shelf()._inside()
    assert recorder.errors == []
    assert not is_guarded(Shelf._inside)
    assert is_guarded(Shelf.method)


def test_an_edge_inside_an_edge_is_reported_by_the_outer_one_alone(recorder):
    def inner():
        raise ObjectNotFound("no")

    with pytest.raises(ObjectNotFound):
        guarded(reporting(inner), "outer")()
    assert [report.verb for report in recorder.errors] == ["outer"]


def test_what_has_left_everything_is_reported_unless_it_was(recorder):
    error = InvalidName("no")
    for _ in range(2):
        left("tierlake", error)
    left("tierlake", KeyError("not ours"))
    assert [report.verb for report in recorder.errors] == ["tierlake"]


def test_an_error_that_is_not_ours_passes(recorder):
    with pytest.raises(ZeroDivisionError):
        reporting(lambda: 1 // 0)()
    assert recorder.events == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: LakeFileSystem(endpoint_url="http://example.com", skip_instance_cache=True),
        lambda: LakeFileSystem(no_such_option=1, skip_instance_cache=True),
        lambda: LakeSettings.of(max_retries=-1),
        lambda: LakeSettings.of(encryption="sse-x"),
        lambda: SseC(b"short"),
        lambda: WriteRule.from_value({"no_such_field": 1}),
    ],
)
def test_what_is_refused_before_any_request_is_reported_once(call, recorder):
    with pytest.raises(LakeError) as caught:
        call()
    assert [(report.code, report.message) for report in recorder.errors] == [(caught.value.code, str(caught.value))]


# -- real operations ---------------------------------------------------------------------------------------------------


def overwritten(fs, bucket):
    """A file whose object changes while it is read."""
    path = f"{bucket}/big"
    fs.pipe_file(path, b"a" * (9 << 20))
    file = fs.open(path)
    file.read(10)
    fs.pipe_file(path, b"b" * (9 << 20))
    file.seek(-10, 2)
    with file, pytest.raises(FileExpired) as caught:  # s3fs's, as its users expect it
        file.read()
    raise caught.value.__cause__


def refused_at_close(fs, bucket):
    """A file whose object appears while it is written."""
    path = f"{bucket}/x"
    file = fs.open(path, "xb")
    file.write(b"mine")
    fs.pipe_file(path, b"theirs")
    file.close()


def finished(file):
    """Write the rest."""
    file.write(b"a" * (12 << 20))
    file.close()


@one_server
@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda fs, bucket: fs.cat_file(f"{bucket}/none"), ObjectNotFound),
        (lambda fs, bucket: fs.open(f"{bucket}/none").read(), ObjectNotFound),
        (lambda fs, _: fs.ls("no-such-bucket-of-ours"), BucketNotFound),
        (lambda fs, _: fs.pipe_file("no-such-bucket-of-ours/a", b""), BucketNotFound),
        (lambda fs, bucket: fs.pipe_file(f"{bucket}/../a", b""), InvalidName),
        (overwritten, PreconditionFailed),
        (refused_at_close, AlreadyExists),
    ],
)
def test_an_error_of_a_real_request_has_one_report_with_its_request_id(call, kind, server, bucket, make_fs, recorder):
    with pytest.raises(kind) as caught:
        call(make_fs(), bucket)
    error = caught.value
    reports = [one for one in recorder.reports_of(error.code) if one.request_id == error.request_id]
    assert len(reports) == 1
    assert (error.request_id or "") in str(error)
    assert bool(error.request_id) == (kind is not InvalidName)


@one_server
def test_parts_that_fail_behind_the_writer_are_reported_with_the_error_that_he_gets(server, bucket, make_fs, recorder):
    file = make_fs().open(f"{bucket}/big", "wb", block_size=5 << 20)
    file.write(b"a" * (6 << 20))
    (upload,) = server.admin.list_multipart_uploads(Bucket=bucket)["Uploads"]
    server.admin.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload["UploadId"])
    with pytest.raises(LakeError) as caught:
        finished(file)
    reports = [one for one in recorder.reports_of(caught.value.code) if one.request_id == caught.value.request_id]
    assert len(reports) == 1


# -- before anything is configured -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "operation"),
    [
        ("from tierlake import DatasetSpec; DatasetSpec.from_yaml('uri: nowhere')", "DatasetSpec.from_yaml"),
        ("from tierlake import Dataset; Dataset.open('lake://b/nowhere')", "dataset.open"),
        ("from tierlake import LakeFileSystem; LakeFileSystem(profile='odd')", "LakeFileSystem.__init__"),
    ],
)
def test_the_first_call_of_a_process_logs_as_its_environment_says(code, operation, monkeypatch):
    monkeypatch.setenv("TIERLAKE_LOG", "text")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stderr.splitlines() if " code=" in line]
    assert len(lines) == 1
    assert f"operation={operation} " in lines[0]


def test_a_filesystem_that_logs_nothing_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("TIERLAKE_LOG", "text")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    code = "from tierlake import LakeFileSystem; LakeFileSystem(log='off').ls('b/x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "InvalidName" in done.stderr
    assert " code=" not in done.stderr
