"""The span of time that a key value names."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.time_window import KEY_FORMATS, as_instant, is_key, window_of

ZONES = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Dublin"])
DAYS = st.dates(date(1950, 1, 1), date(2150, 12, 31))


@given(DAYS, ZONES)
def test_days_follow_each_other_without_gap_or_overlap(day, zone):
    today = window_of(day.isoformat(), "day", zone)
    tomorrow = window_of((day + timedelta(days=1)).isoformat(), "day", zone)
    assert today.end == tomorrow.start
    assert timedelta(hours=20) < today.end.astimezone(UTC) - today.start.astimezone(UTC) < timedelta(hours=28)


@given(DAYS, ZONES, st.sampled_from(["month", "year"]))
def test_a_day_lies_in_its_month_and_year(day, zone, every):
    inner, outer = window_of(day.isoformat(), "day", zone), window_of(day.strftime(KEY_FORMATS[every]), every, zone)
    assert outer.start <= inner.start < inner.end <= outer.end


@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-07-04", 24)])
def test_a_clock_change_shortens_or_lengthens_the_day(day, hours):
    window = window_of(day, "day", "America/New_York")
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=hours)


def test_an_hour_is_an_hour_even_at_a_clock_change():
    window = window_of("2013-11-03T01", "hour", "America/New_York")
    assert window.end - window.start == timedelta(hours=1)


def test_age_counts_from_the_end_of_the_window():
    window = window_of("2013-07-04", "day", "UTC")
    assert window.age(datetime(2013, 7, 6, tzinfo=UTC)) == timedelta(days=1)
    assert window.age(datetime(2013, 7, 4, 12, tzinfo=UTC)) < timedelta(0)


@pytest.mark.parametrize(("value", "every"), [("", "day"), ("2013-13-01", "day"), ("soon", "year"), ("2013-07", "day")])
def test_foreign_values_have_no_window(value, every):
    assert window_of(value, every, "UTC") is None


def test_a_date_means_its_start_in_the_datasets_timezone():
    assert as_instant("2014-01-01", "America/New_York") == datetime(2014, 1, 1, 5, tzinfo=UTC)
    assert as_instant(date(2014, 1, 1), "America/New_York") == datetime(2014, 1, 1, 5, tzinfo=UTC)
    assert as_instant("2014-01-01T00:00:00+00:00", "America/New_York") == datetime(2014, 1, 1, tzinfo=UTC)


def test_text_that_is_no_date_is_refused():
    with pytest.raises(SpecError, match="'tomorrow' is neither a date nor an instant"):
        as_instant("tomorrow", "UTC")


@pytest.mark.parametrize(
    ("value", "every", "zone", "same_as"),
    [
        ("2024-01-05 00:00:00", "day", "UTC", "2024-01-05"),
        ("2024-01-05 00:00:00.000000", "day", "Asia/Kolkata", "2024-01-05"),
        ("2024-01-05T00:00:00.000000Z", "day", "UTC", "2024-01-05"),
        ("2024-01-05 00:00:00+00:00", "day", "UTC", "2024-01-05"),
        ("2024-01-05 00:00:00 UTC", "day", "UTC", "2024-01-05"),
        ("2024-01-04T18:30:00Z", "day", "Asia/Kolkata", "2024-01-05"),
        ("2024-01-05T00:00:00+05:30", "day", "Asia/Kolkata", "2024-01-05"),
        ("2024-01-05T00:00:00+0530", "day", "Asia/Kolkata", "2024-01-05"),
        ("2024-01-05 13:00:00", "hour", "UTC", "2024-01-05T13"),
        ("2024-01-05 13:00", "hour", "UTC", "2024-01-05T13"),
        ("2024-01-05T13:00:00.000Z", "hour", "UTC", "2024-01-05T13"),
        ("2013-11-03T05:00:00Z", "hour", "America/New_York", "2013-11-03T01"),
        ("2013-11-03T06:00:00Z", "hour", "America/New_York", "2013-11-03T01-0500"),
        ("2024-02-01", "month", "UTC", "2024-02"),
        ("2024-02-01 00:00:00", "month", "Europe/Berlin", "2024-02"),
        ("2024-01-31T23:00:00Z", "month", "Europe/Berlin", "2024-02"),
        ("2024-01-01", "year", "UTC", "2024"),
    ],
)
def test_other_writers_dates_and_timestamps_have_windows(value, every, zone, same_as):
    expected = window_of(same_as, every, zone)
    assert expected is not None
    assert window_of(value, every, zone) == expected
    assert not is_key(value, every, zone)


@pytest.mark.parametrize(
    ("value", "every", "zone"),
    [
        ("2024-01-05 13:00:00", "day", "UTC"),
        ("2024-01-05 13:30:00", "hour", "UTC"),
        ("2024-01-05 13:00:01", "hour", "UTC"),
        ("2024-01-05", "hour", "UTC"),
        ("2024-01-05", "month", "UTC"),
        ("2024-02-01", "year", "UTC"),
        ("2024-01-05T00:00:00Z", "day", "Asia/Kolkata"),
        ("2024-01-05T13:00:00Z", "hour", "Asia/Kolkata"),
        ("2024-01-05T00:00:00.5Z", "day", "UTC"),
        ("2024-02-30 00:00:00", "day", "UTC"),
        ("2024-01-05 24:00:00", "day", "UTC"),
        ("2024-01-05T00:00:00+99:99", "day", "UTC"),
        ("0001-01-01T00:00:00+14:00", "day", "UTC"),
        ("9999-12-31T00:00:00Z", "day", "UTC"),
    ],
)
def test_what_names_no_window_of_that_width_and_zone_has_none(value, every, zone):
    assert window_of(value, every, zone) is None


@given(DAYS, ZONES, st.sampled_from(list(KEY_FORMATS)))
def test_the_instant_at_which_a_window_begins_names_it(day, zone, every):
    window = window_of(day.strftime(KEY_FORMATS[every]), every, zone)
    told = window.start.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if window.start < window.end and window.start.second == 0:
        assert window_of(told, every, zone) == window
