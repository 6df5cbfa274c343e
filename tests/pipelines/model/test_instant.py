"""Instants of stored values have an offset, and arithmetic ends where the calendar does."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.age import next_step
from tierlake.pipelines.model.instant import LAST, Instant, instant_after
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.time_window import window_of

AT = datetime(2013, 7, 4, tzinfo=UTC)


def test_a_sum_ends_with_the_calendar():
    assert instant_after(AT, timedelta(days=1)) == datetime(2013, 7, 5, tzinfo=UTC)
    assert instant_after(AT, timedelta.max) == LAST
    assert instant_after(datetime(9999, 12, 31, 23, tzinfo=UTC), timedelta(0)) == LAST


@pytest.mark.parametrize("text", ["2013-07-04T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_no_clock_can_compare_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(f'"{text}"')


def test_a_partition_at_the_end_of_the_calendar_has_a_next_step():
    spec = DatasetSpec(uri="lake://w/t", partition={"time": {"column": "at"}}, retention={"expire_after": "300d"})
    window = window_of("9999-12-30", "day", "America/New_York")
    step = next_step(spec, timedelta(days=-1))
    assert window is not None
    assert step is not None
    assert step.at(window) == LAST


def test_a_span_of_more_than_a_thousand_years_is_a_mistake():
    with pytest.raises(SpecError, match="longer than 365000 days"):
        DatasetSpec(uri="lake://w/t", partition={"time": {"column": "at"}}, retention={"grace": "9999999d"})
