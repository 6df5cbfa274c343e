"""The source version of a self-copy, recorded in a tag of the copy until the version is deleted.

On a bucket that keeps versions a self-copy leaves its source behind. An interruption between the copy and the deletion
leaves both; the tag tells the next transition which version is the source.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.carried import is_held
from tierlake.connector.errors import LakeError, ObjectArchived, ObjectNotFound
from tierlake.connector.objects.comparison import facts, refuse_differences
from tierlake.connector.objects.copy import Source
from tierlake.connector.objects.delete import delete_keys
from tierlake.connector.objects.metadata import get_tags, head, unquoted
from tierlake.connector.objects.object_lock import set_legal_hold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store

logger = logging.getLogger("tierlake.connector")

COPIED_FROM = "tierlake-copied-from"
"""The tag of a copy whose source is not deleted yet: that version and its ETag."""
_TAGS_MAX = 10


async def tags_of(store: Store, source: Source) -> tuple[dict[str, str], str | None]:
    """An object's tags without our own, and the source version of an interrupted copy, which this call deletes.

    Raises:
        ServerError: The copy differs from its source.
    """
    if not source.head.get("TagCount", 1):
        return {}, None
    try:
        tags = await get_tags(store, source.bucket, source.key)
    except ObjectArchived:  # raised by some servers; such an object is not copied before it is restored
        return {}, None
    mark = tags.pop(COPIED_FROM, None)
    if mark is None:
        return tags, None
    version, _, etag = mark.partition(" ")
    deleted = None
    with suppress(ObjectNotFound):  # deleted already, or the tags were copied to another key
        old = Source(source.bucket, source.key, await head(store, f"{source.bucket}/{source.key}", version))
        if unquoted(old.head["ETag"]) == etag and version != version_of(source.head):
            kept = ("ContentLength", "ContentType", "Metadata")
            then, now = facts(dict(old.head)), facts(dict(source.head))
            refuse_differences(old, [name for name in kept if then[name] != now[name]])
            deleted = await _delete_version(store, source, version)
    await unmark(store, source, version_of(source.head), tags)
    return tags, deleted


async def unmark(store: Store, source: Source, version: str, tags: dict[str, str]) -> None:
    """Remove our tag from a copy whose source is deleted, but not from another object that replaced the copy."""
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    which = {"Bucket": source.bucket, "Key": source.key, "VersionId": version}
    try:
        await store.send("put_object_tagging", **which, Tagging={"TagSet": tag_set})
    except LakeError as error:  # the move is done; the tag stays, or is gone with its version
        logger.warning("The tag %s stays at %s/%s: %s", COPIED_FROM, source.bucket, source.key, error)


def version_of(head: Mapping[str, Any]) -> str:
    """The version of a response."""
    # An object older than versioning is the version "null", which some servers omit.
    return str(head.get("VersionId") or "null")


async def marked(store: Store, source: Source, tags: dict[str, str]) -> dict[str, str]:
    """The tags of the copy, with its source version if the bucket keeps versions.

    An interruption between the copy and the deletion leaves two versions, and nothing else tells the source of a copy
    from an older object with the same bytes.
    """
    if len(tags) >= _TAGS_MAX or not (source.head.get("VersionId") or await store.keeps_versions(source.bucket)):
        return tags
    return {**tags, COPIED_FROM: f"{version_of(source.head)} {unquoted(source.head['ETag'])}"}


async def delete_source_version(
    store: Store, source: Source, head: dict[str, Any], tags: dict[str, str] | None
) -> str | None:
    """Delete the source version, whose bytes are now stored twice; an unversioned bucket has none.

    Args:
        store: The store.
        source: The source of the copy.
        head: The copy.
        tags: Its tags without our mark; None where it has no mark.
    """
    new, old = head.get("VersionId"), version_of(source.head)
    if not new or old == new:
        return None
    await _delete_version(store, source, old)
    if tags is not None and len(tags) < _TAGS_MAX:
        await unmark(store, source, new, tags)
    return old


async def _delete_version(store: Store, source: Source, version: str) -> str:
    if is_held(source.head):  # the copy has the hold now
        await set_legal_hold(store, [(f"{source.bucket}/{source.key}", version)], held=False)
    await delete_keys(store, source.bucket, [{"Key": source.key, "VersionId": version}], guarded=False)
    return version
