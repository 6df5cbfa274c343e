"""Verbs are spans, and an error that leaves one is reported once."""

from __future__ import annotations

import inspect
from contextlib import suppress

import pytest

from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import InvalidName, LakeError
from tierlake.connector.observe.verbs import verb
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import SpecError


def every_error(kind=LakeError):
    return [kind, *(found for child in kind.__subclasses__() for found in every_error(child))]


def made(kind):
    error = kind.__new__(kind)
    LakeError.__init__(error, "no", request_id="R1")
    return error


def nothing_said(args, kwargs):
    return {}


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_error_of_the_tree_is_reported_once(kind, recorder):
    def inner():
        raise made(kind)

    nested = verb(verb(inner, "inner", nothing_said), "outer", nothing_said)
    with pytest.raises(kind) as caught:
        nested()
    (report,) = recorder.errors
    text = "" if kind.shows_values else str(caught.value)
    assert (report.code, report.request_id, report.message) == (kind.code, "R1", text)


def test_an_error_of_ours_that_was_caught_inside_is_no_report(recorder):
    def look():
        raise InvalidName("no")

    def work():
        with suppress(InvalidName):
            verb(look, "fs", nothing_said)()
        return 1

    assert verb(work, "fs", nothing_said)() == 1
    assert recorder.errors == []


def test_an_error_that_is_not_ours_is_no_report(recorder):
    with pytest.raises(ZeroDivisionError):
        verb(lambda: 1 // 0, "fs", nothing_said)()
    assert recorder.errors == []
    assert recorder.spans[0].code == "ZeroDivisionError"


def test_a_verb_inside_another_one_is_part_of_it(server, bucket, make_fs, recorder):
    fs = make_fs()
    fs.pipe({f"{bucket}/a": b"a", f"{bucket}/b": b"b"})
    (span,) = recorder.spans
    assert (span.name, span.attributes) == ("fs.pipe", {"paths": "2"})
    assert {event.parent_id for event in recorder.requests} == {span.span.span_id}
    assert len([event for event in recorder.requests if event.operation == "put_object"]) == 2


@pytest.mark.parametrize("name", ["cat_file", "find", "head_object", "ls", "mv", "open", "put_file_if", "exists", "du"])
def test_the_blocking_face_is_observed(name, make_offline, recorder):
    parameters = inspect.signature(getattr(LakeFileSystem, name)).parameters
    assert "args" not in parameters or len(parameters) > 2, "its signature is that of the verb"
    with pytest.raises(LakeError):
        call(getattr(make_offline(max_retries=0), name), name)
    assert [span.name for span in recorder.spans] == [f"fs.{name}"]


def call(method, name):
    """Call a verb on a name that is refused without a request."""
    if name == "put_file_if":
        return method(__file__, "b/../y", if_none_match=True)
    return method("b/../x", "b/../y") if name == "mv" else method("b/../x")


def test_a_dataset_verb_says_what_it_is_about(server, bucket, fs, recorder):
    spec = DatasetSpec(uri=f"lake://{bucket}/d", partition={"time": {"column": "at", "every": "day", "key": "date"}})
    dataset = Dataset.create(spec, fs=fs)
    recorder.events.clear()
    with pytest.raises(LakeError):
        dataset.hold("date=2013-01-01", reason="", run_id="7")
    (span,) = [one for one in recorder.spans if one.name == "dataset.hold"]
    said = {"dataset": spec.uri, "partition": "date=2013-01-01", "run_id": "7"}
    assert span.attributes == said
    assert [report.fields for report in recorder.errors] == [said]


def test_opening_names_the_dataset_without_its_secret(recorder):
    with pytest.raises((LakeError, ValueError)):
        Dataset.open("lake://user:SECRET@bucket/d")
    assert recorder.spans
    assert "SECRET" not in repr(recorder.events)


def test_a_description_that_is_wrong_is_reported(server, bucket, fs, recorder):
    spec = DatasetSpec(uri=f"lake://{bucket}/d", partition={"time": {"column": "at", "every": "day", "key": "date"}})
    dataset = Dataset.create(spec, fs=fs)
    with pytest.raises(SpecError):
        dataset.ingest({"at": ["2013-01-01"]}, mode="upsert")
    assert [report.verb for report in recorder.errors] == ["dataset.ingest"]
