"""Probes of conditions, uploads, versions and listings. See `connector.doctor.probes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from tierlake.connector.doctor.place import FIRST, NO, PRECONDITION, YES, code_of, status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tierlake.connector.doctor.place import Place

WRONG_ETAG = '"00000000000000000000000000000000"'


def conditional(operation: str, **condition: str) -> Callable[[Place], Awaitable[str]]:
    """Whether a condition that does not hold stops a request on an existing object."""

    async def probe(place: Place) -> str:
        key = await place.put()
        source = {"CopySource": place.source(key)} if operation == "copy_object" else {}
        target = await place.put() if source else key
        return await place.refuses(operation, Key=target, **source, **condition)

    return probe


async def if_match_missing(place: Place) -> str:
    """The status of a PUT with If-Match where there is no object."""
    try:
        await place.ask("put_object", Key=place.key(), Body=FIRST, IfMatch=WRONG_ETAG)
    except boto.ClientError as error:
        return str(status_of(error))
    return "ignored"


async def upload(place: Place, key: str, **condition: str) -> dict[str, Any]:
    """Upload an object in one part; return the response, with the parameters of its completion under `again`."""
    started = await place.ask("create_multipart_upload", Key=key)
    part = {"Key": key, "UploadId": started["UploadId"]}
    etag = (await place.ask("upload_part", **part, PartNumber=1, Body=FIRST))["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    done = await place.ask("complete_multipart_upload", **part, MultipartUpload=parts, **condition)
    return {**done, "again": {**part, "MultipartUpload": parts}}


def completion(**condition: str) -> Callable[[Place], Awaitable[str]]:
    """Whether the completion of an upload honours a condition that does not hold."""

    async def probe(place: Place) -> str:
        key = await place.put()
        try:
            await upload(place, key, **condition)
        except boto.ClientError as error:
            return YES if status_of(error) in PRECONDITION else f"{NO}: {code_of(error)}"
        return f"{NO}: ignored"

    return probe


async def complete_again(place: Place) -> str:
    """Whether a completed upload may be completed again."""
    done = await upload(place, place.key())
    return await place.takes("complete_multipart_upload", **done["again"])


async def uploads_by_prefix(place: Place) -> str:
    """Whether incomplete uploads are listed by prefix."""
    key = place.key()
    started = await place.ask("create_multipart_upload", Key=key)
    listed = await place.ask("list_multipart_uploads", Prefix=key.rpartition("/")[0] + "/")
    await place.ask("abort_multipart_upload", Key=key, UploadId=started["UploadId"])
    return YES if listed.get("Uploads") else NO


async def restore(place: Place) -> str:
    """Whether archived objects can be restored."""
    request = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
    return await place.has("restore_object", Key=await place.put(), RestoreRequest=request)


async def versions(place: Place) -> str:
    """Delete marker, GET by version, undo by deleting the marker."""
    key = place.key()
    first = (await place.ask("put_object", Key=key, Body=FIRST)).get("VersionId")
    await place.ask("put_object", Key=key, Body=b"second")
    marker = (await place.ask("delete_object", Key=key)).get("VersionId")
    if first is None or marker is None:
        return NO
    async with (await place.ask("get_object", Key=key, VersionId=first))["Body"] as body:
        old = await body.read()
    await place.ask("delete_object", Key=key, VersionId=marker)
    async with (await place.ask("get_object", Key=key))["Body"] as body:
        return YES if (old, await body.read()) == (FIRST, b"second") else NO


async def repeated_delete(place: Place) -> str:
    """Whether deleting a deleted key of a versioned bucket adds a marker."""
    key = await place.put()
    for _ in range(2):
        await place.ask("delete_object", Key=key)
    listed = await place.ask("list_object_versions", Prefix=key)
    return YES if len(listed.get("DeleteMarkers", ())) > 1 else NO


async def empty_prefix(place: Place) -> str:
    """Whether a prefix whose last object is deleted stays in listings."""
    key = await place.put()
    await place.ask("delete_object", Key=key)
    listed = await place.ask("list_objects_v2", Prefix=place.prefix, Delimiter="/")
    folder = key.rpartition("/")[0] + "/"
    return YES if folder in {entry["Prefix"] for entry in listed.get("CommonPrefixes", ())} else NO


async def hidden_key(place: Place) -> str:
    """Whether a key below an existing object is missing from listings."""
    key = await place.put()
    below = f"{key}/below"
    if await place.takes("put_object", Key=below, Body=FIRST) != YES:
        return "refused"
    listed = await place.ask("list_objects_v2", Prefix=key)
    await place.ask("delete_object", Key=below)
    return NO if below in {entry["Key"] for entry in listed.get("Contents", ())} else YES


async def backslash(place: Place) -> str:
    """Whether a key with a backslash is stored under just that key."""
    key = place.key("a\\b")
    if await place.takes("put_object", Key=key, Body=FIRST) != YES:
        return "refused"
    listed = await place.ask("list_objects_v2", Prefix=key.partition("\\")[0])
    keys = [entry["Key"] for entry in listed.get("Contents", ())]
    for one in keys:
        await place.ask("delete_object", Key=one)
    return YES if keys == [key] else NO
