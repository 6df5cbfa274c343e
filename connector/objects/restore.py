"""Archived classes: restoring an object, and the state of the restore."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tierlake.connector.errors import InvalidSetting, RequestRefused, Throttled, UnsupportedByServer
from tierlake.connector.objects.metadata import head, http_time, object_path

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.connector.client.store import Store

_SPEEDS = {"expedited": "Expedited", "standard": "Standard", "bulk": "Bulk"}
_RESTORE = re.compile(r'ongoing-request="(true|false)"(?:,\s*expiry-date="([^"]*)")?')

RestoreState = Literal["not archived", "archived", "in progress", "restored"]


@dataclass(frozen=True)
class RestoreStatus:
    """Whether an archived object can be read.

    Args:
        path: `bucket/key`.
        storage_class: The class that the object reports.
        state: `not archived` needs no restore, `archived` needs one, `in progress` is requested,
            `restored` can be read until `expires`.
        expires: The time at which the restored copy is deleted.
    """

    path: str
    storage_class: str
    state: RestoreState
    expires: datetime | None = None

    @property
    def readable(self) -> bool:
        """Whether a GET succeeds now."""
        return self.state in {"not archived", "restored"}


async def restore_status(store: Store, path: str) -> RestoreStatus:
    """Whether an object can be read.

    Raises:
        ObjectNotFound: There is no such object.
    """
    bucket, key = object_path(store, path)
    response = await head(store, path)
    profile = await store.profile()
    storage_class = response.get("StorageClass") or "STANDARD"
    match = _RESTORE.search(response.get("Restore") or "")
    state: RestoreState = "archived" if storage_class in profile.archived_classes else "not archived"
    expires = None
    if match is not None:
        state = "in progress" if match[1] == "true" else "restored"
        expires = http_time(match[2]) if match[2] else None
    return RestoreStatus(f"{bucket}/{key}", storage_class, state, expires)


def check_request(days: int, speed: str) -> None:
    """Refuse a restore that no server can be asked for.

    Raises:
        InvalidSetting: `days` or `speed` is invalid.
    """
    if days < 1 or speed not in _SPEEDS:
        raise InvalidSetting(f"restore takes days >= 1 and a speed of {', '.join(_SPEEDS)}")


async def restore(store: Store, path: str, *, days: int, speed: str) -> RestoreStatus:
    """Request a readable copy of an archived object; a second request changes nothing.

    Args:
        store: The store.
        path: The object.
        days: How long the copy stays.
        speed: `bulk` (cheapest, hours), `standard` or `expedited` (minutes, GLACIER only).

    Returns:
        The status afterwards.

    Raises:
        UnsupportedByServer: The server has no archived classes.
        InvalidSetting: `days` or `speed` is invalid.
        ObjectNotFound: There is no such object.
    """
    check_request(days, speed)
    profile = await store.profile()
    if not profile.restore:
        raise UnsupportedByServer(profile.name, "restoring", "a plain read: nothing is archived there")
    before = await restore_status(store, path)
    if before.state != "archived":
        return before
    bucket, key = object_path(store, path)
    request = {"Days": days, "GlacierJobParameters": {"Tier": _SPEEDS[speed]}}
    try:
        await store.send("restore_object", Bucket=bucket, Key=key, RestoreRequest=request)
    except (RequestRefused, Throttled) as error:
        if error.server_code != "RestoreAlreadyInProgress":
            raise
    return await restore_status(store, path)
