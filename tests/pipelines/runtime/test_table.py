"""A table of values."""

import pytest

from tierlake.pipelines.runtime.rows import Rows
from tierlake.pipelines.runtime.table import Table


def test_only_what_is_shown_becomes_cells() -> None:
    seen: list[int] = []

    def cells(number: int) -> tuple[str, ...]:
        seen.append(number)
        return (str(number),)

    assert Table([">n"], range(1000), cells, ("all",)).text(2) == "  n\n  0\n  1\n... and 998 more\nall"
    assert seen == [0, 1]


class Numbers(Rows[int]):
    __slots__ = ()

    NOUN = "number", "numbers"
    COLUMNS = (">n",)

    @staticmethod
    def cells(item: int) -> tuple[str, ...]:
        return (str(item),)


@pytest.mark.parametrize(
    ("numbers", "line", "text"),
    [
        ((), "<Numbers: no numbers>", "no numbers"),
        ((7,), "<Numbers: 1 number>", "n\n7"),
        (range(1200), "<Numbers: 1,200 numbers>", None),
    ],
)
def test_rows_are_a_tuple_that_prints(numbers: tuple[int, ...], line: str, text: str | None) -> None:
    rows = Numbers(numbers)
    assert rows == tuple(numbers)
    assert isinstance(rows, tuple)
    assert repr(rows) == line
    assert text is None or str(rows) == text
