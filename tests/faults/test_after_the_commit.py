"""A store that fails once a commit is made: the act succeeds and notes it, or says so, and is never made twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector import LakeFileSystem
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import CommitUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.answers import Answer
    from tests.faults.proxy import Request
    from tests.servers import Rig

AS_OF = "2013-10-30"
"""The first two days are past 300 d."""

DAY = "date=2013-01-01"
DENIED = Refusal("403 Forbidden", "AccessDenied", "REQUEST-1")
COMMITS = {"delta": ("PUT", "/_delta_log/0"), "parquet": ("PUT", "/_lake/runs/")}


class After:
    """Denies requests by their method from the commit on."""

    def __init__(self, table_format: str, methods: str) -> None:
        self._commit = COMMITS[table_format]
        self._methods = methods.split()
        self.is_made = False

    def before(self, request: Request) -> Answer | None:
        if not self.is_made or request.method not in self._methods:
            return None
        return replace(DENIED, is_head=request.method == "HEAD")

    def after(self, request: Request) -> None:
        method, part = self._commit
        self.is_made = self.is_made or (request.method == method and part in request.target)


@pytest.fixture
def bucket(seaweedfs: Rig) -> Iterator[str]:
    name = seaweedfs.make_bucket(versioned=True)
    yield name
    seaweedfs.drop_bucket(name)


def opened(rig: Rig, uri: str, endpoint_url: str) -> Dataset:
    options: dict[str, Any] = {**rig.storage_options, "endpoint_url": endpoint_url}
    return Dataset.open(uri, fs=LakeFileSystem(**options, max_retries=0, retry_seconds=0, skip_instance_cache=True))


def created(rig: Rig, bucket: str, table_format: str) -> Dataset:
    spec = trip_spec(bucket, format=table_format)
    dataset = Dataset.create(spec, fs=LakeFileSystem(**rig.storage_options, skip_instance_cache=True))
    dataset.ingest(make_trips(days=4, each=5))
    return dataset


def outcome(act: Any) -> Any:
    """What it returned, or that nobody knows whether the commit was made."""
    try:
        return act()
    except CommitUnknown as unknown:
        return unknown


@pytest.mark.slow
@pytest.mark.parametrize("methods", ["PUT POST DELETE", "GET HEAD PUT POST DELETE"], ids=["writes", "all"])
def test_a_delta_table_whose_store_denies_what_comes_after_its_commits(seaweedfs, bucket, methods) -> None:
    clean = created(seaweedfs, bucket, "delta")

    def tried(act: str) -> Any:
        hook = After("delta", methods)
        with Proxy(seaweedfs.endpoint_url, hook.before, hook.after) as proxy:
            dataset = opened(seaweedfs, clean.uri, proxy.url)
            acts: dict[str, Any] = {
                "ingest": lambda: dataset.ingest(make_trips(days=4, each=6), run_key="the-run"),
                "expire": lambda: dataset.plan_expiry(AS_OF).apply(),
                "undo": lambda: dataset.undo_expiry(DAY),
                "compact": dataset.compact,
            }
            result = outcome(acts[act])
        if isinstance(result, CommitUnknown):
            assert (bool(result.hint), result.request_id) == (True, "REQUEST-1")
        return result

    first = tried("ingest")
    version = clean.history()[0].version
    if methods == "PUT POST DELETE":
        assert (first.committed, first.version) == (True, version)
        assert [note for note in first.notes if "journal" in note and "REQUEST-1" in note]
        assert "done, but the journal" in str(first)
    again = clean.ingest(make_trips(days=4, each=6), run_key="the-run")
    assert (again.committed, again.version) == (False, version)
    assert clean.read().num_rows == 24
    assert clean.undo(DAY)[0].changed  # the log says what the journal could not be told
    assert clean.read().num_rows == 23

    expired = tried("expire")
    if methods == "PUT POST DELETE":
        assert (len(expired.done), expired.ok) == (2, True)
        assert [note for note in expired.notes if "journal" in note]
    assert clean.plan_expiry(AS_OF).steps == ()
    assert clean.read().num_rows == 12

    back = tried("undo")
    if methods == "PUT POST DELETE":
        assert back.changed
        assert [note for note in back.notes if "journal" in note]
    assert not clean.undo_expiry(DAY).changed
    assert clean.read().num_rows == 17


def test_a_plain_table_whose_store_denies_what_comes_after_its_run_record(seaweedfs, bucket) -> None:
    clean = created(seaweedfs, bucket, "parquet")
    hook = After("parquet", "PUT POST DELETE")
    with Proxy(seaweedfs.endpoint_url, hook.before, hook.after) as proxy:
        first = opened(seaweedfs, clean.uri, proxy.url).ingest(make_trips(days=4, each=6), run_key="the-run")
    assert first.committed
    assert [note for note in first.notes if "journal" in note]
    again = clean.ingest(make_trips(days=4, each=6), run_key="the-run")
    assert (again.committed, clean.read().num_rows) == (False, 24)
    assert clean.undo(DAY)[0].changed
