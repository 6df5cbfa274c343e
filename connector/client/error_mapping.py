"""From botocore's errors to ours: a table of codes, and the target of the request."""

from __future__ import annotations

import errno as errno_module
from dataclasses import dataclass
from typing import Any, NoReturn

import s3fs.errors
from aiohttp import ClientConnectionError, ClientPayloadError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from tierlake.connector.client.aws_chain import CREDENTIALS_HINT, FAILURES, no_credentials
from tierlake.connector.client.unreachable import HTTPS_ONLY, unreachable
from tierlake.connector.errors import (
    AccessDenied,
    AlreadyExists,
    BadCredentials,
    BucketNotFound,
    EndpointUnreachable,
    InvalidName,
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
from tierlake.connector.names import check_new_bucket, hive_folders
from tierlake.connector.redact import one_line

SERVER_FAILURE = 500
NO_S3_HINT = (
    "Check the endpoint: it may be no S3 server (MinIO's console has a port of its own), or something between here and "
    "it answers in its place"
)
_OF_NAMES = frozenset({"InvalidBucketName", "400"})
_OF_BUCKETS = frozenset({"create_bucket", "head_bucket", "CreateBucket", "HeadBucket"})
_SHOWN = 200
_SESSION_HINT = "Get a new session: `aws sso login`, or new values of TIERLAKE_KEY, TIERLAKE_SECRET and TIERLAKE_TOKEN"
_BUCKET_HINT = "`tierlake bucket apply {bucket}` creates it; or check its name and the endpoint"
_REGION_HINT = "Set the bucket's region: TIERLAKE_REGION={region}"
_RESTORE_HINT = "What is read or copied is archived: ask for it with fs.restore(path, days=1)"

_BY_CODE: dict[str, tuple[type[LakeError], str | None]] = {
    "NoSuchKey": (ObjectNotFound, None),
    "NoSuchVersion": (ObjectNotFound, None),
    "NoSuchUpload": (ObjectNotFound, "The upload was completed or aborted before: upload it again"),
    "NoSuchBucket": (BucketNotFound, _BUCKET_HINT),
    "AccessDenied": (AccessDenied, None),
    "AllAccessDisabled": (AccessDenied, None),
    "AccountProblem": (AccessDenied, "The account cannot be used: ask whoever runs the server"),
    "InvalidObjectState": (ObjectArchived, _RESTORE_HINT),
    "ObjectNotInActiveTierError": (ObjectArchived, _RESTORE_HINT),
    "InvalidAccessKeyId": (BadCredentials, CREDENTIALS_HINT),
    "SignatureDoesNotMatch": (BadCredentials, CREDENTIALS_HINT),
    "InvalidToken": (BadCredentials, CREDENTIALS_HINT),
    "InvalidSecurity": (BadCredentials, CREDENTIALS_HINT),
    "CredentialsNotSupported": (BadCredentials, CREDENTIALS_HINT),
    "ExpiredToken": (BadCredentials, _SESSION_HINT),
    "TokenRefreshRequired": (BadCredentials, _SESSION_HINT),
    "RequestTimeTooSkewed": (BadCredentials, "This machine's clock differs from the server's: set it, and try again"),
    "PreconditionFailed": (PreconditionFailed, None),
    "ConditionalRequestConflict": (PreconditionFailed, None),
    "BucketAlreadyExists": (AlreadyExists, "Choose another name: this one is taken by somebody else"),
    "BucketAlreadyOwnedByYou": (AlreadyExists, "It is yours: use it, or say fs.makedirs({bucket!r}, exist_ok=True)"),
    "BucketNotEmpty": (RequestRefused, "fs.rm({bucket!r}, recursive=True) deletes it with all that is in it"),
    "AuthorizationHeaderMalformed": (RequestRefused, _REGION_HINT),
    "IllegalLocationConstraintException": (RequestRefused, _REGION_HINT),
    "IncorrectEndpoint": (RequestRefused, _REGION_HINT),
    "PermanentRedirect": (RequestRefused, _REGION_HINT),
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
    BadCredentials: CREDENTIALS_HINT,
    AccessDenied: "{operation} is not allowed to these credentials: `tierlake iam-policy` prints the rights it takes",
    ObjectNotFound: "If it was there before, a lifecycle rule or another writer has deleted it",
    BucketNotFound: "Create it with `tierlake bucket apply BUCKET`, or check its name and the endpoint",
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
            f"{target.operation}: {one_line(str(error))}",
            hint="Check the names and the types of the options of this call",
            bucket=target.bucket,
            key=target.key,
        ) from None
    raise translated(error, target) from error


def translated(error: Exception, target: Target) -> Exception:
    """The error that a caller can act on; an error that is not botocore's is returned as it is."""
    if isinstance(error, boto.ClientError):
        return _of_response(error, target)
    if isinstance(error, FAILURES):
        return no_credentials(error, bucket=target.bucket)
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
            f"{target.operation}: the answer from {target.endpoint} makes no sense: {one_line(str(error), _SHOWN)}",
            hint=NO_S3_HINT,
            bucket=target.bucket,
            key=target.key,
        )
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError | ClientConnectionError | TimeoutError | OSError):
        return unreachable(error, target.endpoint, bucket=target.bucket, key=target.key)
    return error


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
    kind, hint = _kind_and_hint(code, status, reason, target)
    message = _message(kind, code, reason, target)
    special = _special(kind, message, reason, target, context)
    if special is not None:
        return special
    if kind is not None:
        return kind(message, hint=hint, **context)
    like = s3fs.errors.translate_boto_error(error, set_cause=False) if "Error" in error.response else None
    number = like.errno if isinstance(like, OSError) else None
    if isinstance(like, PermissionError):
        return AccessDenied(message, hint=hint_for(AccessDenied, target.operation), **context)
    if isinstance(like, FileNotFoundError):
        return ObjectNotFound(message, hint=hint_for(ObjectNotFound, target.operation), **context)
    if status >= SERVER_FAILURE:
        return ServerError(message, hint=hint_for(ServerError, target.operation), errno=number, **context)
    hint = f"The server refuses {target.operation} as it was asked: its code and its log say why"
    if code.isdigit() and target.endpoint.startswith("http://"):
        hint = f"Where the server speaks TLS, write {target.endpoint.replace('http', 'https', 1)} as the endpoint"
    return RequestRefused(message, hint=hint, errno=number or errno_module.EINVAL, **context)


def _message(kind: type[LakeError] | None, code: str, reason: dict[str, Any], target: Target) -> str:
    if kind is BucketNotFound:
        return f"The specified bucket does not exist: {target.bucket!r}"  # S3's words, which pandas looks for
    if kind is ObjectNotFound and code.isdigit():
        return f"{target.operation}: there is no such object"
    if kind is AlreadyExists and target.must_not_exist:
        return f"{target.operation}: it exists already"
    return f"{target.operation}: {one_line(str(reason.get('Message') or code), _SHOWN)}"


def _special(
    kind: type[LakeError] | None, message: str, reason: dict[str, Any], target: Target, context: dict[str, Any]
) -> LakeError | None:
    """The error where the request, and not the code alone, tells what is wrong."""
    if HTTPS_ONLY in message.lower():
        return unreachable(message, target.endpoint, **context)
    if context["server_code"] in _OF_NAMES and target.operation in _OF_BUCKETS:
        return _invalid_name(context)
    if kind is ObjectArchived and target.operation == "get_object" and target.bucket and target.key:
        return archived(target.bucket, target.key, reason.get("StorageClass"), context)
    if kind is UnsupportedByServer:
        return UnsupportedByServer(target.server, f"{target.operation} in this way ({message})", **context)
    return None


def _kind_and_hint(
    code: str, status: int, reason: dict[str, Any], target: Target
) -> tuple[type[LakeError] | None, str | None]:
    """The class of a failed request and what to do, by the server's code, otherwise by the status."""
    kind, hint = _BY_CODE.get(code, (_BY_STATUS.get(status), None))
    if kind is ObjectNotFound and target.key is None and code.isdigit():
        kind = BucketNotFound
    if kind is PreconditionFailed and target.must_not_exist:
        kind = AlreadyExists
    if kind is BucketNotFound and target.bucket:
        hint = _BUCKET_HINT
    if kind is None or hint is not None:
        return kind, hint and hint.format(bucket=target.bucket, region=reason.get("Region") or "REGION")
    general = hint_for(kind, target.operation)
    if kind is ObjectNotFound and target.bucket and target.key:
        folder = f"{target.bucket}/{target.key}".rpartition("/")[0]
        return kind, f"{general}; fs.ls({folder!r}) lists what is there"
    return kind, general


def _invalid_name(context: dict[str, Any]) -> InvalidName | None:
    """The error for a bucket's name that the server refuses, if S3's rules tell why."""
    try:
        check_new_bucket(context["bucket"] or "")
    except InvalidName as error:
        return InvalidName(error.message, hint=error.hint, **context)
    return None


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
