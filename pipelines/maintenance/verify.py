"""Verify: report what is wrong with the committed files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tierlake.connector.observe import gauge, tracing
from tierlake.pipelines.maintenance.stored_files import stored_objects
from tierlake.pipelines.metastore.records import EraseRecord, RemovalRecord
from tierlake.pipelines.model.age import tier_at, window_of_key
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.columns import Columns
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised, listed
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from tierlake.pipelines.maintenance.stored_files import StoredObject
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovedPartition
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["Problem", "VerifyReport", "verify"]


_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a committed file.

    Attributes:
        kind: What is wrong: a file that is `missing`, has another `size`, `class` or `encryption`; or what no act of
            ours makes: `erased` rows that are back, rows that are `doubled` as they are in an old file and in the one
            written from it, a `held` partition whose files are gone, an object `hidden` by a delete marker not of ours.
        path: Below the table's root.
        detail: The actual and the expected value.
    """

    kind: Literal["missing", "size", "class", "encryption", "erased", "doubled", "held", "hidden"]
    path: str
    detail: str


@dataclass(frozen=True, slots=True, repr=False)
class VerifyReport(Shown, Columns):
    """Whether all committed files are there and agree with the policy.

    Attributes:
        files: Committed files that were checked.
        bytes: Their size.
        problems: What is wrong.
        orphans: The number of files that no commit names; no error while they are young.
        repaired: Problems that were repaired.
    """

    files: int
    bytes: int
    problems: tuple[Problem, ...]
    orphans: int
    repaired: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """No problem was found."""
        return not self.problems

    def __str__(self) -> str:
        """The state, and one line per problem."""
        lines = [f"{problem.path}: {problem.kind}: {problem.detail}: mended" for problem in self.repaired]
        lines += [f"{problem.path}: {problem.kind}: {problem.detail}" for problem in self.problems]
        return "\n".join([emphasised(self._summary()), *listed(lines, len(lines))])

    def to_arrow(self) -> pa.Table:
        """The problems as columns, repaired ones last."""
        import pyarrow as pa

        schema = pa.schema(
            [
                *(pa.field(name, pa.string(), nullable=False) for name in ("kind", "path", "detail")),
                pa.field("repaired", pa.bool_(), nullable=False),
            ]
        )
        problems = [*self.problems, *self.repaired]
        columns: dict[str, list[str] | list[bool]] = {
            name: [getattr(problem, name) for problem in problems] for name in schema.names[:-1]
        }
        repaired = [False] * len(self.problems) + [True] * len(self.repaired)
        return pa.table({**columns, "repaired": repaired}, schema=schema)

    def _summary(self) -> str:
        state = "clean" if self.ok else formatting.counted(len(self.problems), "problem")
        amount = f"{formatting.files(self.files)}, {formatting.size(self.bytes)}"
        orphans = f", {formatting.files(self.orphans)} not named by any commit" if self.orphans else ""
        return f"{state}: {amount}{orphans}"

    def _parts(self) -> tuple[Table[tuple[Problem, bool]]]:
        problems = [(problem, False) for problem in self.problems] + [(problem, True) for problem in self.repaired]
        return (Table(["what", "path", "detail", "mended"], problems, _cells),)


def _cells(problem: tuple[Problem, bool]) -> tuple[str, ...]:
    one, is_repaired = problem
    return one.kind, one.path, one.detail, "yes" if is_repaired else ""


def verify(handle: Handle, as_of: datetime | None = None) -> VerifyReport:
    """Compare the commits with the store and the journal.

    Every committed file must be there with its size, encrypted, and in a class that its age allows: its tier's, or a
    hotter one that the next tiering will change. Orphans are counted. Files that were erased or rewritten must not be
    live again, held partitions must have their files, and only we may hide a plain object.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to; the server's now by default.
    """
    described, instant = handle.as_stored(), as_of or handle.clock.now()
    snapshot = handle.table.snapshot()
    live = {file.path for file in snapshot.files}
    with tracing.span("verify.list"):
        objects = stored_objects(handle, must_know_versions=False)
    stored = {one.path: one for one in objects if not one.is_nested or one.path in live}
    problems: list[Problem] = []
    for file in snapshot.files:
        one = stored.get(file.path)
        if one is None or not one.is_shown:
            hidden = "" if one is None else ": a delete marker hides it, which you can delete"
            problems.append(Problem("missing", file.path, f"committed, but not in the store{hidden}"))
            continue
        size = one.size if one.shown is None else one.sizes[one.shown]
        if size != file.size:
            problems.append(Problem("size", file.path, f"{size} bytes, but {file.size} were committed"))
        problems.extend(_class_problems(described, file, one.storage_class, instant))
    there = [file for file in snapshot.files if file.path in stored and stored[file.path].is_shown]
    with tracing.span("verify.encryption"):
        unencrypted = _encryption_problems(handle, there)
    gauge("unencrypted_object_count", len(unencrypted), dataset=handle.spec.uri)
    gauge("figures_timestamp_seconds", time.time(), dataset=handle.spec.uri)
    problems.extend(unencrypted)
    with tracing.span("verify.history"):
        problems.extend(_history_problems(handle, snapshot, stored))
    return VerifyReport(
        files=len(snapshot.files),
        bytes=sum(file.size for file in snapshot.files),
        problems=tuple(problems),
        orphans=sum(one.is_shown and path not in live for path, one in stored.items()),
    )


def _history_problems(handle: Handle, snapshot: Snapshot, stored: Mapping[str, StoredObject]) -> Iterator[Problem]:
    removals = list(handle.journal.records(RemovalRecord))
    undone = handle.journal.undone()
    yield from _erased(handle, snapshot, stored)
    yield from _doubled(snapshot, [(one, gone) for one in removals for gone in one.partitions], undone)
    if handle.document is None:
        return
    yield from _held(handle, snapshot, stored, removals)
    ours = {(file.path, file.version_id) for removal in removals for _, file in removal.files()}
    for path, one in stored.items():
        if one.is_shown or not handle.table.is_replaced_in_place(path):
            continue
        below = next((version for version in one.versions if one.sizes[version]), None)
        if below is not None and (path, below) not in ours:
            yield Problem("hidden", path, "a delete marker that is not ours hides it: delete that, or the object")


def _erased(handle: Handle, snapshot: Snapshot, stored: Mapping[str, StoredObject]) -> Iterator[Problem]:
    spoiled = {path: record for record in handle.journal.records(EraseRecord) for path in record.spoiled}
    for file in snapshot.files:
        shown = stored[file.path].shown if file.path in stored else None
        record = spoiled.get(f"{file.path}?{shown}" if handle.table.is_replaced_in_place(file.path) else file.path)
        if record is not None:
            detail = (
                f"it is live again, and holds rows that were erased on {formatting.day(record.at)}: erase them again"
            )
            yield Problem("erased", file.path, detail)


def _doubled(
    snapshot: Snapshot,
    removals: Sequence[tuple[RemovalRecord, RemovedPartition]],
    undone: frozenset[tuple[str, str]],
) -> Iterator[Problem]:
    live = {(file.path, file.etag) for file in snapshot.files}
    for removal, gone in removals:
        is_back = [file for file in gone.files if (file.path, file.etag) in live]
        # a plain object that was rewritten with the same bytes is one object
        paths = {file.path for file in is_back}
        came = [file for file in gone.came if (file.path, file.etag) in live and file.path not in paths]
        if is_back and came and (removal.id, gone.key) not in undone:
            detail = f"it is live beside {came[0].path}, which took its place on {formatting.day(removal.at)}"
            yield Problem("doubled", is_back[0].path, detail)


def _held(
    handle: Handle, snapshot: Snapshot, stored: Mapping[str, StoredObject], removals: Sequence[RemovalRecord]
) -> Iterator[Problem]:
    live = {str(file.key) for file in snapshot.files}
    holds = (
        {key: hold for key, hold in handle.document.read().holds.items() if key not in live} if handle.document else {}
    )
    if not holds:
        return
    # others remove files too, and those stay as ours do
    others = {str(file.key) for file in handle.table.removed_files() if file.path in stored}
    for key, hold in holds.items():
        gone = next((part for removal in removals if (part := removal.partition(key)) is not None), None)
        files = gone.files if gone is not None else ()
        lost = [file.path for file in files if not _is_there(stored.get(file.path), file.version_id)]
        if lost or not (files or key in others):
            yield Problem("held", key, f"held ({hold.reason}), but {lost[0] if lost else 'all of it'} is gone")


def _is_there(one: StoredObject | None, version_id: str | None) -> bool:
    return one is not None and (version_id is None or version_id in one.versions or not one.versions)


def _class_problems(handle: Handle, file: LiveFile, storage_class: str, as_of: datetime) -> list[Problem]:
    classes = handle.fs.profile.tier_classes
    tiers = ["hot", *(step.tier for step in handle.spec.tiers)]
    window = window_of_key(handle.spec, file.key)
    reached = tiers.index(tier_at(handle.spec, window.age(as_of))) if window else 0
    allowed = {handle.spec.write.storage_class, *(classes[tier] for tier in tiers[: reached + 1] if tier in classes)}
    if storage_class in allowed:
        return []
    return [Problem("class", file.path, f"{storage_class}, but the policy says {' or '.join(sorted(allowed))}")]


def _encryption_problems(handle: Handle, files: Sequence[LiveFile]) -> list[Problem]:
    paths = [f"{handle.table.root}/{file.path}" for file in files]
    faults: dict[str, str] = {}
    with reporting("verify", total=len(paths), bytes_total=0) as advance:
        for start in range(0, len(paths), _AT_A_TIME):
            some = paths[start : start + _AT_A_TIME]
            faults |= handle.fs.encryption_faults(some)
            for path in some:
                advance(path, 0)
    return [
        Problem("encryption", path.removeprefix(f"{handle.table.root}/"), detail) for path, detail in faults.items()
    ]
