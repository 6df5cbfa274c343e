"""Probes of storage classes, copies and encryption. See `connector.doctor.probes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from tierlake.connector.doctor.object_probes import upload
from tierlake.connector.doctor.place import FIRST, NO, YES, code_of
from tierlake.connector.policy.encryption import SseC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tierlake.connector.doctor.place import Place
    from tierlake.connector.policy.encryption import Encryption

GENERAL_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
)
"""Classes of general-purpose buckets; the other classes belong to other kinds of buckets."""
_REPLACE: dict[str, Any] = {"MetadataDirective": "REPLACE", "Metadata": {"a": "b"}}


async def classes(place: Place) -> str:
    """Classes that a PUT may name."""
    taken = [
        name for name in GENERAL_CLASSES if await place.takes("put_object", Key=place.key(), StorageClass=name) == YES
    ]
    return listed(taken)


def listed(names: Iterable[str]) -> str:
    """Classes as the text of an answer."""
    listed = tuple(names)
    return "all" if listed == GENERAL_CLASSES else ", ".join(listed)


async def _other_class(place: Place) -> str:
    for name in ("STANDARD_IA", "REDUCED_REDUNDANCY"):
        if await place.takes("put_object", Key=place.key(), StorageClass=name) == YES:
            return name
    return "STANDARD"


async def self_copy(place: Place) -> str:
    """The directive that a self-copy to another class needs."""
    key, other = await place.put(), await _other_class(place)
    request = {"Key": key, "CopySource": place.source(key), "StorageClass": other}
    return "COPY" if await place.takes("copy_object", **request) == YES else "REPLACE"


async def self_copy_encryption(place: Place) -> str:
    """Whether a self-copy that names no encryption keeps SSE-S3."""
    key = await place.put(ServerSideEncryption="AES256")
    await place.ask(
        "copy_object", Key=key, CopySource=place.source(key), MetadataDirective="REPLACE", Metadata={"a": "b"}
    )
    return await _encrypted(place, key)


async def copy_encryption(place: Place) -> str:
    """Whether a copy to another key that names no encryption keeps SSE-S3."""
    key, copy = await place.put(ServerSideEncryption="AES256"), place.key()
    await place.ask("copy_object", Key=copy, CopySource=place.source(key))
    return await _encrypted(place, copy)


async def copy_class(place: Place) -> str:
    """Whether a copy to another key that names no class keeps the source's."""
    other, copy = await _other_class(place), place.key()
    key = await place.put(StorageClass=other)
    await place.ask("copy_object", Key=copy, CopySource=place.source(key))
    return YES if (await place.ask("head_object", Key=copy)).get("StorageClass") == other else NO


async def self_copy_tags(place: Place) -> str:
    """Whether a self-copy with REPLACE keeps the tags."""
    key = await place.put(Tagging="a=b")
    await place.ask(
        "copy_object", Key=key, CopySource=place.source(key), MetadataDirective="REPLACE", Metadata={"a": "b"}
    )
    return YES if (await place.ask("get_object_tagging", Key=key))["TagSet"] else NO


async def _encrypted(place: Place, key: str) -> str:
    return YES if (await place.ask("head_object", Key=key)).get("ServerSideEncryption") else NO


async def self_copy_etag(place: Place) -> str:
    """Whether a multipart object keeps its ETag through a self-copy."""
    key = place.key()
    before = (await upload(place, key))["ETag"]
    await place.ask("copy_object", Key=key, CopySource=place.source(key), **_REPLACE)
    return YES if (await place.ask("head_object", Key=key))["ETag"] == before else NO


def encryption(value: Encryption) -> Callable[[Place], Awaitable[str]]:
    """Whether an object is stored with the requested encryption."""

    async def probe(place: Place) -> str:
        params = {**value.headers()}
        params.pop("BucketKeyEnabled", None)
        key = place.key()
        try:
            await place.ask("put_object", Key=key, Body=FIRST, **params)
            again = params if isinstance(value, SseC) else {}
            head = await place.ask("head_object", Key=key, **again)
        except boto.ClientError as error:
            return f"{NO}: {code_of(error)}"
        except boto.ParamValidationError:  # botocore itself sends no key in clear
            return f"{NO}: not over HTTP"
        name = "SSECustomerAlgorithm" if isinstance(value, SseC) else "ServerSideEncryption"
        return YES if head.get(name) == params[name] else f"{NO}: ignored"

    return probe
