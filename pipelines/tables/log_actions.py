"""The actions of a commit, as the log has them, checked: others write the log too.

What deltalake reads is checked by deltalake. Here is what we read beside it: paths, partition values and times of
files, and what a commit says of itself. Format: the Delta protocol's "Actions".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.pipelines.errors import TableUnreadable
from tierlake.pipelines.model.instant import LAST

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["actions", "checked_file", "instant_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FILES: Final = ("add", "remove")


def actions(path: str, data: bytes) -> list[dict[str, Any]]:
    """The actions of one commit.

    Args:
        path: Its object, `bucket/key`.
        data: The object's bytes.

    Returns:
        Each as an object of JSON. `commitInfo` is an object where it is there, `add` and `remove` are as
        `checked_file` has them.

    Raises:
        TableUnreadable: It is no commit.
    """
    try:
        read = [json_object(line) for line in data.splitlines() if line.strip()]
        for action in read:
            _check(action)
    except UnreadableDocument as error:
        raise TableUnreadable(
            f"lake://{path} is no commit of a Delta log: {error}",
            hint="find out who wrote it; nothing of the table was touched",
        ) from error
    return read


def _check(action: Mapping[str, Any]) -> None:
    if not isinstance(action.get("commitInfo") or {}, dict):
        raise UnreadableDocument("its commitInfo is no object")
    for name in _FILES:
        if action.get(name) is not None:
            checked_file(action[name])


def checked_file(action: Any) -> Mapping[str, Any]:
    """An `add` or a `remove` with a path, and with partition values and a time of removal that can be read, if any.

    Raises:
        UnreadableDocument: It is none.
    """
    if not isinstance(action, dict) or not _is_text(action.get("path")):
        raise UnreadableDocument("an add or a remove names no path")
    values = action.get("partitionValues")
    if values is not None and not (
        isinstance(values, dict) and all(value is None or _is_text(value) for value in values.values())
    ):
        raise UnreadableDocument("its partition values are no texts")
    if instant_of(action.get("deletionTimestamp") or 0) is None:
        raise UnreadableDocument("its deletionTimestamp is no time in milliseconds")
    return action


def _is_text(value: object) -> bool:
    """Whether it is a text that can be part of an object's name."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value))


def instant_of(milliseconds: object) -> datetime | None:
    """A time of the log; None where it is none, or out of the calendar."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    try:
        at = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return at if at <= LAST else None
