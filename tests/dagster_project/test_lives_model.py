"""Lives of a Dagster instance: whatever happens to runs, tables and people, Dagster says what is true two ticks later.

Assets are materialized, backfilled and executed again, expired, undone and tiered, by runs that are killed, terminated
and denied at any point, beside terminals, other writers, another code location, and upstreams that change while their
downstream works. The ledger knows what was acknowledged and what the downstream has read. After two ticks of the
daemon the tables, Dagster's events, status and GraphQL, data versions and the history agree, nothing due is left
without a reason, and nothing that the downstream has not read is gone by policy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.dagster_project.lives import World, worlds
from tests.dagster_project.lives_acts import (
    acts,
    again,
    care,
    change_source,
    daily,
    expire,
    later,
    monthly,
    notice,
    others,
    settle,
    terminal_expire,
    terminal_undo,
    tick,
    tier,
    undo,
)
from tests.dagster_project.lives_defs import DAYS, MONTHS
from tests.dagster_project.lives_life import TODAYS, Act, FateSpec, Life
from tests.servers import Rig

pytestmark = [
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    # in one process with its code locations, Dagster calls what it has deprecated itself, and what is in beta
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

CONFIG = """
telemetry: {enabled: false}
nux: {enabled: false}
python_logs: {python_log_level: CRITICAL}
run_launcher: {module: tests.dagster_project.fates, class: InTurn}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
Begin = Callable[[], World]
_log = logging.getLogger("tests.lives")


def machine_of(begin: Begin) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        life: Life

        @initialize(number=st.integers(0, 999), is_read=st.booleans(), today=st.sampled_from(TODAYS[1:]))
        def all_is_there(self, number: int, is_read: bool, today: date) -> None:
            assume(number)  # the simplest life comes first, and nothing happens in it
            self.life = Life(begin())
            self.life.do(change_source(DAYS, 2, ()))
            self.life.do(daily(DAYS))
            for month in MONTHS if is_read else ():
                self.life.do(monthly(month))
            self.life.do(later(today))

        @rule(act=acts())
        def act(self, act: Act) -> None:
            self.life.do(act)

        def teardown(self) -> None:
            if hasattr(self, "life") and not self.life.is_wrong:
                self.life.do(settle)
                _log.info("%s", "\n".join(self.life.log))

    return Machine


def check(begin: Begin, *, examples: int, steps: int, same: bool) -> None:
    run_state_machine_as_test(
        machine_of(begin),
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


@pytest.fixture
def lives(server: Rig, make_bucket, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Makes worlds on SQLite."""
    (dagster_home / "dagster.yaml").write_text(CONFIG)
    with (
        dg.DagsterInstance.get() as instance,
        worlds(instance, server, make_bucket(versioned=True), dagster_home, monkeypatch) as begin,
    ):
        yield begin


def test_dagster_says_what_is_true_two_ticks_later(lives: Begin, is_same: bool) -> None:
    check(lives, examples=1, steps=7, same=is_same)


JANUARY, LATE = DAYS[:2], TODAYS[2]
COMMITTED = FateSpec("killed", 0, "committed")

SEEN: dict[str, list[Act]] = {
    "all steps again, after a later one failed": [
        change_source(JANUARY, 2, ("plain",)),
        daily(JANUARY),
        change_source(JANUARY, 2, ()),
        again(0, "ALL_STEPS"),
    ],
    "what failed again, after a commit that nobody heard of": [
        change_source(JANUARY, 2, ()),
        daily(JANUARY, fate=COMMITTED),
        notice("failed"),
        change_source(JANUARY, 1, ()),
        again(0, "FROM_FAILURE"),
        again(1, "FROM_ASSET_FAILURE"),
    ],
    "a day changes while the month is summed up": [
        change_source(DAYS[:1], 1, ()),
        monthly(MONTHS[0], during=daily(DAYS[:1])),
        later(LATE),
        tick(),
    ],
    "the downstream expires first": [expire("months", ()), later(LATE)],
    "killed before the confirmation": [
        later(LATE),
        *(expire(name, (), COMMITTED) for name in ("days", "plain", "months")),
    ],
    "killed before the events": [
        later(LATE),
        *(expire(name, (), FateSpec("killed", 0, "event")) for name in ("days", "months")),
    ],
    "denied after the commit": [later(LATE), expire("days", (), FateSpec("denied", 0, "committed"))],
    "a person ends what a tick asked for": [later(LATE), tick(FateSpec("terminated", 0, "commit"))],
    "killed and nobody noticed": [later(LATE), tick(FateSpec("killed", 0, "commit"))],
    "young days are named": [expire("days", DAYS)],
    "an empty day gets old": [
        change_source(DAYS[:1], 0, ()),
        daily(JANUARY),
        monthly(MONTHS[0]),
        settle,
        later(LATE),
    ],
    "expired from a terminal, and brought back": [
        later(LATE),
        terminal_expire("days", sighted=True),
        monthly(MONTHS[0]),
        settle,
        terminal_undo("days", DAYS[0]),
    ],
    "an undo dies on the way": [
        later(LATE),
        terminal_expire("days", sighted=True),
        settle,
        undo("days", DAYS[0], COMMITTED),
        undo("days", DAYS[1], FateSpec("terminated", 0, "commit")),
    ],
    "others take, and others write": [
        others("days", DAYS[0], 0),
        others("plain", DAYS[1], 2),
        others("months", MONTHS[0], 0),
    ],
    "what changes no row": [
        later(TODAYS[1]),
        tier("days"),
        tier("plain", FateSpec("killed", 20)),
        care("days", "compact"),
    ],
}


ELSEWHERE = (
    "all steps again, after a later one failed",
    "a day changes while the month is summed up",
    "the downstream expires first",
    "young days are named",
    "others take, and others write",
    "what changes no row",
)
"""Lives whose single acts `test_reads` and `test_reconcile` look at."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name in ELSEWHERE else name for name in SEEN]
)
def test_lives_that_were_seen(lives: Begin, name: str) -> None:
    life = Life(lives())
    for act in (change_source(DAYS, 2, ()), daily(JANUARY), monthly(MONTHS[0]), *SEEN[name], settle):
        life.do(act)
