"""The rule that spreads a test's cases over the three suites."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from tests.suites import assign_suites

SERVERS = ("seaweedfs", "minio")
FORMATS = ("delta", "parquet", "theirs")


class Case:
    """As much of a pytest item as the rule looks at."""

    fixturenames = ("server",)

    def __init__(self, name: str, *marks: str, **params: str) -> None:
        self.nodeid = f"tests/test_x.py::{name}[{'-'.join(params.values())}]"
        self.callspec = SimpleNamespace(params=params)
        self.marks = list(marks)

    def get_closest_marker(self, name: str) -> bool:
        return name in self.marks

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.marks.append(mark.name)

    @property
    def suite(self) -> str:
        return next((suite for suite in ("soak", "slow") if suite in self.marks), "quick")


def product(name: str, *marks: str) -> list[Case]:
    return [Case(name, *marks, server=server, kind=kind) for server, kind in itertools.product(SERVERS, FORMATS)]


def values(cases: list[Case], *suites: str) -> set[str]:
    return {value for case in cases if case.suite in suites for value in case.callspec.params.values()}


def counts(cases: list[Case]) -> tuple[int, int, int]:
    assign_suites(cases)
    suites = [case.suite for case in cases]
    return suites.count("quick"), suites.count("slow"), suites.count("soak")


def test_quick_runs_one_case_and_slow_brings_the_other_values():
    cases = product("test_it")
    assert counts(cases) == (1, 2, 3)
    assert values(cases, "quick").isdisjoint({"minio"})
    assert values(cases, "quick", "slow") == {*SERVERS, *FORMATS}


def test_which_case_is_spread_over_the_tests():
    tests = [product(f"test_{number}") for number in range(20)]
    assign_suites(itertools.chain(*tests))
    assert {value for cases in tests for value in values(cases, "quick")} == {"seaweedfs", *FORMATS}


def test_each_value_gives_slows_share_to_quick():
    assert counts(product("test_it", "each_value")) == (3, 0, 3)


def test_a_slow_test_is_spread_over_slow_and_soak():
    cases = product("test_it", "slow")
    assert counts(cases) == (0, 3, 3)
    assert values(cases, "slow") == {*SERVERS, *FORMATS}


def test_marks_on_single_cases_stay():
    cases = product("test_it")
    for case in cases[:2]:
        case.marks.append("soak")
    cases[2].marks.append("slow")
    assign_suites(cases)
    assert [case.suite for case in cases[:3]] == ["soak", "soak", "slow"]


@pytest.mark.parametrize("marks", [(), ("slow",), ("soak",)])
def test_without_a_server_the_marks_alone_decide(marks, monkeypatch):
    monkeypatch.setattr(Case, "fixturenames", ())
    cases = product("test_it", *marks)
    assign_suites(cases)
    assert {case.suite for case in cases} == {marks[0] if marks else "quick"}
