"""`get_object` and `put_object` by obstore (Rust), for the requests that it sends as aiobotocore does.

`Native.store_for` says which requests these are. Parameters are taken from lists of those that are understood: all
others, odd keys (object_store normalises paths), and odd values are left to aiobotocore.

The response to a read has what reads need: `Body`, `ContentLength`, `ContentRange`, `ETag`, `LastModified`,
`VersionId`, user metadata and content headers. obstore shows neither the storage class nor the encryption.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from botocore.exceptions import ClientError, HTTPClientError, ReadTimeoutError, SSLError

from tierlake.connector.client.native_errors import botocore_error
from tierlake.connector.client.native_lifetime import UnusableError, is_usable, result_of
from tierlake.connector.client.native_stores import Kind
from tierlake.connector.client.recent import RecentSet
from tierlake.connector.settings import is_aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.native_stores import NativeStores

NATIVE_OPERATIONS: Final = frozenset({"get_object", "put_object"})
_KEY: Final = re.compile(r"(?!\.\.?(?:/|$))[^\x00-\x1f\x7f/]+(?:/(?!\.\.?(?:/|$))[^\x00-\x1f\x7f/]+)*")
_RANGE: Final = re.compile(r"bytes=(?:(\d+)-(\d*)|-([1-9]\d*))")
_ETAG: Final = re.compile(r'"[!#-~]+"')
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]+")
_TEXT: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_METADATA_NAME: Final = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_HEADERS: Final = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "ContentType": "Content-Type",
    "StorageClass": "Storage-Class",
}
_HEADER_NAMES: Final = {attribute: name for name, attribute in _HEADERS.items()}
_CONDITIONS: Final = frozenset({"IfMatch", "IfNoneMatch"})
_NEW: Final = frozenset({"BucketKeyEnabled", "SSEKMSKeyId", "ServerSideEncryption"})
_CUSTOMER: Final = frozenset({"SSECustomerAlgorithm", "SSECustomerKey"})
_ENCRYPTED: Final = _NEW | _CUSTOMER
_PLACE: Final = frozenset({"Bucket", "Key", "RequestPayer"})
_READ: Final = _PLACE | _CONDITIONS | _CUSTOMER | {"Range", "VersionId"}
_WRITE: Final = _PLACE | _CONDITIONS | _CUSTOMER | _NEW | _HEADERS.keys() | {"Body", "Metadata", "Tagging"}
_MODES: Final = frozenset({"AES256", "aws:kms", "aws:kms:dsse"})
_BODY = (bytes, bytearray, memoryview)
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_REDIRECT_CODES: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
_REFUSED: Final = 403
_BUCKETS_MAX: Final = 1000
_SLOWEST_BYTES_PER_SECOND = 1 << 17
"""A body that is sent more slowly is taken for one whose receiver is gone."""


class NotUnderstoodError(Exception):
    """obstore cannot make a request, or make sense of its response: aiobotocore has to make it."""


def is_understood(operation: str, request: Mapping[str, Any]) -> bool:
    """Whether obstore sends this request as aiobotocore does.

    Args:
        operation: Botocore's name of the operation.
        request: Its parameters.
    """
    key = request.get("Key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return False
    if not isinstance(request.get("Bucket"), str) or request.get("RequestPayer", "requester") != "requester":
        return False
    if "SSECustomerKey" in request and (_NEW & request.keys() or request.get("SSECustomerAlgorithm") != "AES256"):
        return False
    if "SSECustomerAlgorithm" in request and not isinstance(request.get("SSECustomerKey"), bytes | str):
        return False
    if operation == "get_object":
        return request.keys() <= _READ and _is_plain_read(request)
    return operation == "put_object" and request.keys() <= _WRITE and _is_plain_write(request)


def _is_plain_read(request: Mapping[str, Any]) -> bool:
    span, version = request.get("Range"), request.get("VersionId")
    if span is not None and not (isinstance(span, str) and _is_plain_range(span)):
        return False
    if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        return False
    return all(_is(_ETAG, request[name]) for name in _CONDITIONS & request.keys())


def _is_plain_range(span: str) -> bool:
    match = _RANGE.fullmatch(span)
    return match is not None and not (match[2] and int(match[2]) < int(match[1]))


def _is_plain_write(request: Mapping[str, Any]) -> bool:
    conditions = _CONDITIONS & request.keys()
    if len(conditions) > 1 or request.get("IfNoneMatch", "*") != "*" or not _is(_ETAG, request.get("IfMatch", '"x"')):
        return False
    if not isinstance(request.get("Body", b""), _BODY):
        return False
    if _NEW & request.keys() and request.get("ServerSideEncryption") not in _MODES:
        return False
    if not isinstance(request.get("BucketKeyEnabled", False), bool) or not _is(_TEXT, request.get("SSEKMSKeyId", "x")):
        return False
    if not all(_is(_TEXT, request[name]) for name in _HEADERS.keys() & request.keys()):
        return False
    metadata = request.get("Metadata", {})
    if not all(_is(_METADATA_NAME, name) and _is(_TEXT, value) for name, value in metadata.items()):
        return False
    return (
        not metadata.keys() & {name.lower() for name in _HEADER_NAMES} and _tags(request.get("Tagging", "")) is not None
    )


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _tags(text: Any) -> dict[str, str] | None:
    """Tags of a request; None where obstore's dictionary does not say the same."""
    if not isinstance(text, str):
        return None
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError:
        return None
    tags = dict(pairs)
    return tags if len(tags) == len(pairs) else None


class Native:
    """Makes requests by obstore.

    Args:
        stores: The stores of the connection.
        endpoint: The endpoint's URL, for errors.
        read_timeout: Seconds to wait for the response to a write, after its body.
    """

    def __init__(self, stores: NativeStores, endpoint: str, read_timeout: float) -> None:
        self._stores = stores
        self._endpoint = endpoint
        self._read_timeout = read_timeout
        self._is_aws = is_aws(endpoint)
        self._answered, self._elsewhere = RecentSet[str](_BUCKETS_MAX), RecentSet[str](_BUCKETS_MAX)

    def store_for(self, operation: str, request: Mapping[str, Any], client: Any) -> Any | None:
        """The store that makes a request; None leaves it to aiobotocore.

        Args:
            operation: Botocore's name of the operation.
            request: Its parameters.
            client: The aiobotocore client of the bucket.
        """
        if not self._stores.are_possible or not is_usable() or not is_understood(operation, request):
            return None
        if request["Bucket"] in self._elsewhere:
            return None
        encrypted = _ENCRYPTED & request.keys()
        encryption = tuple(sorted((name, request[name]) for name in encrypted)) if encrypted else ()
        kind = Kind(request["Bucket"], encryption, "RequestPayer" in request, operation == "put_object")
        return self._stores.of(kind, client)

    async def request(self, store: Any, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a request once.

        Args:
            store: One of `store_for`.
            operation: Botocore's name of the operation.
            request: Its parameters.

        Returns:
            A response in botocore's shape; the `Body` of a read is obstore's.

        Raises:
            Exception: Botocore's error for what went wrong.
            NotUnderstoodError: aiobotocore has to make the request; it has had no effect.
        """
        await self._stores.look_up_credentials()
        try:
            if operation == "get_object":
                response = await _read(store, request)
            else:
                seconds = self._read_timeout + len(memoryview(request.get("Body", b""))) / _SLOWEST_BYTES_PER_SECOND
                async with asyncio.timeout(seconds):
                    response = await _written(store, request)
        except UnusableError as error:
            raise NotUnderstoodError(str(error)) from error
        except TimeoutError:
            raise ReadTimeoutError(endpoint_url=self._endpoint) from None
        except Exception as error:
            failure = self._translated(error, operation)
            self._check_redirect(request["Bucket"], failure)
            self._check_certificate(failure)
            raise failure from error
        if self._is_aws:
            self._answered.add(request["Bucket"])
        return response

    def _check_redirect(self, bucket: str, failure: Exception) -> None:
        """Leave a bucket in another region to aiobotocore, which follows S3's redirects.

        reqwest follows some too, without the signature: AWS then refuses the request.
        """
        if not isinstance(failure, ClientError):
            return
        status, code = failure.response["ResponseMetadata"]["HTTPStatusCode"], failure.response["Error"]["Code"]
        if status in _REDIRECTS or code in _REDIRECT_CODES:
            self._elsewhere.add(bucket)
            raise NotUnderstoodError(code) from failure
        if self._is_aws and status == _REFUSED and bucket not in self._answered:
            raise NotUnderstoodError(code) from failure

    def _check_certificate(self, failure: Exception) -> None:
        """Leave a server whose certificate Rust's TLS refuses to aiobotocore, whose OpenSSL decides for itself.

        Rust's TLS accepts no authority's own certificate as a server's, which self-signed ones often are.
        """
        if isinstance(failure, SSLError):
            self._stores.are_possible = False
            raise NotUnderstoodError(str(failure)) from failure

    def _translated(self, error: Exception, operation: str) -> Exception:
        failure: Exception | None = botocore_error(error, operation, self._endpoint)
        if failure is not None:
            return failure
        if operation == "get_object" or isinstance(error, ValueError | TypeError):  # refused before it was sent
            return NotUnderstoodError(str(error))
        unknown: Exception = HTTPClientError(error=error)
        return unknown  # it may have been written


async def _read(store: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    from obstore import get_async

    result = await result_of(get_async, store, request["Key"], options=_get_options(request))
    meta, (first, end) = result.meta, result.range
    response: dict[str, Any] = {
        "Body": result,
        "ContentLength": end - first,
        "LastModified": meta["last_modified"],
        "ETag": meta["e_tag"],
        "Metadata": {},
        "ResponseMetadata": _meta(206 if "Range" in request else 200, **{"content-length": str(end - first)}),
    }
    if meta["version"] is not None:
        response["VersionId"] = meta["version"]
    if "Range" in request:
        response["ContentRange"] = f"bytes {first}-{end - 1}/{meta['size']}"
    for name, value in result.attributes.items():
        if name in _HEADER_NAMES:
            response[_HEADER_NAMES[name]] = value
        else:
            response["Metadata"][name] = value
    return response


def _meta(status: int, **headers: str) -> dict[str, Any]:
    return {"HTTPStatusCode": status, "HTTPHeaders": headers, "RetryAttempts": 0}


def _get_options(request: Mapping[str, Any]) -> Any:
    options: dict[str, Any] = {}
    span = _RANGE.fullmatch(request.get("Range", ""))
    if span is not None:
        first, last, suffix = span.groups()
        if suffix:
            options["range"] = {"suffix": int(suffix)}
        else:
            options["range"] = (int(first), int(last) + 1) if last else {"offset": int(first)}
    for name, option in (("IfMatch", "if_match"), ("IfNoneMatch", "if_none_match"), ("VersionId", "version")):
        if name in request:
            options[option] = request[name]
    return options


async def _written(store: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    from obstore import put_async

    attributes = {_HEADERS[name]: request[name] for name in _HEADERS.keys() & request.keys()}
    mode: Any = "create" if "IfNoneMatch" in request else "overwrite"
    result = await result_of(
        put_async,
        store,
        request["Key"],
        request.get("Body", b""),
        attributes={**request.get("Metadata", {}), **attributes},
        tags=_tags(request.get("Tagging", "")),
        mode={"e_tag": request["IfMatch"]} if "IfMatch" in request else mode,
        use_multipart=False,
    )
    response = {"ETag": result["e_tag"], "ResponseMetadata": _meta(200)}
    return response if result["version"] is None else {**response, "VersionId": result["version"]}
