"""No error of ours reaches a user unreported: the public surface is an edge wherever it says that it raises."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

import tierlake
import tierlake.connector
import tierlake.pipelines
from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.connector.errors import LakeError
from tierlake.connector.observe.edges import is_guarded

one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)


def tree(kind: type[LakeError] = LakeError) -> list[type[LakeError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in tree(child))]


def classes() -> dict[str, type]:
    """All classes of the connector and of pipelines, by name."""
    found: dict[str, type] = {}
    for room in (tierlake.connector, tierlake.pipelines):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if not module.name.endswith("__main__"):
                found.update(inspect.getmembers(importlib.import_module(module.name), inspect.isclass))
    return {name: kind for name, kind in found.items() if kind.__module__.startswith("tierlake.")}


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of ours, and the constructor."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name, None)
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        is_ours = inspect.isfunction(inner) and inner.__module__.startswith("tierlake.")
        if is_ours and (not name.startswith("_") or name in {"__init__", "__post_init__"}):
            yield name, member


def says_it_raises(member: Any) -> bool:
    text = inspect.getdoc(member) or ""
    section = text.partition("Raises:")[2]
    return any(re.search(rf"^\s+{kind.__name__}:", section, re.MULTILINE) for kind in tree())


def reached() -> dict[str, type]:
    """What users get: what the doors export, and what public methods return, and so on."""
    known = classes()
    exported = {name for door in (tierlake, tierlake.connector, tierlake.pipelines) for name in door.__all__}
    opened = {"ReadingFile", "WritingFile", "CompressedFile"}
    waiting, found = sorted(exported & set(known) | opened), {}
    while waiting:
        name = waiting.pop()
        if name in found or issubclass(known[name], BaseException):
            continue
        found[name] = known[name]
        for _, member in members(known[name]):
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            returned = str(inspect.unwrap(inner).__annotations__.get("return", ""))
            waiting += [word for word in re.findall(r"(?<![\w.])\w+", returned) if word in known]
    return found


def test_each_public_method_that_says_it_raises_is_an_edge() -> None:
    public = reached()
    assert {"Dataset", "LakeFileSystem", "TieringPlan", "SpecDiff", "Catalog", "ReadingFile", "LakeSettings"} <= set(
        public
    )
    assert is_guarded(tierlake.pipelines.load_plan)
    raising = {
        f"{name}.{method}": member
        for name, kind in public.items()
        for method, member in members(kind)
        if says_it_raises(member)
    }
    assert len(raising) > 25
    assert [name for name, member in raising.items() if not is_guarded(member)] == []


# -- on a real server --------------------------------------------------------------------------------------------------


@pytest.fixture
def flights(server, bucket, fs):
    spec = {"uri": f"lake://{bucket}/d", "partition": {"time": {"column": "at", "every": "day", "key": "date"}}}
    dataset = tierlake.Dataset.create(tierlake.DatasetSpec(**spec), fs=fs)
    dataset.ingest(pa.table({"at": pa.array([0], pa.timestamp("us", "UTC")), "n": [1]}))
    return dataset


def unbound(dataset):
    plan = dataset.plan_tiering()
    tierlake.pipelines.load_plan(plan.to_json()).apply()


def streamed(dataset):
    """A stream whose file has vanished."""
    for path in data_files(dataset):
        dataset.fs.for_table(dataset.uri).rm_file(path)
    dataset.to_reader().read_all()


def removed(dataset):
    """A file that is deleted behind the table's back; the dataset's own filesystem may do that."""
    others = type(dataset.fs)(settings=dataset.fs.settings, skip_instance_cache=True)
    others.rm_file(data_files(dataset)[0])


def data_files(dataset):
    root = dataset.spec.root
    return [path for path in dataset.fs.for_table(root).find(root) if path.endswith(".parquet") and "date=" in path]


def by_deltalake(dataset):
    """A table whose log is gone when deltalake reads it."""
    for path in dataset.fs.for_table(dataset.uri).find(f"{dataset.spec.root}/_delta_log"):
        dataset.fs.for_table(dataset.uri).rm_file(path)
    tierlake.Dataset.open(dataset.uri, fs=dataset.fs).read()


@one_server
@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda dataset: tierlake.Dataset.open(f"{dataset.uri}-none", fs=dataset.fs), "table_not_found"),
        (lambda dataset: dataset.explain("date=2013-07-04"), "unknown_partition"),
        (lambda dataset: dataset.plan_tiering().selected(["date=2013-07-04"]), "unknown_partition"),
        (lambda dataset: dataset.read(columns=["none"]), "schema_mismatch"),
        (lambda dataset: dataset.ingest("/nowhere/at/all.csv"), "source_error"),
        (removed, "table_write_refused"),
        (lambda dataset: tierlake.DatasetSpec.from_yaml("uri: 1"), "spec_error"),
        (lambda _: tierlake.pipelines.load_plan("{}"), "spec_error"),
        (lambda _: tierlake.pipelines.PartitionKey.parse("date"), "spec_error"),
        (unbound, "spec_error"),
        (streamed, None),
        (by_deltalake, "log_missing"),
    ],
)
def test_an_error_of_a_dataset_is_reported_once(call, code, flights, recorder):
    with pytest.raises(LakeError) as caught:
        call(flights)
    error = caught.value
    reports = [one for one in recorder.reports_of(error.code) if one.request_id == error.request_id]
    assert len(reports) == 1
    assert code in {error.code, None}
    assert (error.request_id or "") in str(error)


@one_server
def test_a_request_of_deltalakes_own_is_reported_with_the_error_that_it_became(server, flights, recorder):
    refused = Refusal(status="403 Forbidden", code="AccessDenied", request_id="R1")
    ours = tierlake.Dataset.open(flights.uri, fs=flights.fs)

    def refuse_commits(request):
        return refused if request.method == "PUT" and "/_delta_log/" in request.target else None

    with Proxy(server.endpoint_url, before=refuse_commits) as proxy:
        options = {**server.storage_options, "endpoint_url": proxy.url}
        dataset = tierlake.Dataset.open(ours.uri, fs=tierlake.LakeFileSystem(**options, skip_instance_cache=True))
        recorder.events.clear()
        with pytest.raises(LakeError) as caught:
            dataset.ingest(pa.table({"at": pa.array([86_400_000_000], pa.timestamp("us", "UTC")), "n": [2]}))
    error = caught.value
    assert (error.code, error.request_id) == ("access_denied", "R1")
    assert "R1" in str(error)
    assert len(recorder.reports_of("access_denied")) == 1
    assert recorder.reports_of("access_denied")[0].request_id == "R1"
