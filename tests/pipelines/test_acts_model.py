"""All acts meet, in either format, with and without versions: nothing acknowledged is lost, nothing comes back twice.

Two sessions hold their own looks. An act of one is interrupted at any of its requests, or right before its commit, by
acts of the other, and by clocks that jump: a suspended process is an act that is interrupted for long. The oracle knows
what was acknowledged. What readers see afterwards must be what one of the orders of the acknowledged acts makes of it,
and an act may only take away what it saw. What is held, and what left within its grace, is in the store, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import tierlake.pipelines.prices
from tests.pipelines.acts import Act, acts
from tests.pipelines.world import Origin, Place, World


def machine_of(place: Place) -> type[RuleBasedStateMachine]:
    choices = acts(archives=place.archives)
    # a plain dataset that is adopted becomes a Delta table
    origins = ["ours", "ours", "delta", "hive"] if place.table_format == "delta" else ["ours"]

    class Machine(RuleBasedStateMachine):
        @initialize(origin=st.sampled_from(origins))
        def begin(self, origin: Origin) -> None:
            self.world = World(place, origin)

        @rule(act=choices, by=st.integers(0, 1))
        def do(self, act: Act, by: int) -> None:
            self.world.do(act, by, (), None)

        @rule(
            act=choices,
            by=st.integers(0, 1),
            intruders=st.lists(choices, min_size=1, max_size=2).map(tuple),
            at=st.none() | st.integers(0, 20),
        )
        def race(self, act: Act, by: int, intruders: tuple[Act, ...], at: int | None) -> None:
            self.world.do(act, by, intruders, at)

    return Machine


def check(place: Place, *, examples: int, steps: int, same: bool) -> None:
    run_state_machine_as_test(
        machine_of(place),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=(Phase.explicit, Phase.generate),
            derandomize=same,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def is_same(request) -> bool:
    """The same lives each time; `--hypothesis-seed=random` has others, to look for more."""
    return request.config.getoption("--hypothesis-seed") is None


PLACES = pytest.mark.parametrize(
    ("table_format", "versioned"),
    [("delta", False), ("delta", True), ("parquet", False), ("parquet", True)],
    ids=["delta", "delta-versioned", "plain", "plain-versioned"],
)
ARCHIVES = pytest.mark.parametrize("table_format", ["delta", "parquet"], ids=["moto-delta", "moto-plain"])


@pytest.fixture
def archive_bucket(moto, monkeypatch):
    """A versioned bucket where classes are archived, and no price forbids to move small files there."""
    monkeypatch.setenv("TIERLAKE_PRICES", str(Path(tierlake.pipelines.prices.__file__).with_name("self_hosted.json")))
    bucket = moto.make_bucket(versioned=True)
    yield bucket
    moto.drop_bucket(bucket)


@pytest.mark.slow
@PLACES
def test_nothing_acknowledged_is_lost(server, make_bucket, is_same, table_format, versioned):
    place = Place(server, make_bucket(versioned=versioned), table_format, versioned)
    check(place, examples=2, steps=12, same=is_same)


@pytest.mark.slow
@ARCHIVES
def test_nothing_acknowledged_is_lost_with_archived_days(moto, archive_bucket, is_same, table_format):
    check(Place(moto, archive_bucket, table_format, versioned=True, archives=True), examples=1, steps=12, same=is_same)


@pytest.mark.soak
@PLACES
def test_nothing_acknowledged_is_lost_in_many_lives(server, make_bucket, is_same, table_format, versioned):
    place = Place(server, make_bucket(versioned=versioned), table_format, versioned)
    check(place, examples=2, steps=20, same=is_same)
