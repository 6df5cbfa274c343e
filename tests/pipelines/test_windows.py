"""The span of time that a key value names."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import SpecError
from pipelines.windows import KEY_FORMATS, as_instant, window_of

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
