"""Each instant lies in the window that its key names, in every zone, at every change of a clock."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.pipelines.ingest.partitioner import Partitioner
from tierlake.pipelines.model.spec import PartitionSpec, TimePartition
from tierlake.pipelines.model.time_window import is_key, window_of
from tierlake.pipelines.model.time_zone import FIRST, LAST, clock_of

WIDTHS = ("hour", "day", "month", "year")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
AROUND = [0, -1, 1, *(sign * hours * 3_600_000_000 for sign in (-1, 1) for hours in (0.5, 1, 2, 12, 24, 26))]

# summer time, half and double hours, odd minutes and seconds, the date line crossed, changes at and past midnight
SOME = (
    "UTC",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/Caracas",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Goose_Bay",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Manila",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Amsterdam",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Kwajalein",
)


def us(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND


def changes(zone: str, first: int = 1900, last: int = 2100) -> list[int]:
    """The instants at which the clock is changed, by asking `zoneinfo` once a day."""
    info, step, found = ZoneInfo(zone), timedelta(days=1), []
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
    offset = at.astimezone(info).utcoffset()
    while at < end:
        then = at + step
        if (next_offset := then.astimezone(info).utcoffset()) != offset:
            low, high = at, then
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                low, high = (low, middle) if middle.astimezone(info).utcoffset() == next_offset else (middle, high)
            found.append(us(high))
            offset = next_offset
        at = then
    return found


def keys_of(instants: list[int], every: str, zone: str) -> list[str]:
    """The keys that a table with these instants, in order, is split into."""
    time = TimePartition(column="t", every=every, timezone=zone, key="k")
    table = pa.table({"t": pa.array(instants, pa.timestamp("us", "UTC")), "n": range(len(instants))})
    assigned = Partitioner(PartitionSpec(time=time)).assign(table)
    assert not assigned.bad.num_rows
    by_row = {n: key for key, part in assigned.parts() for n in part.column("n").to_pylist()}
    return [by_row[n].as_dict()["k"] for n in range(len(instants))]


def check_windows(zone: str, instants: list[int]) -> None:
    for every in WIDTHS:
        keys = keys_of(instants, every, zone)
        windows = {key: window_of(key, every, zone) for key in keys}
        for at, key in zip(instants, keys, strict=True):
            window = windows[key]
            assert window, (zone, key)
            assert us(window.start) <= at < us(window.end), (zone, every, key, at)
            assert is_key(key, every, zone), (zone, key)
        # just outside a window its neighbours begin and end: no gap, no overlap, no key twice
        edges = [edge for w in windows.values() for edge in (us(w.start) - 1, us(w.start), us(w.end) - 1, us(w.end))]
        beside = keys_of(edges, every, zone)
        for number, (key, window) in enumerate(windows.items()):
            before, first, last, after = beside[number * 4 : number * 4 + 4]
            assert first == last == key, (zone, every, key, first, last)
            assert before != key != after, (zone, every, key)
            assert window_of(before, every, zone).end == window.start, (zone, every, before, key)
            assert window_of(after, every, zone).start == window.end, (zone, every, key, after)
            local = window.start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            starts_as_it_says = key.startswith(
                local.isoformat()[: {"hour": 13, "day": 10, "month": 7, "year": 4}[every]]
            )
            assert starts_as_it_says, (zone, every, key, local)


@pytest.mark.slow
@pytest.mark.parametrize("zone", SOME)
def test_windows_at_every_change_of_a_clock(zone: str) -> None:
    instants = sorted({int(at + offset) for at in changes(zone) for offset in AROUND} | {0})
    check_windows(zone, instants)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("initial", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
def test_windows_at_every_change_of_every_clock(initial: str) -> None:
    zones = sorted(zone for zone in available_timezones() if zone.rpartition("/")[2][0].upper() == initial)
    for zone in zones:
        check_windows(zone, sorted({int(at + offset) for at in changes(zone) for offset in AROUND} | {0}))


def test_the_slow_test_has_every_zone() -> None:
    assert {zone.rpartition("/")[2][0].upper() for zone in available_timezones()} <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@settings(deadline=None)  # a year's table is made when the first time of that year comes
@given(
    st.lists(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC)), min_size=1, max_size=20),  # noqa: DTZ001
    st.sampled_from(SOME),
)
def test_a_clock_shows_what_python_says(instants: list[datetime], zone: str) -> None:
    walls, offsets, _ = clock_of(zone).read(np.array([us(at) for at in instants], np.int64))
    local = [at.astimezone(ZoneInfo(zone)) for at in instants]
    assert offsets.tolist() == [at.utcoffset() // MICROSECOND for at in local]
    assert walls.tolist() == [us(at.replace(tzinfo=UTC)) for at in local]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("every", WIDTHS)
def test_the_ends_of_the_calendar_have_keys(zone: str, every: str) -> None:
    day = 86_400_000_000
    for at in (FIRST + day, LAST - day):
        (key,) = keys_of([at], every, zone)
        window = window_of(key, every, zone)
        assert window is None or us(window.start) <= at < us(window.end)
    for key in ("0001-01-01T00", "0001-01-01", "0001-01", "0001", "9999-12-31T23", "9999-12-31", "9999-12", "9999"):
        window = window_of(key, every, zone)  # an answer or none, but no error
        assert window is None or window.start < window.end


def test_a_time_outside_the_calendar_of_its_zone_is_a_reject() -> None:
    spec = PartitionSpec(time=TimePartition(column="t", timezone="Asia/Tokyo"))
    table = pa.table(
        {"t": pa.array([FIRST, LAST, 0, FIRST - 1, -(1 << 63) + 2, (1 << 63) - 1], pa.timestamp("us", "UTC"))}
    )
    assigned = Partitioner(spec).assign(table)
    assert [str(key) for key, _ in assigned.keys] == ["date=0001-01-01", "date=1970-01-01"]
    # the last instant of the calendar is in the year 10000 in Tokyo, and the one before the first in its first day
    assert assigned.bad.column("t").cast(pa.int64()).to_pylist() == [LAST, -(1 << 63) + 2, (1 << 63) - 1]


def test_years_apart_cost_only_their_own_tables() -> None:
    clock = clock_of.__wrapped__("Europe/Berlin")
    clock.read(np.array([us(datetime(year, 7, 1, tzinfo=UTC)) for year in (2, 1970, 2013, 9999)], np.int64))
    assert sorted(clock._years) == [2, 1970, 2013, 9999]


def test_the_hours_of_an_autumn_night() -> None:
    first = us(datetime(2025, 10, 25, 22, tzinfo=UTC))
    keys = keys_of([first + hour * 3_600_000_000 for hour in range(6)], "hour", "Europe/Berlin")
    assert keys == [f"2025-10-26T{hour}" for hour in ("00", "01", "02", "02+0100", "03", "04")]
    assert sorted(keys) == keys
    windows = [window_of(key, "hour", "Europe/Berlin") for key in keys]
    assert all(one.end == other.start for one, other in pairwise(windows))
    assert {window.end - window.start for window in windows} == {timedelta(hours=1)}


def test_a_day_that_has_begun_goes_on_where_the_clock_goes_back_across_midnight() -> None:
    # 2010-11-07 00:01 was followed by 2010-11-06 23:01
    times = [datetime(2010, 11, 7, 2, minute, 30, tzinfo=UTC) for minute in (29, 30, 31, 59)]
    assert keys_of([us(at) for at in times], "day", "America/St_Johns") == ["2010-11-06"] + ["2010-11-07"] * 3
    assert keys_of([us(at) for at in times], "hour", "America/St_Johns") == [
        "2010-11-06T23",
        "2010-11-07T00",
        "2010-11-06T23-0330",
        "2010-11-06T23-0330",
    ]


def test_what_the_clock_skips_has_an_empty_window() -> None:
    for key, every, zone, at in (
        ("2025-03-30T02", "hour", "Europe/Berlin", datetime(2025, 3, 30, 1, tzinfo=UTC)),
        ("2011-12-30", "day", "Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ):
        window = window_of(key, every, zone)
        assert window.start == window.end == at


def test_an_offset_that_the_zone_has_not_names_no_hour() -> None:
    for key in ("2025-10-26T02+0200", "2025-10-26T03+0100", "2025-10-26T02+01", "2025-07-01T02+0200", "2025-10-26T02Z"):
        assert window_of(key, "hour", "Europe/Berlin") is None
        assert not is_key(key, "hour", "Europe/Berlin")


def test_other_writers_midnights_are_days_and_their_full_hours_are_hours() -> None:
    day, hour = window_of("2013-07-04", "day", "UTC"), window_of("2013-07-04T05", "hour", "UTC")
    assert (
        window_of("2013-07-04 00:00:00", "day", "UTC") == window_of("2013-07-04T00:00:00.000000", "day", "UTC") == day
    )
    assert window_of("2013-07-04 05:00:00", "hour", "UTC") == hour
    assert window_of("2013-07-04 05:00:00", "day", "UTC") is None
    assert window_of("2013-07-04 05:00:01", "hour", "UTC") is None
    assert not is_key("2013-07-04 00:00:00", "day", "UTC")
