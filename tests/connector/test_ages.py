"""Ages as people write them, in the connector's and in the datasets' specs."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from tierlake.connector.ages import format_age, parse_age, rounded_age
from tierlake.connector.errors import InvalidSetting
from tierlake.pipelines.model.spec import Duration

WRITTEN = {
    "30s": timedelta(seconds=30),
    "30m": timedelta(minutes=30),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    " 2w ": timedelta(weeks=2),
    "8 w": timedelta(weeks=8),
    "0d": timedelta(0),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_an_age_is_read_and_written_back(text: str) -> None:
    assert parse_age(text) == WRITTEN[text]
    assert parse_age(format_age(WRITTEN[text])) == WRITTEN[text]


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1d12h", "yesterday", "9" * 30 + "d", "9" * 5000 + "w"])
def test_what_is_no_age_is_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match="age") as refused:
        parse_age(text)
    assert text[:20] in str(refused.value)
    assert refused.value.hint == "Write 30m, 12h, 1d or 2w"


def test_an_age_is_written_in_the_largest_exact_unit_up_to_days() -> None:
    spans = [timedelta(0), timedelta(days=14), timedelta(hours=36), timedelta(minutes=90), timedelta(seconds=90)]
    assert [format_age(span) for span in spans] == ["0d", "14d", "36h", "90m", "90s"]
    assert [rounded_age(span) for span in spans] == ["0 h", "14 d", "36 h", "2 h", "0 h"]


def test_a_spec_takes_whole_hours() -> None:
    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    assert [adapter.dump_python(adapter.validate_python(text)) for text in ("36h", "8w")] == ["36h", "56d"]
    for wrong in ("90m", timedelta(minutes=90), "soon", "9" * 30 + "d"):
        with pytest.raises(ValidationError, match="write 12h, 30d or 8w"):
            adapter.validate_python(wrong)
