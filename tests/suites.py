"""The three suites: quick (`make test`), slow (`make test-slow`) and soak (`make soak`). Each case is in one of them.

A test's marker names its suite; without one it is quick. Where a test needs a server and has several cases (servers,
formats, kinds), its suite does not run all of them:

- quick runs one, on SeaweedFS where there is a choice; which of the other values it has is spread by the test's name.
- slow runs the cases that bring values which none before them has: each server, each format, each kind, in few cases.
- soak runs the other combinations.

`each_value` on a test or a module: quick runs slow's share of it too, because servers differ there, or the values are
the point.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["assign_suites"]

SERVERS = frozenset({"minio", "minio_tiers", "minio_tls", "moto", "seaweedfs", "server"})
"""The fixtures that start a server."""


def assign_suites(items: Iterable[pytest.Item]) -> None:
    """Marks as slow or soak what the quick suite leaves to them; soak wins over slow."""
    tests: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("soak"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for name, cases in tests.items():
        if len(cases) > 1 and all(SERVERS.intersection(_fixtures(case)) for case in cases):
            _assign(name, cases)


def _assign(name: str, cases: Sequence[pytest.Item]) -> None:
    one = _one(name, cases)
    each = _each_value(one, cases)
    quick = each if one.get_closest_marker("each_value") else [one]
    for case in cases:
        if case not in each:
            case.add_marker(pytest.mark.soak)
        elif case not in quick:
            case.add_marker(pytest.mark.slow)


def _one(name: str, cases: Sequence[pytest.Item]) -> pytest.Item:
    unmarked = [case for case in cases if not case.get_closest_marker("slow")] or cases
    choice = [case for case in unmarked if not _is_on_minio(case)] or unmarked
    return choice[crc32(name.encode()) % len(choice)]


def _each_value(first: pytest.Item, cases: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The first case, and then always the one that brings the most values which are still missing.

    One that is marked slow by itself comes last: what it brings would be missing in the quick suite.
    """
    values = {case: _values(case) for case in cases}
    missing = set().union(*values.values()) - values[first]
    chosen = [first]
    while missing:
        news = {case: len(values[case] & missing) for case in values}
        quick = [case for case in news if news[case] and not case.get_closest_marker("slow")]
        chosen.append(max(quick or news, key=news.__getitem__))
        missing -= values[chosen[-1]]
    return chosen


def _values(case: pytest.Item) -> set[tuple[str, int]]:
    """Its parameters; a value is known by its identity: many have no equality, and the cases share them."""
    spec = getattr(case, "callspec", None)
    return {(name, id(value)) for name, value in spec.params.items()} if spec else set()


def _is_on_minio(case: pytest.Item) -> bool:
    spec = getattr(case, "callspec", None)
    return spec is not None and spec.params.get("server") == "minio"


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())
