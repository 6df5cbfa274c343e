"""What sensors remember between ticks is bounded, whatever the table has."""

from __future__ import annotations

import json

from tierlake.dagster_project.automation import restores
from tierlake.dagster_project.automation.sensors import Cursor
from tierlake.pipelines.tables.states import ListedRows, plain_state


def test_a_cursor_comes_back_as_it_was() -> None:
    cursor = Cursor("id@7", "20240101T000000Z-000000-00000000")
    assert Cursor.read(str(cursor)) == cursor


def test_a_plain_tables_state_of_very_many_objects_is_looked_at_anew() -> None:
    """Objects of the very second are named one by one in it: 100,000 were more than a megabyte of cursor."""
    rows = [ListedRows.of(f"date={number}/x.parquet", "1", 1000) for number in range(100_000)]
    few, many = (Cursor(plain_state(1000, some), "act") for some in (rows[:100], rows))
    assert Cursor.read(str(few)) == few
    assert len(str(many)) < 100_000
    assert Cursor.read(str(many)) == Cursor("", "act"), "without a state all is compared anew"


def test_open_waits_are_bounded() -> None:
    cursor = restores._Cursor(10**9, tuple(range(10**9, 10**9 + restores.OPEN)))
    assert restores._Cursor.read(str(cursor)) == cursor
    assert len(json.loads(str(cursor))["open"]) == restores.OPEN
    assert len(str(cursor)) < 16 * restores.OPEN
