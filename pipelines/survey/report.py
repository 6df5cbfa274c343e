"""The parts of a survey's result, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.pipelines.survey.classification import Kind

__all__ = ["ClassFigures", "FormatFigures", "Policy", "SurveyedDataset", "Unknown", "Waste"]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """The objects of one storage class.

    Attributes:
        storage_class: As the store lists it.
        objects: How many.
        bytes: Their size.
        monthly_cost: Storage in dollars a month; None where the price list has no such class.
    """

    storage_class: str
    objects: int
    bytes: int
    monthly_cost: float | None


@dataclass(frozen=True, slots=True)
class FormatFigures:
    """The objects of one format, by their names."""

    format: str
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SurveyedDataset:
    """One dataset.

    Attributes:
        uri: Where it is.
        kind: `delta`, `iceberg`, `hudi`, `hive` or `files`.
        is_ours: Whether it has a description of tierlake's.
        format: The format of most of its data.
        formats: All of them.
        objects: All objects, logs and metadata included.
        bytes: Their size.
        metadata_bytes: The part of logs, metadata and hidden objects.
        classes: By storage class.
        monthly_cost: Storage in dollars a month; None where a class has no price.
        columns: Hive columns; None where paths differ.
        partitions: Hive folders with files.
        ages_by: What ages go by: `event time of COLUMN`, or `last change`.
        oldest: The beginning of these ages: the earliest end of a window, or the earliest change.
        newest_change: The latest change of an object.
        small_files: Data files below 128 KB, which colder classes bill as if they had 128 KB.
        files_after_compaction: About how many files of 256 MB would hold the data, at least one in each partition.
        live_bytes: By a Delta log that was read; else None.
        unreferenced_files: Data files that a Delta table does not name now: replaced, expired, or never committed.
        unreferenced_bytes: Their size.
        old_version_objects: Old versions of its objects.
        old_version_bytes: Their size.
        can_adopt: Whether `tierlake adopt` takes it as it is.
        notes: Remarks.
    """

    uri: str
    kind: Kind
    is_ours: bool
    format: str
    formats: tuple[FormatFigures, ...]
    objects: int
    bytes: int
    metadata_bytes: int
    classes: tuple[ClassFigures, ...]
    monthly_cost: float | None
    columns: tuple[str, ...] | None
    partitions: int
    ages_by: str
    oldest: datetime | None
    newest_change: datetime | None
    small_files: int
    files_after_compaction: int
    live_bytes: int | None
    unreferenced_files: int | None
    unreferenced_bytes: int | None
    old_version_objects: int | None
    old_version_bytes: int | None
    can_adopt: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waste:
    """Something that is stored, paid for, and in no reader's way.

    Attributes:
        name: `incomplete uploads`, `old versions`, `delete markers` or `unreferenced files`.
        count: How many; None where that could not be looked at.
        bytes: Their size, as far as it was measured.
        monthly_cost: Storage in dollars a month.
        remark: What the figures leave out, or what removes it.
    """

    name: str
    count: int | None
    bytes: int | None
    monthly_cost: float | None
    remark: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Something to do, and the money of it. Only what saves within a year more than it costs is proposed.

    Attributes:
        name: Of the policy.
        how: What to type or to set.
        objects: What it would move or delete now.
        bytes: Their size.
        monthly_now: Storage of these in dollars a month.
        monthly_then: And afterwards.
        one_off: What moving costs, once.
        caution: What it gives up, or what the figures do not show.
        read_once: What reading all of it once would cost afterwards, in dollars; how often that is, nobody knows here.
    """

    name: str
    how: str
    objects: int
    bytes: int
    monthly_now: float
    monthly_then: float
    one_off: float
    caution: str
    read_once: float = 0.0

    @property
    def monthly_saved(self) -> float:
        """Dollars a month."""
        return self.monthly_now - self.monthly_then


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that the survey cannot tell.

    Attributes:
        name: Of the question.
        reason: Why it is open.
        way: How to find out.
    """

    name: str
    reason: str
    way: str
