"""The phases of the large verbs, as an operator sees them in a trace: a handful each."""

import pytest

from tests.pipelines.conftest import make_trips
from tierlake.connector.observe import tracing


@pytest.fixture(scope="session")
def server(seaweedfs):
    """What differs between the servers is tested without traces."""
    return seaweedfs


@pytest.fixture
def phases(recorder):
    """The names of the spans inside a verb, each with its parent's; all of them end within it."""

    def inside(verb) -> set[tuple[str, str]]:
        recorder.events.clear()
        verb()
        by_id = {one.span.span_id: one for one in recorder.spans}
        (root,) = (one for one in recorder.spans if one.parent_id is None)
        inner = [one for one in recorder.spans if one is not root]
        for one in (*inner, *recorder.requests):
            assert one.parent_id in by_id
        assert len(inner) < 15
        return {(by_id[one.parent_id].name, one.name) for one in inner}

    return inside


def test_of_a_tables_life(delta, phases) -> None:
    assert phases(lambda: delta.ingest(make_trips())) == {
        ("dataset.ingest", "ingest.prepare"),
        ("dataset.ingest", "ingest.read"),
        ("dataset.ingest", "ingest.write"),
        ("dataset.ingest", "ingest.commit"),
        ("ingest.prepare", "deltalake.open"),
        ("ingest.commit", "deltalake.open"),
        ("ingest.commit", "deltalake.commit"),
    }
    delta.ingest(make_trips(), mode="append")
    assert phases(delta.read) == {
        ("dataset.read", "read.plan"),
        ("dataset.read", "read.rows"),
        ("read.plan", "deltalake.open"),
    }
    compacted = phases(delta.compact)
    assert compacted >= {
        ("dataset.compact", f"{name}") for name in ("compact.plan", "compact.rewrite", "rewrite.commit")
    }
    assert ("rewrite.commit", "deltalake.commit") in compacted
    assert phases(delta.plan_tiering().apply) >= {("dataset.apply", "tiering.plan"), ("dataset.apply", "tiering.move")}
    expired = phases(delta.plan_expiry().apply)
    assert expired >= {("dataset.apply", "expiry.check"), ("dataset.apply", "expiry.commit")}
    assert phases(delta.vacuum) >= {
        ("dataset.vacuum", name) for name in ("vacuum.list", "vacuum.delete", "vacuum.fold")
    }
    assert phases(delta.verify) >= {
        ("dataset.verify", name) for name in ("verify.list", "verify.encryption", "verify.history")
    }


def test_a_phase_that_nobody_observes_is_none(delta) -> None:
    delta.ingest(make_trips())
    assert not tracing.has_span()
