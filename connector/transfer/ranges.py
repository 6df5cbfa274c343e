"""Some bytes of one generation of an object, by one request that also tells the object's size and ETag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3fs.utils import FileExpired

from tierlake.connector.errors import PreconditionFailed, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from typing_extensions import Buffer

    from tierlake.connector.client.store import Store

BEYOND_THE_END = frozenset({"InvalidRange", "RequestedRangeNotSatisfiable", "416"})
"""Codes with which servers refuse a range that begins after the end; each range of an empty object does."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an object.

    Args:
        data: The bytes, in memory that is not copied.
        start: The position of the first one in the object.
        size: The whole object's size in bytes.
        etag: The object's ETag as the server spells it.
        version_id: Its version, if the bucket keeps versions.
        last_modified: The time at which it was written, by the server's clock.
    """

    data: Buffer
    start: int
    size: int
    etag: str
    version_id: str | None
    last_modified: datetime | None


async def fetch(
    store: Store,
    target: Mapping[str, str],
    start: int | None = None,
    end: int | None = None,
    *,
    etag: str | None = None,
    **options: Any,
) -> Piece:
    """Bytes of an object by one GET; by two for a range of an empty object.

    Args:
        store: The store.
        target: Bucket, key and, for a certain version, its id, as parameters of `get_object`.
        start: The first byte; a negative one counts from the end, and takes no `end`. None is the beginning.
        end: The byte after the last; None is the end of the object.
        etag: The ETag that the object must have.
        **options: Further parameters of `get_object`.

    Raises:
        FileExpired: The object has another ETag.
        ObjectNotFound: There is no such object.
        RequestRefused: The range begins after the end of an object that is not empty.
    """
    which = requested(start, end)
    parameters = {**options, **({"IfMatch": etag} if etag else {})}
    try:
        try:
            response = await store.call("get_object", **target, **parameters, **which)
        except RequestRefused as error:
            if error.server_code not in BEYOND_THE_END:
                raise
            response = await store.call("get_object", **target, **parameters)
            if response["ContentLength"]:
                response["Body"].close()
                raise
    except PreconditionFailed as error:
        raise FileExpired(filename=f"{target['Bucket']}/{target['Key']}", e_tag=etag) from error
    async with response["Body"] as body:
        data: Buffer = await body.buffer()
    span = _CONTENT_RANGE.match(response.get("ContentRange") or "")
    return Piece(
        data=data,
        start=int(span[1]) if span else 0,
        size=int(span[2]) if span else response["ContentLength"],
        etag=response["ETag"],
        version_id=response.get("VersionId"),
        last_modified=response.get("LastModified"),
    )


def requested(start: int | None, end: int | None) -> dict[str, str]:
    """The parameters of `get_object` for some bytes; none for the whole object. Arguments as those of `fetch`."""
    if start is not None and start < 0:
        return {"Range": f"bytes={start}"}
    if end is None:
        return {"Range": f"bytes={start}-"} if start else {}
    return {"Range": f"bytes={start or 0}-{end - 1}"}
