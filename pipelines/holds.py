"""Holds and retentions: what keeps a partition, whatever the policy says.

They are in the dataset's document and change by compare-and-swap, so that nobody loses a colleague's hold. A hold may
be put on an expired partition too, while its grace lasts: `vacuum` then leaves its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.document import DatasetDocument, Hold
from pipelines.errors import SpecError, UnknownPartition, UnsupportedByTable
from pipelines.layout import PartitionKey
from pipelines.undo import can_be_undone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pipelines.document import DocumentStore
    from pipelines.handle import Handle

__all__ = ["hold", "release", "retain"]


def hold(handle: Handle, key: PartitionKey | str, reason: str, now: datetime | None = None) -> bool:
    """Forbid that a partition expires or is deleted, until `release`.

    Args:
        handle: the dataset.
        key: the partition.
        reason: why; plans, explanations and the catalog repeat it.
        now: since when; the server's now by default.

    Returns:
        Whether anything changed; the same hold again does not.

    Raises:
        UnknownPartition: the table has no such partition, and none that could still be undone.
        SpecError: no reason is given.
        UnsupportedByTable: nobody described the table to us, so there is nowhere to keep holds.
    """
    name, store = _known(handle, key), _document(handle)
    text = reason.strip()
    if not text:
        raise SpecError("a hold needs a reason", hint="say why: it is what others will read")

    since = now or handle.clock.now()

    def change(document: DatasetDocument) -> DatasetDocument:
        held = document.holds.get(name)
        if held is not None and held.reason == text:
            return document
        return document.model_copy(update={"holds": {**document.holds, name: Hold(reason=text, since=since)}})

    return _update(store, change)


def release(handle: Handle, key: PartitionKey | str) -> bool:
    """End a hold; the policy counts again.

    Returns:
        Whether there was one.

    Raises:
        UnsupportedByTable: nobody described the table to us, so there are no holds.
    """
    name = _name(key)

    def change(document: DatasetDocument) -> DatasetDocument:
        return document.model_copy(
            update={"holds": {other: held for other, held in document.holds.items() if other != name}}
        )

    return _update(_document(handle), change)


def retain(handle: Handle, key: PartitionKey | str, until: datetime) -> bool:
    """Keep a partition longer than the policy says.

    Args:
        handle: the dataset.
        key: the partition.
        until: plans as of this instant or later may expire it.

    Returns:
        Whether anything changed.

    Raises:
        UnknownPartition: the table has no such partition, and none that could still be undone.
        SpecError: `until` has no timezone.
        UnsupportedByTable: nobody described the table to us, so there is nowhere to keep it.
    """
    name, store = _known(handle, key), _document(handle)
    if until.tzinfo is None:
        raise SpecError(f"{until} has no timezone", hint="write 2014-01-01T00:00:00+00:00")

    def change(document: DatasetDocument) -> DatasetDocument:
        return document.model_copy(update={"retains": {**document.retains, name: until}})

    return _update(store, change)


def _update(store: DocumentStore, change: Callable[[DatasetDocument], DatasetDocument]) -> bool:
    is_other = False

    def noting(document: DatasetDocument) -> DatasetDocument:
        nonlocal is_other
        changed = change(document)
        is_other = changed != document
        return changed

    store.update(noting)
    return is_other


def _document(handle: Handle) -> DocumentStore:
    if handle.document is None:
        raise UnsupportedByTable(
            f"{handle.spec.uri} has no description of ours, so there is nowhere to keep a hold",
            hint="describe it once: Dataset.adopt(uri), or `tierlake adopt URI`",
        )
    return handle.document


def _name(key: PartitionKey | str) -> str:
    return str(PartitionKey.parse(key) if isinstance(key, str) else key)


def _known(handle: Handle, key: PartitionKey | str) -> str:
    name = _name(key)
    wanted = PartitionKey.parse(name)
    if any(file.key == wanted for file in handle.table.snapshot().files) or can_be_undone(handle, name):
        return name
    raise UnknownPartition(
        f"{handle.spec.uri} has no partition {name}, and none that could be brought back",
        hint="`tierlake ls` prints the keys",
    )
