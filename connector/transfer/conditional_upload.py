"""Conditional uploads of local files: in one request, or in parts with the condition on the last request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed, UnsupportedByServer
from tierlake.connector.objects.metadata import condition_of, head, object_path, put_if, unquoted
from tierlake.connector.transfer.local_file import reader
from tierlake.connector.transfer.multipart import Source, put_in_parts
from tierlake.connector.transfer.part_sizes import PARTS_BESIDE_OTHERS, part_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store

SINGLE_PUT_BYTES = 64 << 20
"""Larger files are sent in parts: a request's body is in memory.

Without a condition parts begin at 16 MiB. Here one request is worth more: each server takes its condition.
"""


async def put_file_if(
    store: Store,
    local: str,
    path: str,
    *,
    if_match: str | None = None,
    if_none_match: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Upload a local file only if the object is in the expected state.

    Args:
        store: The store.
        local: The file.
        path: The object.
        if_match: The ETag that it must have now.
        if_none_match: It must not exist.
        metadata: User metadata of the object.

    Returns:
        The new ETag, without quotes.

    Raises:
        PreconditionFailed: It is in another state; `tierlake.connector.errors.AlreadyExists` if it must not
            exist. No part is left.
        UnsupportedByServer: The file is too large for one request, and completing an upload takes no condition.
        ValueError: Not exactly one of the two conditions is given.
    """
    condition = condition_of(if_match, if_none_match=if_none_match)
    file = Path(local)
    size = (await asyncio.to_thread(file.stat)).st_size
    if size <= SINGLE_PUT_BYTES:
        data = await asyncio.to_thread(file.read_bytes)
        return await put_if(store, path, data, if_match=if_match, if_none_match=if_none_match, metadata=metadata)
    bucket, key = object_path(store, path)
    profile = await store.profile()
    if not (profile.complete_if_none_match if if_none_match else profile.complete_if_match):
        what = f"writing {size:,} bytes only if nobody has replaced the object"
        alternative = profile.alternative("complete_if_match")
        raise UnsupportedByServer(profile.name, what, alternative, bucket=bucket, key=key)
    try:
        source = Source(read=reader(file), size=size, part_bytes=part_bytes(size), at_once=PARTS_BESIDE_OTHERS)
        options = {"Metadata": dict(metadata)} if metadata else {}
        response = await put_in_parts(
            store.call, {"Bucket": bucket, "Key": key}, source, options=options, condition=condition
        )
    except ObjectNotFound as error:
        if not await _exists(store, path):
            raise PreconditionFailed("The object does not exist", bucket=bucket, key=key) from error
        raise
    finally:
        store.invalidate(f"{bucket}/{key}")
    return unquoted(response["ETag"])


async def _exists(store: Store, path: str) -> bool:
    try:
        await head(store, path)
    except ObjectNotFound:
        return False
    return True
