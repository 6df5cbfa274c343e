"""URLs that permit one request without credentials for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tierlake.connector.client.options import fitting
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.names import check_bucket, check_key
from tierlake.connector.objects.metadata import object_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store
    from tierlake.connector.profiles import Profile

LONGEST = timedelta(days=7)
"""Signature version 4's limit, https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
_OPERATIONS = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object"}
_FORM_FIELDS = {
    "ACL": "acl",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentType": "Content-Type",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",  # AWS and MinIO demand XML here
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html"""


class PresignConditions(TypedDict, total=False):
    """Conditions on the upload of a presigned POST.

    Keys:
        size: Smallest and largest size in bytes.
        content_type: The content type, or a prefix of it with `*` at the end (`image/*`).
    """

    size: tuple[int, int]
    content_type: str


class PresignedPost(TypedDict):
    """A form for a browser: send `fields` and then the file to `url`."""

    url: str
    fields: dict[str, str]


def presigned_method(client_method: str) -> str:
    """The HTTP method for s3fs's name of an operation (`get_object`)."""
    return next((method for method, operation in _OPERATIONS.items() if operation == client_method), client_method)


def lifetime_seconds(expires: float | timedelta) -> int:
    """A URL's lifetime in whole seconds.

    Raises:
        InvalidSetting: The lifetime is not between one second and seven days.
    """
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidSetting(f"{seconds!r} is no lifetime", hint="Say a number of seconds, or a timedelta")
    if not 1 <= seconds < LONGEST.total_seconds() + 1:  # NaN is in no range
        raise InvalidSetting(
            f"A presigned URL lives from 1 second to 7 days, not {seconds:g} seconds",
            hint=f"Say expires={int(LONGEST.total_seconds())} or less",
        )
    return int(seconds)


async def presign(store: Store, path: str, *, expires: float | timedelta, method: str, **options: Any) -> str:
    """Sign a URL for one GET, HEAD or PUT.

    A PUT is signed with the write policy's headers: the user of the URL has to send them.

    Args:
        store: The store.
        path: The object.
        expires: The URL's lifetime in seconds, at most seven days.
        method: `GET`, `HEAD` or `PUT`.
        **options: Parameters of the request, such as `VersionId` or `ResponseContentDisposition`.

    Returns:
        The URL.

    Raises:
        InvalidSetting: The lifetime or the method is invalid.
    """
    seconds = lifetime_seconds(expires)
    operation = _OPERATIONS.get(str(method).upper())
    if operation is None:
        raise InvalidSetting(
            f"{method!r} is no method to presign; there are {', '.join(_OPERATIONS)} and POST (presign_post)"
        )
    bucket, key = object_path(store, path)
    check_bucket(bucket)
    check_key(key, bucket=bucket)
    client = await store.client(bucket)
    params = {"Bucket": bucket, "Key": key, **fitting(client.meta.service_model, operation, options)}
    if operation == "put_object":
        await store.refuse_writes([f"{bucket}/{key}"], creating=True)
        params = await store.under_policy(operation, params)
    url: str = await client.generate_presigned_url(operation, Params=params, ExpiresIn=seconds)
    return url


async def presign_post(
    store: Store,
    path: str,
    *,
    expires: float | timedelta,
    **conditions: Unpack[PresignConditions],
) -> PresignedPost:
    """Sign a form that uploads one object.

    Args:
        store: The store.
        path: The object.
        expires: The form's lifetime in seconds, at most seven days.
        **conditions: Conditions on the upload.

    Returns:
        The URL and the fields to send with the file; they include the write policy's, and are signed.

    Raises:
        InvalidSetting: The lifetime or a condition is invalid; or the policy has a value that no form may carry, such
            as a customer's key (SSE-C), which the form would reveal.
    """
    seconds = lifetime_seconds(expires)
    _check_conditions(conditions)
    bucket, key = object_path(store, path)
    check_bucket(bucket)
    check_key(key, bucket=bucket)
    client = await store.client(bucket)
    await store.refuse_writes([f"{bucket}/{key}"], creating=True)
    options = fitting(client.meta.service_model, "put_object", store.options)
    request = await store.under_policy("put_object", {**options, "Bucket": bucket, "Key": key})
    fields = _form_fields(request, await store.profile())
    rules: list[Any] = [{name: value} for name, value in fields.items()]
    if "size" in conditions:
        rules.append(["content-length-range", *conditions["size"]])
    content_type = conditions.get("content_type")
    if content_type is not None and content_type.endswith("*"):
        fields.pop("Content-Type", None)
        rules = [rule for rule in rules if "Content-Type" not in rule]
        rules.append(["starts-with", "$Content-Type", content_type[:-1]])
    elif content_type is not None:
        fields["Content-Type"] = content_type
        rules.append({"Content-Type": content_type})
    form: PresignedPost = await client.generate_presigned_post(
        bucket, key, Fields=fields, Conditions=rules, ExpiresIn=seconds
    )
    return form


def _check_conditions(conditions: Mapping[str, Any]) -> None:
    """Refuse conditions that S3 would not read as they are meant, or not at all."""
    known = PresignConditions.__annotations__
    unknown = sorted(set(conditions) - set(known))
    if unknown:
        raise InvalidSetting(f"A form has no condition {unknown[0]!r}", hint=f"There are {' and '.join(known)}")
    size, content_type = conditions.get("size", (0, 0)), conditions.get("content_type", "")
    match size:
        case (int(smallest), int(largest)) if 0 <= smallest <= largest:
            pass
        case _:
            raise InvalidSetting(
                f"{size!r} is no range of sizes", hint="Say the smallest and the largest size in bytes"
            )
    if content_type is not None and not isinstance(content_type, str):
        raise InvalidSetting(f"{content_type!r} is no content type", hint="Say such as image/png, or image/*")


def _form_fields(request: Mapping[str, Any], profile: Profile) -> dict[str, str]:
    """The parameters of a PUT as a form's fields."""
    fields: dict[str, str] = {}
    for name, value in request.items():
        if name.startswith("SSECustomer"):
            raise InvalidSetting(
                "A form cannot carry a customer's key (SSE-C): whoever has the form would have the key",
                hint="Upload it yourself, or say another encryption for this key in a write rule",
                bucket=request["Bucket"],
                key=request["Key"],
            )
        if name == "Metadata":
            fields |= {f"x-amz-meta-{key}": str(text) for key, text in value.items()}
        elif name == "Tagging" and profile.form_tags_in_xml:
            fields["tagging"] = _tagging_document(value)
        elif name in _FORM_FIELDS:
            fields[_FORM_FIELDS[name]] = str(value).lower() if isinstance(value, bool) else str(value)
        elif name not in {"Bucket", "Key"}:
            raise InvalidSetting(
                f"A form cannot carry {name}", hint="presign(method='PUT') can", bucket=request["Bucket"]
            )
    return fields


def _tagging_document(tagging: str) -> str:
    """Tags in the form of a POST's field: XML, while a header has them like a query."""
    pairs = parse_qsl(tagging, keep_blank_values=True)
    tags = "".join(f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in pairs)
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>"
