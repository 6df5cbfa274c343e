"""Which partitions a caller means: exact keys, ranges, patterns, and a span of time.

A key is written as `ls` prints it. Each of its values may also be a range or a pattern:

    date=2013-07-04                          one partition
    date=2013-01-01..2013-02-28              a range, both ends included; `2013-01-01..` and `..2013-02-28` are open
    date=2013-01*                            a pattern: `*` any text, `?` one character, `[a-c]` one of these
    date=2013-01-01..2013-01-31/origin=JFK   a column each; a column that is left out may have any value

A range compares values in the type of their column: numbers as numbers, windows of time by their time, so that
`hour=2013-11-03T00..` knows the two hours of the autumn night. An end of a range of time may be wider than the
partitions: `2013-01..2013-02` is each day of the two months. Numbers in a column of text, of which 10 lies before 9,
have no ranges. Null is in no range; `..` is every value but null, and `*` every value.

Values that hold `..`, `*`, `?` or `[` stay reachable: where a partition has just that value, it is meant, and neither
range nor pattern; and what is percent-encoded, as `ls` prints `*` (`%2A`), is always literal (`..` is `%2E%2E`).

`since` and `until` go by the partitions' windows in the dataset's timezone: windows that begin at `since` or later, and
end by the end of `until` where that is a date (so that day is included), or by that instant.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, get_args

from tierlake.connector.nearest import did_you_mean
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey, typed, unescape_value
from tierlake.pipelines.model.time_window import Every, as_instant, start_of_key, window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pyarrow as pa

    from tierlake.pipelines.model.spec import DatasetSpec, TimePartition

__all__ = ["KeyText", "Keys", "Selection"]

_TO: Final = ".."
_WILD: Final = re.compile(r"[*?\[]")
_ENCODED: Final = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_SHOWN: Final = 5
_WIDTHS: Final[tuple[Every, ...]] = get_args(Every)


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as it is written, each value of which may be a range or a pattern.

    Attributes:
        text: The whole of it.
        terms: Column and text of each value, still encoded.
        key: The partition with just these texts as its values.
    """

    text: str
    terms: tuple[tuple[str, str], ...]
    key: PartitionKey

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key.

        Raises:
            SpecError: A segment without `=`, or a column that comes twice.
        """
        key = PartitionKey.parse(text)  # its checks
        if len(set(key.columns)) < len(key.columns):
            raise SpecError(f"{text!r} names a column twice", hint="give several keys instead: they add up")
        segments = text.strip("/").split("/") if text else []
        return cls(text, tuple((name, value) for name, _, value in (one.partition("=") for one in segments)), key)

    @property
    def is_plain(self) -> bool:
        """Whether no value is a range or a pattern."""
        return all(map(_is_plain, (value for _, value in self.terms)))

    def is_exact(self, spec: DatasetSpec) -> bool:
        """Whether it can name but one partition. A key with columns that the dataset lacks counts as one."""
        if not self.is_plain:
            return False
        by = spec.partition.columns
        return self.key.columns == by or not self.terms or not set(self.key.columns) < set(by)

    def among(
        self, spec: DatasetSpec, schema: pa.Schema | None, candidates: Collection[PartitionKey]
    ) -> list[PartitionKey]:
        """Those of some partitions that it names, in their order.

        Args:
            spec: The dataset's spec.
            schema: Of the table: types in which values are compared.
            candidates: The partitions to choose from.

        Raises:
            UnknownPartition: A column that the dataset is not partitioned by.
            SpecError: A range whose end is no value of its column, or that ends before it begins.
        """
        self._check_columns(spec)
        if not candidates:
            return []
        chosen = list(candidates)
        for column, text in self.terms:
            # of all candidates, not of those that are left: a wrong range is an error whatever it stands beside
            values = {key.value(column) or "" for key in candidates}
            matching = _matching(column, text, _Order.of(column, spec, schema), values)
            chosen = [key for key in chosen if (key.value(column) or "") in matching]
        return chosen

    def _check_columns(self, spec: DatasetSpec) -> None:
        columns = spec.partition.columns
        strange = next((column for column, _ in self.terms if column not in columns), None)
        if strange is None:
            return
        if not columns:
            raise UnknownPartition(f"{spec.uri} is not partitioned, so {self.text} names nothing", hint="leave it out")
        raise UnknownPartition(
            f"{spec.uri} is not partitioned by {strange!r}, but by {', '.join(columns)}",
            hint=did_you_mean(strange, columns, likeness=0.5) or f"write {columns[0]}=...",
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Some partitions of a dataset: those that any of the keys names, and that lie within a span of time.

    flights.undo(Selection(("date=2013-01*", "date=2013-03-01"), since="2013-01-05"))

    Attributes:
        keys: Key texts, which may be ranges and patterns, and keys, which never are; none means all partitions.
        since: Only windows that begin then or later; a date is the start of that day in the dataset's timezone.
        until: Only windows that end by then; a date includes that whole day.
    """

    keys: tuple[str | PartitionKey, ...] = ()
    since: datetime | date | str | None = None
    until: datetime | date | str | None = None

    @classmethod
    @reporting
    def of(cls, keys: Keys | None) -> Selection:
        """The selection that any form of an argument stands for; None is all.

        Raises:
            SpecError: An empty collection of keys, which nobody means as all.
        """
        return cls() if keys is None else cls._of(keys, "leave the keys out where all are meant")

    @classmethod
    @reporting
    def named(cls, keys: Keys | None) -> Selection:
        """The selection of a verb that acts, for which all have to be named as well: by a `Selection()`.

        Raises:
            SpecError: None, or an empty collection of keys.
        """
        return cls._of(() if keys is None else keys, "name each, a range or a pattern; `Selection()` is all of them")

    @classmethod
    def _of(cls, keys: Keys, hint: str) -> Selection:
        if isinstance(keys, Selection):
            return keys
        given = (keys,) if isinstance(keys, str | PartitionKey) else tuple(keys)
        if not given:
            raise SpecError("no partition is named", hint=hint)
        return cls(given)

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.keys and self.since is None and self.until is None

    def exact(self, spec: DatasetSpec) -> tuple[PartitionKey, ...] | None:
        """The partitions that it names one by one, each once; None where it has to look at what there is."""
        if not self.keys or self.since is not None or self.until is not None:
            return None
        exact: dict[PartitionKey, None] = {}
        for key in self.keys:
            if isinstance(key, str):
                text = KeyText.parse(key)
                if not text.is_exact(spec):
                    return None
                key = text.key  # noqa: PLW2901 - the same in another type
            exact[key] = None
        return tuple(exact)

    def parted(self, spec: DatasetSpec) -> tuple[Selection | None, list[Selection]]:
        """The same in parts, which add up: all exact keys together, and each of the others.

        Args:
            spec: Of the dataset; its columns say which keys are whole.
        """
        if not self.keys:
            return None, [self]
        exact: list[str | PartitionKey] = []
        others: list[Selection] = []
        for key in self.keys:
            if isinstance(key, PartitionKey) or KeyText.parse(key).is_exact(spec):
                exact.append(key)
            else:
                others.append(replace(self, keys=(key,)))
        return replace(self, keys=tuple(exact)) if exact else None, others

    @reporting
    def within(self, spec: DatasetSpec) -> Callable[[PartitionKey], bool] | None:
        """Whether a partition's window lies in the span; None where all do.

        Raises:
            SpecError: A span of a dataset without windows of time, a bound that is neither a date nor an instant, or a
                span that ends before it begins.
        """
        if self.since is None and self.until is None:
            return None
        time = spec.partition.time
        if time is None:
            message = f"{spec.uri} is not partitioned by time: nothing lies since or until then"
            raise SpecError(message, hint="name partitions by KEY")
        since = None if self.since is None else as_instant(self.since, time.timezone)
        until = None if self.until is None else _end_of(self.until, time.timezone)
        if since is not None and until is not None and since >= until:
            message = f"nothing lies between {self.since} and {self.until}: the span ends before it begins"
            raise SpecError(message, hint="give the earlier one as since")

        def lies_in(key: PartitionKey) -> bool:
            place = _window_place(key.value(time.key) or "", time)
            return place is not None and (since is None or place[0] >= since) and (until is None or place[1] <= until)

        return lies_in

    def __str__(self) -> str:
        """For people, as it could be typed."""
        parts = [str(key) or "(all)" for key in self.keys[:_SHOWN]]
        parts += [f"and {len(self.keys) - _SHOWN:,} more"] if len(self.keys) > _SHOWN else []
        parts += [f"since {self.since}"] if self.since is not None else []
        parts += [f"until {self.until}"] if self.until is not None else []
        return " ".join(parts) or "all partitions"


Keys: TypeAlias = str | PartitionKey | Selection | Iterable[str | PartitionKey]
"""What verbs take as partitions. A string may be a range or a pattern; several add up."""


# -- one value ------------------------------------------------------------------------------------------------------

_Place: TypeAlias = tuple[Any, Any]
"""Where a value lies in its column's order: its begin and end, which differ for windows of time alone."""


@dataclass(frozen=True, slots=True)
class _Order:
    """The order of a column's values."""

    column: str
    time: TimePartition | None
    kind: pa.DataType | None

    @classmethod
    def of(cls, column: str, spec: DatasetSpec, schema: pa.Schema | None) -> Self:
        time = spec.partition.time
        kind = schema.field(column).type if schema is not None and column in schema.names else None
        return cls(column, time if time is not None and time.key == column else None, kind)

    def place(self, value: str) -> _Place | None:
        """Of a value; None for null, and for one that lies nowhere."""
        if not value:
            return None
        if self.time is not None:
            return _window_place(value, self.time)
        if self.kind is None:
            return None
        try:
            found = typed(value, self.kind).as_py()
        except SpecError:
            return None
        return (found, found) if found == found else None  # noqa: PLR0124 - NaN is nowhere

    def end(self, value: str, text: str) -> _Place | None:
        """Of the end of a range; None for an open one.

        Raises:
            SpecError: It is no value of this column.
        """
        if not value:
            return None
        if self.time is None and self.kind is None:
            message = f"{text}: the type of {self.column} is not known, so nobody can say what lies in a range of it"
            raise SpecError(message, hint="name the partitions, or write a pattern")
        there = self.place(value) if self.time is None else _window_place(value, self.time, may_be_wider=True)
        if there is None:
            what = f"names no {self.time.every}" if self.time else f"is not a value of type {self.kind}"
            message = f"{text}: {value!r} {what}"
            raise SpecError(message, hint=f"write {self.column}=A{_TO}B, with ends as `tierlake ls` prints them")
        return there


def _is_plain(text: str) -> bool:
    return _TO not in text and _WILD.search(text) is None


def _matching(column: str, text: str, order: _Order, values: Collection[str]) -> Collection[str]:
    """Those of a column's values that a text means."""
    value = unescape_value(text)
    if value in values:
        return {value}
    if _is_plain(text):
        there = order.place(value)
        return {one for one in values if order.place(one) == there} if there is not None else set()
    if _TO not in text:
        like = re.compile(translate("".join(map(_literal, _ENCODED.split(text)))))
        return {one for one in values if like.match(one)}
    _check_digits(f"{column}={text}", order, values)
    low, high = _ends(f"{column}={text}", order)
    if low is None and high is None:
        return {one for one in values if one}
    return {one for one in values if _lies_between(order.place(one), low, high)}


def _literal(part: str) -> str:
    """A part of a pattern: what is encoded stands for itself."""
    return glob.escape(unescape_value(part)) if part.startswith("%") else part


def _lies_between(there: _Place | None, low: _Place | None, high: _Place | None) -> bool:
    if there is None:
        return False
    return bool((low is None or there[0] >= low[0]) and (high is None or there[1] <= high[1]))


def _ends(text: str, order: _Order) -> tuple[_Place | None, _Place | None]:
    ends = text.partition("=")[2].split(_TO)
    if len(ends) > 2:  # noqa: PLR2004 - a range has two
        raise SpecError(f"{text}: a range has two ends", hint="`%2E%2E` is a literal `..`")
    if any(map(_WILD.search, ends)):
        message = f"{text}: the ends of a range are values, not patterns"
        raise SpecError(message, hint="write A..B or a pattern; `%2A` is a literal `*`")
    low, high = (order.end(unescape_value(end), text) for end in ends)
    if low is not None and high is not None and low[0] > high[0] and low[1] > high[1]:
        message = f"{text}: the range ends before it begins"
        raise SpecError(message, hint=f"write {order.column}={ends[1]}{_TO}{ends[0]}")
    return low, high


def _check_digits(text: str, order: _Order, values: Collection[str]) -> None:
    """Refuse a range of numbers in a column of text, in which 10 lies before 9."""
    import pyarrow.types as pat

    if (
        order.time is not None
        or order.kind is None
        or not (pat.is_string(order.kind) or pat.is_large_string(order.kind))
    ):
        return
    ends = [unescape_value(end) for end in text.partition("=")[2].split(_TO)]
    lengths = {len(value) for value in (*ends, *values) if value.isdecimal()}
    if any(map(str.isdecimal, ends)) and len(lengths) > 1:
        message = f"{text}: {order.column} is text, in which 10 lies before 9"
        raise SpecError(message, hint=f"name the partitions, or declare {order.column} as int64 in a dataset's columns")


def _window_place(value: str, time: TimePartition, *, may_be_wider: bool = False) -> tuple[datetime, datetime] | None:
    widths = _WIDTHS[_WIDTHS.index(time.every) :] if may_be_wider else (time.every,)
    for every in widths if value else ():
        window = window_of(value, every, time.timezone)
        if window is not None:
            return window.start.astimezone(UTC), window.end.astimezone(UTC)
    # a window that reaches out of the calendar, as that of the placeholder 9999-12-31
    start = start_of_key(value, time.every) if value else None
    return None if start is None else (start.replace(tzinfo=UTC), start.replace(tzinfo=UTC))


def _end_of(value: datetime | date | str, timezone: str) -> datetime:
    """The end of a day, or an instant."""
    day = value
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            return as_instant(value, timezone)
    if isinstance(day, datetime) or not isinstance(day, date):
        return as_instant(value, timezone)
    return _END_OF_TIME if day == date.max else as_instant(day + timedelta(days=1), timezone)
