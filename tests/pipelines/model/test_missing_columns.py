"""A column that data lacks: the separator, the case, the header or the spelling that was meant."""

import pytest

from tierlake.pipelines.model.missing_columns import is_value, missing_hint


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["at;city;fare"], "separated by ';': say --delimiter ';', or in the spec text: {delimiter: \";\"}"),
        (["city\tat"], "separated by '\\t': say --delimiter '\\t'"),
        (["x|y", "city|at"], "separated by '|'"),
        (["x", "city:at"], "it has: x, city:at"),
        (["v", "2012", "2013"], "it has: v, 2012, 2013"),
        (["at,city"], "separated by ','"),
        (['"at"^"city"'], "separated by '^'"),
        (["AT", "city"], "it has 'AT': rename that to 'at'"),
        ([" at", "city"], "it has ' at': rename that to 'at'"),
        (["2013-01-01T10:00:00Z", "JFK"], "its first line looks like a row: name its columns in the spec"),
        (["att", "city"], "did you mean 'att'? Rename it to 'at' in the source; it has: att, city"),
        (["city", "fare"], "it has: city, fare"),
        ([f"c{number}" for number in range(30)], "c19 and 10 more"),
    ],
)
def test_what_may_be_meant(names, says):
    hint = missing_hint("at", names)
    assert says in hint
    assert "\n" not in hint


@pytest.mark.parametrize("name", ["1", "-2.5", "1,5", "2013-01-01", "2013-01-01 10:00", "2013-01-01T10:00:00Z"])
def test_values(name):
    assert is_value(name)
    assert not is_value(f"c{name}")
