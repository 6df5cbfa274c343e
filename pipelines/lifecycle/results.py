"""What applying a plan, an undo or a hold did: values that print as a line and serialize as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tierlake.connector.errors import LakeError
from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import PartialFailure
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import listed
from tierlake.pipelines.runtime.table import Table

__all__ = ["ApplyResult", "KeyChanges", "UndoResult", "UndoSummary"]

_SHOWN = 40  # partitions that print() shows without a page


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _DoneInPart(Shown, _Value):
    """The outcome of an act on several partitions, each of which may fail by itself.

    Attributes:
        failed: Partitions that were not, or only partly, changed, each with its error.
        codes: The error codes of the failed ones (`stale_plan`, `policy_refused`, ...).
    """

    failed: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, str] = Field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def _parts(self) -> tuple[Table[tuple[str, str, str]] | str, ...]:
        failed = [(key, self.codes.get(key, "-"), why) for key, why in self.failed.items()]
        return (Table(["failed", "code", "why"], failed, tuple),)

    def _raise(self, operation: str) -> None:
        if self.failed:
            hint = "what was done stays done; mend what each failure names, then run it again"
            raise PartialFailure(f"{operation}: {self}", failures=self.failed, hint=hint)


def _failures(failures: Mapping[str, Exception]) -> dict[str, dict[str, str]]:
    """The fields of what failed, by key."""
    return {
        "failed": {key: str(error) for key, error in sorted(failures.items())},
        "codes": {
            key: error.code if isinstance(error, LakeError) else type(error).__name__
            for key, error in sorted(failures.items())
        },
    }


class ApplyResult(_DoneInPart):
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
            **_failures(failures),
            files=files,
            bytes=size,
            pending=pending,
            dry_run=dry_run,
        )

    def with_notes(self, notes: Iterable[str]) -> Self:
        """The same result, with what the store refused afterwards."""
        return self.model_copy(update={"notes": tuple(notes)})

    @reporting
    def raise_failures(self) -> None:
        """Turn failures into an error.

        Raises:
            PartialFailure: Something failed; it lists each.
        """
        self._raise(self.operation)

    def __str__(self) -> str:
        amount = f"{formatting.files(self.files)}, {formatting.size(self.bytes)}"
        would, fail = ("would be ", "would fail") if self.dry_run else ("", "failed")
        parts = [f"{formatting.partitions(len(self.done))} {would}{self.WORDS[self.operation]} ({amount})"]
        parts += [f"{formatting.files(self.pending)} tagged for the server to move"] if self.pending else []
        parts += [f"{len(self.skipped):,} {'are' if self.dry_run else 'were'} so already"] if self.skipped else []
        parts += [f"{len(self.failed):,} {fail}"] if self.failed else []
        parts += self.notes
        return ", ".join(parts)


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


class UndoSummary(_DoneInPart):
    """What an undo of several partitions did.

    Attributes:
        results: Of each partition that is back, or would be, in key order.
        lost: Partitions that match as well and left for good: their grace is over, or undo was given up.
        dry_run: True where the checks alone were made.
    """

    results: tuple[UndoResult, ...] = ()
    lost: tuple[str, ...] = ()
    dry_run: bool = False

    @classmethod
    def of(
        cls,
        results: Iterable[UndoResult],
        *,
        failures: Mapping[str, Exception],
        lost: Iterable[str] = (),
        dry_run: bool = False,
    ) -> Self:
        """The summary, from the outcome of each partition."""
        ordered = sorted(results, key=lambda one: one.key)
        return cls(results=tuple(ordered), lost=tuple(lost), dry_run=dry_run, **_failures(failures))

    @property
    def changed(self) -> tuple[UndoResult, ...]:
        """Those that came back now, or would."""
        return tuple(one for one in self.results if one.changed or one.dry_run)

    @reporting
    def raise_failures(self) -> None:
        """Turn failures into an error.

        Raises:
            PartialFailure: Something failed; it lists each.
        """
        self._raise("undo")

    @property
    def line(self) -> str:
        """The summary in one line."""
        came = self.changed
        amount = (
            f"{formatting.files(sum(one.files for one in came))}, {formatting.size(sum(one.bytes for one in came))}"
        )
        back = "would come back" if self.dry_run else "is back" if len(came) == 1 else "are back"
        parts = [f"{formatting.partitions(len(came))} {back} ({amount})"] if came else ["nothing changed"]
        so = len(self.results) - len(came)
        parts += [f"of {so:,} nothing was taken out, or all is back already"] if so else []
        parts += [f"{len(self.failed):,} cannot come back"] if self.failed else []
        parts += [f"{len(self.lost):,} more that match left for good"] if self.lost else []
        return ", ".join(parts)

    def __str__(self) -> str:
        return "\n".join([self.line, *listed([f"  {one}" for one in self.changed], _SHOWN)])


class KeyChanges(_DoneInPart):
    """What a hold, a release or a retention of several partitions did.

    Attributes:
        operation: Which of them.
        changed: Partitions that are so now, or would be.
        unchanged: Partitions that were so already.
        dry_run: True where the checks alone were made.
    """

    operation: Literal["hold", "release", "retain"]
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    dry_run: bool = False

    WORDS: ClassVar[Mapping[str, str]] = {"hold": "held", "release": "released", "retain": "retained"}

    @classmethod
    def of(
        cls,
        operation: Literal["hold", "release", "retain"],
        names: Iterable[str],
        *,
        changed: Collection[str],
        failures: Mapping[str, Exception],
        dry_run: bool = False,
    ) -> Self:
        """The outcome, in the order of the names."""
        done = [name for name in names if name not in failures]
        return cls(
            operation=operation,
            changed=tuple(name for name in done if name in changed),
            unchanged=tuple(name for name in done if name not in changed),
            dry_run=dry_run,
            **_failures(failures),
        )

    @reporting
    def raise_failures(self) -> None:
        """Turn failures into an error.

        Raises:
            PartialFailure: Something failed; it lists each.
        """
        self._raise(self.operation)

    def __str__(self) -> str:
        number = len(self.changed)
        state = "would be" if self.dry_run else "is" if number == 1 else "are"
        parts = [f"{formatting.partitions(number)} {state} {self.WORDS[self.operation]}"] if number else []
        already = len(self.unchanged)
        parts += [f"{already:,} {'was' if already == 1 else 'were'} so already"] if already else []
        parts += [f"{len(self.failed):,} {'would fail' if self.dry_run else 'failed'}"] if self.failed else []
        return ", ".join(parts if number else ["nothing changed", *parts])
