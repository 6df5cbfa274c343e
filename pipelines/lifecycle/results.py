"""What applying a plan, or undoing an expiry, did: values that print as a line and serialize as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tierlake.connector.errors import LakeError
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import PartialFailure
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table

__all__ = ["ApplyResult", "UndoResult"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ApplyResult(Shown, _Value):
    """What applying a plan did.

    Attributes:
        operation: `tiering` or `expiry`.
        done: Partitions that were changed as planned, or would be.
        skipped: Partitions that needed no change.
        failed: Partitions that were not, or only partly, changed, each with its error.
        codes: The error codes of the failed ones (`stale_plan`, `policy_refused`, ...).
        files: How many files were changed.
        bytes: Their size.
        pending: How many of the files the server has yet to move by itself.
        dry_run: True where the checks alone were made.
        notes: What the store refused after the change, with the consequences.
    """

    operation: Literal["tiering", "expiry"]
    done: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, str] = Field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    pending: int = 0
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    WORDS: ClassVar[Mapping[str, str]] = {"tiering": "moved", "expiry": "expired"}

    @classmethod
    def of(
        cls,
        operation: Literal["tiering", "expiry"],
        *,
        done: Iterable[str] = (),
        skipped: Iterable[str] = (),
        failures: Mapping[str, Exception],
        files: int,
        size: int,
        pending: int = 0,
        dry_run: bool = False,
    ) -> Self:
        """The result, from the outcome of each partition."""
        return cls(
            operation=operation,
            done=tuple(sorted(done)),
            skipped=tuple(sorted(skipped)),
            failed={key: str(error) for key, error in sorted(failures.items())},
            codes={
                key: error.code if isinstance(error, LakeError) else type(error).__name__
                for key, error in sorted(failures.items())
            },
            files=files,
            bytes=size,
            pending=pending,
            dry_run=dry_run,
        )

    def with_notes(self, notes: Iterable[str]) -> Self:
        """The same result, with what the store refused afterwards."""
        return self.model_copy(update={"notes": tuple(notes)})

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @reporting
    def raise_failures(self) -> None:
        """Turn failures into an error.

        Raises:
            PartialFailure: Something failed; it lists each.
        """
        if self.failed:
            hint = "what was done stays done; mend what each failure names, then run it again"
            raise PartialFailure(f"{self.operation}: {self}", failures=self.failed, hint=hint)

    def __str__(self) -> str:
        amount = f"{formatting.files(self.files)}, {formatting.size(self.bytes)}"
        would, fail = ("would be ", "would fail") if self.dry_run else ("", "failed")
        parts = [f"{formatting.partitions(len(self.done))} {would}{self.WORDS[self.operation]} ({amount})"]
        parts += [f"{formatting.files(self.pending)} tagged for the server to move"] if self.pending else []
        parts += [f"{len(self.skipped):,} {'are' if self.dry_run else 'were'} so already"] if self.skipped else []
        parts += [f"{len(self.failed):,} {fail}"] if self.failed else []
        parts += self.notes
        return ", ".join(parts)

    def _parts(self) -> tuple[Table[tuple[str, str, str]]]:
        failed = [(key, self.codes.get(key, "-"), why) for key, why in self.failed.items()]
        return (Table(["failed", "code", "why"], failed, tuple),)


class UndoResult(Shown, _Value):
    """What an undo did.

    Attributes:
        key: The partition.
        changed: False where it had come back already, and for a dry run.
        operation: What was undone: an expiry, or a replacement by an ingest; None where nothing had been removed.
        files: How many came back, or are back.
        rows: Their rows; None where it is not known.
        bytes: Their size.
        kept_until: The next expiry leaves it alone before this instant.
        dry_run: True where it would come back, and nothing was changed.
        undo_until: For a dry run, until when it can come back.
        notes: What the store refused after the commit, with the consequences.
    """

    key: str
    changed: bool
    operation: Literal["expire", "replace"] | None = "expire"
    files: int
    rows: int | None
    bytes: int
    kept_until: datetime | None = None
    dry_run: bool = False
    undo_until: datetime | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        amount = f"{formatting.files(self.files)}, {formatting.size(self.bytes)}"
        if self.dry_run:
            how = "was replaced by an ingest" if self.operation == "replace" else "has expired"
            until = f"; it can be undone until {self.undo_until:%Y-%m-%d %H:%M %Z}" if self.undo_until else ""
            return f"would bring back {self.key}, which {how}: {amount}{until}"
        if not self.changed:
            state = "is back already" if self.operation else "is there, and nothing was taken out of it"
            return f"{self.key} {state}: nothing changed"
        notes = "".join(f"; {note}" for note in self.notes)
        if self.operation == "replace":
            return f"{self.key} is as it was before it was replaced: {amount}{notes}"
        kept = f"; kept until {formatting.day(self.kept_until)}" if self.kept_until else ""
        return f"{self.key} is back: {amount}{kept}{notes}"
