"""From botocore's errors to ours: a table of codes, and the target of the request."""

from __future__ import annotations

import errno as errno_module
from dataclasses import dataclass
from typing import Any, NoReturn

import s3fs.errors
from aiohttp import ClientConnectionError, ClientPayloadError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from tierlake.connector.errors import (
    AccessDenied,
    AlreadyExists,
    BadCredentials,
    BucketNotFound,
    EndpointUnreachable,
    InvalidSetting,
    LakeError,
    ObjectArchived,
    ObjectNotFound,
    PreconditionFailed,
    RequestRefused,
    ServerError,
    Throttled,
    UnsupportedByServer,
)
from tierlake.connector.names import hive_folders
from tierlake.connector.redact import redact

SERVER_FAILURE = 500
_SHOWN = 200
_CREDENTIALS_HINT = "Check the key and the secret (TIERLAKE_KEY and TIERLAKE_SECRET, or the AWS chain)"
_RESTORE_HINT = "What is read or copied is archived: ask for it with fs.restore(path, days=1)"

_BY_CODE: dict[str, tuple[type[LakeError], str | None]] = {
    "NoSuchKey": (ObjectNotFound, None),
    "NoSuchVersion": (ObjectNotFound, None),
    "NoSuchUpload": (ObjectNotFound, None),
    "NoSuchBucket": (BucketNotFound, "Create it, or check the name"),
    "AccessDenied": (AccessDenied, None),
    "AllAccessDisabled": (AccessDenied, None),
    "AccountProblem": (AccessDenied, "The account cannot be used: ask whoever runs the server"),
    "InvalidObjectState": (ObjectArchived, _RESTORE_HINT),
    "ObjectNotInActiveTierError": (ObjectArchived, _RESTORE_HINT),
    "InvalidAccessKeyId": (BadCredentials, _CREDENTIALS_HINT),
    "SignatureDoesNotMatch": (BadCredentials, _CREDENTIALS_HINT),
    "InvalidToken": (BadCredentials, _CREDENTIALS_HINT),
    "InvalidSecurity": (BadCredentials, _CREDENTIALS_HINT),
    "CredentialsNotSupported": (BadCredentials, _CREDENTIALS_HINT),
    "ExpiredToken": (BadCredentials, "The session has expired: get a new one"),
    "TokenRefreshRequired": (BadCredentials, "The session has expired: get a new one"),
    "RequestTimeTooSkewed": (BadCredentials, "This machine's clock differs from the server's"),
    "PreconditionFailed": (PreconditionFailed, None),
    "ConditionalRequestConflict": (PreconditionFailed, None),
    "BucketAlreadyExists": (AlreadyExists, "Somebody owns this bucket name"),
    "BucketAlreadyOwnedByYou": (AlreadyExists, None),
    "SlowDown": (Throttled, "Make fewer requests at a time"),
    "Throttling": (Throttled, "Make fewer requests at a time"),
    "ThrottlingException": (Throttled, "Make fewer requests at a time"),
    "RequestLimitExceeded": (Throttled, "Make fewer requests at a time"),
    "TooManyRequests": (Throttled, "Make fewer requests at a time"),
    "ServiceUnavailable": (Throttled, None),
    "kms:KeyNotFound": (InvalidSetting, "The server's KMS has no such key"),
    "KMS.NotFoundException": (InvalidSetting, "KMS has no such key"),
}
_BY_STATUS: dict[int, type[LakeError]] = {
    401: BadCredentials,
    403: AccessDenied,
    404: ObjectNotFound,
    412: PreconditionFailed,
    429: Throttled,
    501: UnsupportedByServer,
    503: Throttled,
}


_HINTS: dict[type[LakeError], str] = {
    AccessDenied: "{operation} is not allowed to these credentials: `tierlake iam-policy` prints the rights it takes",
    ObjectNotFound: "Something else deleted it: look whether a lifecycle rule, or another writer, did",
    PreconditionFailed: "Another writer was faster: read it again, then write",
    AlreadyExists: "Another writer was faster: read it again, then write",
    Throttled: "The server is busy: try again later, or make fewer requests at a time",
    ServerError: "Try again; where it stays so, the server's log tells why",
}
"""The hint for a failure whose code says nothing more."""


def hint_for(kind: type[LakeError], operation: str) -> str | None:
    """The hint for a failure, by its class.

    Args:
        kind: The class.
        operation: Botocore's name of the failed operation.
    """
    hint = _HINTS.get(kind)
    return hint.format(operation=operation) if hint else None


@dataclass(frozen=True)
class Target:
    """The target of a request."""

    operation: str
    endpoint: str
    server: str
    bucket: str | None = None
    key: str | None = None
    must_not_exist: bool = False


def raise_translated(error: Exception, target: Target) -> NoReturn:
    """Raise the error that a caller can act on.

    Args:
        error: Botocore's error.
        target: The target of the request.
    """
    if isinstance(error, boto.ParamValidationError):
        # Its text and its cause may hold parameters' values, such as keys.
        raise RequestRefused(
            f"{target.operation}: {redact(str(error))}", bucket=target.bucket, key=target.key
        ) from None
    raise translated(error, target) from error


def translated(error: Exception, target: Target) -> Exception:
    """The error that a caller can act on; an error that is not botocore's is returned as it is."""
    if isinstance(error, boto.ClientError):
        return _of_response(error, target)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return BadCredentials(
            f"No usable credentials: {redact(str(error))}", hint=_CREDENTIALS_HINT, bucket=target.bucket
        )
    if isinstance(error, LakeError):
        return error
    if isinstance(error, ClientPayloadError | boto.ResponseStreamingError | boto.IncompleteReadError):
        return EndpointUnreachable(
            f"The answer from {target.endpoint} broke off, again and again",
            hint="Try again; check the network, and what is between here and the server",
            bucket=target.bucket,
            key=target.key,
        )
    if isinstance(error, ResponseParserError):
        return ServerError(
            f"{target.operation}: the answer from {target.endpoint} makes no sense: {_short(str(error))}",
            hint="Check the endpoint: it may be no S3 server, or something between here and it answers in its place",
            bucket=target.bucket,
            key=target.key,
        )
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError | ClientConnectionError | TimeoutError | OSError):
        return EndpointUnreachable(
            f"No answer from {target.endpoint}: {redact(str(error) or type(error).__name__)}",
            hint="Check the endpoint, and whether the server runs",
            bucket=target.bucket,
            key=target.key,
        )
    return error


def _short(text: str) -> str:
    """The beginning of a library's text, in one line: it quotes the whole answer."""
    line = " ".join(redact(text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _of_response(error: boto.ClientError, target: Target) -> LakeError:
    reason: dict[str, Any] = error.response.get("Error", {})
    meta: dict[str, Any] = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    code = str(reason.get("Code", status))
    context: dict[str, Any] = {
        "server_code": code,
        "request_id": meta.get("RequestId") or meta.get("HTTPHeaders", {}).get("x-amz-request-id"),
        "bucket": target.bucket,
        "key": target.key,
    }
    message = f"{target.operation}: {redact(str(reason.get('Message') or code))}"
    kind, hint = _BY_CODE.get(code, (_BY_STATUS.get(status), None))
    if kind is ObjectNotFound and target.key is None and code.isdigit():
        kind = BucketNotFound
    if kind is PreconditionFailed and target.must_not_exist:
        kind, message = AlreadyExists, f"{target.operation}: it exists already"
    if kind is BucketNotFound:
        message = f"The specified bucket does not exist: {target.bucket!r}"  # S3's words, which pandas looks for
    if kind is ObjectArchived and target.operation == "get_object" and target.bucket and target.key:
        return archived(target.bucket, target.key, reason.get("StorageClass"), context)
    if kind is UnsupportedByServer:
        return UnsupportedByServer(target.server, f"{target.operation} in this way ({message})", **context)
    if kind is not None:
        return kind(message, hint=hint or hint_for(kind, target.operation), **context)
    like = s3fs.errors.translate_boto_error(error, set_cause=False) if "Error" in error.response else None
    number = like.errno if isinstance(like, OSError) else None
    if isinstance(like, PermissionError):
        return AccessDenied(message, hint=hint_for(AccessDenied, target.operation), **context)
    if isinstance(like, FileNotFoundError):
        return ObjectNotFound(message, hint=hint_for(ObjectNotFound, target.operation), **context)
    if status >= SERVER_FAILURE:
        return ServerError(message, hint=hint_for(ServerError, target.operation), errno=number, **context)
    hint = f"The server refuses {target.operation} as it was asked: its code and its log say why"
    return RequestRefused(message, hint=hint, errno=number or errno_module.EINVAL, **context)


def archived(bucket: str, key: str, storage_class: str | None, context: dict[str, Any]) -> ObjectArchived:
    """The error for a read of an archived object: its partition, its class, and the ways to restore it.

    Args:
        bucket: The bucket.
        key: The object.
        storage_class: The class that the server reports; None if it reports none.
        context: Further fields of the error.
    """
    where = f"is archived in {storage_class or 'a class of archives'} and cannot be read before it is restored"
    root, partition = hive_folders(key)
    if not partition:
        hint = f"Ask for it with fs.restore({f'{bucket}/{key}'!r}, days=1), or `tierlake restore` its partition"
        return ObjectArchived(f"lake://{bucket}/{key} {where}", hint=hint, **context)
    table = f"lake://{bucket}/{root}".rstrip("/")
    hint = (
        f"Ask for it with `tierlake restore {table} {partition}`. Where a filter leaves it out, pandas, pyarrow and "
        f"Dask open the first file all the same, for the schema, which they find if a tiering plan archived it. "
        f"Otherwise pandas and pyarrow take it as schema=Dataset.open({table!r}).schema; Dataset.read(where=...) and "
        f"Dataset.to_dask open no such file"
    )
    return ObjectArchived(f"The partition {partition} of {table} {where}", hint=hint, **context)
