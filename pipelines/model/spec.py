"""The description of a dataset: a frozen value, the same in Python, in YAML and in `_lake/dataset.json`.

uri: lake://warehouse/flights
format: delta
partition:
  time: {column: time_hour, every: day, timezone: America/New_York, key: date}
  by: [origin]
write: {encryption: sse-s3, storage_class: STANDARD, compression: zstd, target_file_size: 256MB}
tiers:
- {after: 30d, tier: warm}
retention: {expire_after: 300d, grace: 7d, after: [monthly_summary]}
rejects: {max_ratio: 0.01}
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from tierlake.connector.ages import format_age, parse_age
from tierlake.connector.documents import UnreadableDocument, yaml_document, yaml_text
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.faults import at_lines, faults_of, hint_of
from tierlake.connector.observe.edges import reporting
from tierlake.connector.urls import secret_in_place
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.column_names import clash
from tierlake.pipelines.model.text_options import TextOptions
from tierlake.pipelines.model.time_window import Every

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierlake.connector.faults import Fault

__all__ = [
    "DatasetSpec",
    "Duration",
    "PartitionSpec",
    "RejectSpec",
    "RetentionSpec",
    "Tier",
    "TierStep",
    "TimePartition",
    "WriteSpec",
    "parsed_duration",
]

Tier = Literal["hot", "warm", "cold", "archive"]
TIER_ORDER: tuple[Tier, ...] = ("hot", "warm", "cold", "archive")

_HOUR = timedelta(hours=1)
_LONGEST = timedelta(days=365_000)
"""A span after any present time, and one before it, are still in the calendar."""
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_HIDDEN = ("_", ".")


def _parsed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_age(value)
    except InvalidSetting as error:
        raise ValueError(f"{value!r} is not a duration; write 12h, 30d or 8w") from error


def _in_hours(value: timedelta) -> timedelta:
    """Delta tables keep such durations in hours."""
    if value % _HOUR:
        raise ValueError(f"{format_age(value)} is not a whole number of hours; write 12h, 30d or 8w")
    if value > _LONGEST:
        raise ValueError(f"{format_age(value)} is longer than {_LONGEST.days} days, a thousand years")
    return value


def parsed_duration(value: timedelta | str, name: str) -> timedelta:
    """A duration that a caller writes.

    Raises:
        SpecError: It is none.
    """
    try:
        parsed = _parsed(value)
    except ValueError as error:
        raise SpecError(f"{name}: {error}") from error
    if not isinstance(parsed, timedelta):
        raise SpecError(f"{name}: {value!r} is not a duration; write 12h, 30d or 8w")
    return parsed


Duration = Annotated[
    timedelta, BeforeValidator(_parsed), AfterValidator(_in_hours), PlainSerializer(format_age, return_type=str)
]
"""A span of time, written `12h`, `30d` or `8w`."""


def _check_cases(names: Iterable[str]) -> None:
    if (both := clash(dict.fromkeys(names))) is not None:
        raise ValueError(f"the columns {both[0]} and {both[1]} differ by case alone, which tables do not tell apart")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@cache
def _timezones() -> frozenset[str]:
    """Names of all zones; listing them walks the system's database, milliseconds for each description read."""
    return frozenset(available_timezones())


class TimePartition(_Value):
    """Partition by windows of a time column.

    Attributes:
        column: The event time, a timestamp or date; text is read as ISO 8601. None: there is none, and the rows carry
            the key column itself, as in tables that others made.
        every: The width of a window: an hour, a day, a month or a year of the timezone's calendar.
        timezone: IANA name of the zone in which days and months begin; naive times are taken to be in it.
        key: The Hive column that holds the window, as in `date=2013-07-04`.
    """

    column: str | None = None
    every: Every = "day"
    timezone: str = "UTC"
    key: str = "date"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _timezones():
            message = f"{value!r} is not an IANA timezone such as America/New_York"
            raise ValueError(message)
        return value


class PartitionSpec(_Value):
    """How rows are spread over partitions: by time, by columns, or both.

    Time comes first, unless `by` names its key too and so says where it stands: `by: [origin, date]`.

    Attributes:
        time: The windows of event time; None: the dataset is not partitioned by time, and has neither tiers nor
            retention.
        by: Further columns whose values make partitions, outermost first.
    """

    time: TimePartition | None = None
    by: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""
        if self.time is None or self.time.key in self.by:
            return self.by
        return (self.time.key, *self.by)

    @property
    def carried(self) -> tuple[str, ...]:
        """The Hive columns that the rows carry themselves: all but a key that is computed from the event time."""
        is_computed = self.time is not None and self.time.column is not None
        return tuple(
            name for name in self.columns if not (is_computed and self.time is not None and name == self.time.key)
        )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.columns)) < len(self.columns):
            message = f"partition columns repeat: {', '.join(self.columns)}"
            raise ValueError(message)
        if self.time and self.time.column and self.time.key.lower() == self.time.column.lower():
            message = f"partition.time.key {self.time.key!r} is the time column itself: name the Hive column otherwise"
            raise ValueError(message)
        _check_cases(self.columns)
        if hidden := [name for name in self.columns if name.startswith(_HIDDEN)]:
            message = (
                f"{', '.join(hidden)}: readers of Parquet skip folders whose names begin with _ or ., so that no "
                "partition column can be named so"
            )
            raise ValueError(message)
        if bad := [name for name in self.columns if not _COLUMN.fullmatch(name)]:
            message = f"not usable as a Hive column: {', '.join(map(repr, bad))}: letters, digits, _, . and - are"
            raise ValueError(message)
        return self


class WriteSpec(_Value):
    """How files are written.

    Attributes:
        encryption: `sse-s3`, `sse-kms`, `sse-kms:KEY`, or `none` (only when said so).
        storage_class: The class of new files.
        compression: Parquet codec.
        compression_level: Of the codec, for those that have levels (zstd: 1 to 22); its own default where absent.
        target_file_size: Roll to a new file above this many bytes (Delta tables).
        row_group_rows: Rows of a row group at the most; a row group is the least that is read of a file.
        sort_by: Columns to sort rows by within each file, which the footer then says.
        page_index: Write the Parquet page index, by which readers skip pages within a row group.
        bloom_filters: Columns that get a Bloom filter in each row group, for lookups of single values (keys, ids).
    """

    encryption: str = "sse-s3"
    storage_class: str = "STANDARD"
    compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = "zstd"
    compression_level: int | None = Field(default=None, ge=1, le=22)
    target_file_size: ByteSize = Field(default=ByteSize(256_000_000), gt=0)
    row_group_rows: int = Field(default=1 << 20, gt=0)
    sort_by: tuple[str, ...] = ()
    page_index: bool = True
    bloom_filters: tuple[str, ...] = ()


class TierStep(_Value):
    """From this age on, partitions belong in this tier.

    Attributes:
        after: Age, in hours (`12h`), days (`30d`) or weeks (`8w`), counted from the end of the partition's window.
        tier: The tier; each step must be later and colder than the one before. Which storage class it is, the server's
            profile says.
    """

    after: Duration
    tier: Tier


class RetentionSpec(_Value):
    """When partitions leave.

    Attributes:
        expire_after: Age at which a partition leaves the table; None keeps all.
        grace: How long undo stays possible before files are deleted.
        after: Names of downstream assets that must have seen a partition before it may go.
    """

    expire_after: Duration | None = None
    grace: Duration = timedelta(days=7)
    after: tuple[str, ...] = ()


class RejectSpec(_Value):
    """How many bad rows an ingest tolerates.

    Attributes:
        max_ratio: Rejected rows of the rows read, 0 to 1. With more, the ingest fails and nothing is committed.
    """

    max_ratio: float = Field(default=0.01, ge=0.0, le=1.0)


class DatasetSpec(_Value):
    """One dataset, described once; afterwards its URI is enough.

    Attributes:
        uri: Where it is: `lake://bucket/prefix`. `s3://` is read as the same.
        format: `delta` has a Delta log, so that each change is one commit; `parquet` is plain Hive-partitioned
            Parquet, one object after the other.
        partition: How rows are spread over partitions. Never changes.
        columns: Column to type, as `int64`, `string`, `timestamp[us]`; what is absent is inferred at the first ingest.
        evolution: Whether an ingest may add columns (`add`) or may not (`freeze`). Left out, declared `columns` are
            frozen, and others grow.
        text: How the text files of its sources are written; what it leaves out is sniffed.
        write: How files are written.
        tiers: From which age on partitions belong in which tier, youngest first.
        retention: When partitions leave.
        rejects: How many bad rows an ingest tolerates.
    """

    uri: str
    format: Literal["delta", "parquet"] = "delta"
    partition: PartitionSpec = PartitionSpec()
    columns: dict[str, str] = Field(default_factory=dict)
    evolution: Literal["add", "freeze"] | None = None
    text: TextOptions = TextOptions()
    write: WriteSpec = WriteSpec()
    tiers: tuple[TierStep, ...] = ()
    retention: RetentionSpec = RetentionSpec()
    rejects: RejectSpec = RejectSpec()

    @reporting
    def __init__(self, **data: Any) -> None:
        """Validate the fields.

        Raises:
            SpecError: Naming every field that is wrong.
        """
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _invalid(faults_of(DatasetSpec, error)) from error

    @field_validator("uri")
    @classmethod
    def _has_a_prefix(cls, value: str) -> str:
        if secret := secret_in_place(value):
            message = f"must not hold {secret}, which is stored and shown; write lake://bucket/prefix"
            raise ValueError(message)
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"lake", "s3"}:
            message = f"{value!r} does not look like lake://bucket/prefix"
            raise ValueError(message)
        bucket, _, prefix = rest.strip("/").partition("/")
        if not bucket or not prefix:
            message = f"{value!r} must name a bucket and a prefix: lake://bucket/prefix"
            raise ValueError(message)
        return f"lake://{bucket}/{prefix}"

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        self._check_tiers()
        _check_cases([*self.partition.columns, *self.columns])
        time = self.partition.time
        if time is None or time.column is None or not self.columns:
            return self
        if time.key in self.columns:
            message = f"partition.time.key {time.key!r} is also a column: name the Hive column otherwise"
            raise ValueError(message)
        if time.column not in self.columns:
            message = f"partition.time.column {time.column!r} is not among the declared columns"
            raise ValueError(message)
        return self

    def _check_tiers(self) -> None:
        for earlier, later in zip(self.tiers, self.tiers[1:], strict=False):
            if later.after <= earlier.after or TIER_ORDER.index(later.tier) <= TIER_ORDER.index(earlier.tier):
                message = (
                    f"tiers contradict each other: {earlier.tier} after {format_age(earlier.after)}, then "
                    f"{later.tier} after {format_age(later.after)}; each must be later and colder than the last"
                )
                raise ValueError(message)
        expire_after = self.retention.expire_after
        if expire_after is not None and self.tiers and self.tiers[-1].after >= expire_after:
            message = (
                f"tiers contradict retention: {self.tiers[-1].tier} after {format_age(self.tiers[-1].after)}, but "
                f"partitions expire after {format_age(expire_after)}"
            )
            raise ValueError(message)
        if (self.tiers or expire_after is not None) and self.partition.time is None:
            message = "tiers and retention go by age: partition by time (partition.time)"
            raise ValueError(message)

    @property
    def takes_new_columns(self) -> bool:
        """Whether an ingest may add columns."""
        return self.evolution == "add" or (self.evolution is None and not self.columns)

    @property
    def root(self) -> str:
        """`bucket/prefix`."""
        return self.uri.removeprefix("lake://")

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.root.partition("/")[0]

    @property
    def name(self) -> str:
        """The last segment of the URI, for people."""
        return self.root.rpartition("/")[2]

    @classmethod
    @reporting
    def from_yaml(cls, text: str | Path) -> Self:
        """Read a spec from YAML text or a YAML file.

        Raises:
            SpecError: Not YAML, not a mapping, or not a valid spec.
        """
        name = f"{text}: " if isinstance(text, Path) else ""
        source = text.read_bytes() if isinstance(text, Path) else text
        try:
            data = yaml_document(source)
        except UnreadableDocument as error:
            raise SpecError(f"{name}the dataset spec is not YAML: {error}") from error
        if not isinstance(data, dict):
            raise SpecError(f"{name}the dataset spec must be a mapping with at least `uri`")
        try:
            return cls(**{str(field): value for field, value in data.items()})
        except SpecError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise SpecError(f"{name}{error.message}", hint=error.hint) from error
            raise _invalid(at_lines(faults_of(cls, error.__cause__), source), name) from error

    def to_yaml(self) -> str:
        """The spec as YAML, fields that are at their defaults included."""
        return yaml_text(self.model_dump(mode="json"))


def _invalid(faults: Sequence[Fault], name: str = "") -> SpecError:
    """The error that names every fault with its place."""
    return SpecError(f"{name}the dataset spec is not valid: {'; '.join(map(str, faults))}", hint=hint_of(faults))
