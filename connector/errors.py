"""What can go wrong with an object store, grouped by what a handler would do about it.

::

    LakeError
    ├── something is not there           ObjectNotFound, BucketNotFound,           (FileNotFoundError)
    │                                    TableDamaged
    ├── something is there already       AlreadyExists                             (FileExistsError)
    ├── the caller may not               AccessDenied, BadCredentials,             (PermissionError)
    │                                    TableWriteRefused
    ├── it must be restored first        ObjectArchived                            (PermissionError)
    ├── the call is wrong                InvalidName, InsecureEndpoint,            (ValueError)
    │                                    InvalidSetting, UnknownOption             (TypeError)
    │                                    RequestRefused                            (OSError EINVAL)
    ├── this server cannot               UnsupportedByServer, EncryptionIgnored    (OSError, NotImplementedError)
    ├── somebody was faster              PreconditionFailed                        (OSError EINVAL)
    ├── try again later                  Throttled, EndpointUnreachable            (OSError EBUSY, ConnectionError)
    ├── done in part                     DeletionFailed, AppliedInPart             (OSError EIO)
    ├── the server failed                ServerError                               (OSError EIO)
    └── a library failed                 LibraryError

Every error has a stable `code` for programs, a `message` for people, and where known a `hint` (what to
do), the server's `request_id` and `server_code`, the `bucket` and the `key`. Each class also derives
from the builtin that users of fsspec expect. Texts never hold a secret: `tierlake.connector.redact.redact` has
been applied to the texts of servers and libraries. Nor do they hold characters that move a terminal's cursor or break
off a log's line, whatever stood in a name or a document: those are written as Python escapes them.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, Self

from tierlake.connector.redact import one_line, printable

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "AppliedInPart",
    "BadCredentials",
    "BucketNotFound",
    "DeletionFailed",
    "EncryptionIgnored",
    "EndpointUnreachable",
    "InsecureEndpoint",
    "InvalidName",
    "InvalidSetting",
    "LakeError",
    "LibraryError",
    "ObjectArchived",
    "ObjectNotFound",
    "PreconditionFailed",
    "RequestRefused",
    "ServerError",
    "TableDamaged",
    "TableWriteRefused",
    "Throttled",
    "UnknownOption",
    "UnsupportedByServer",
]

_CONTEXT = ("hint", "request_id", "server_code", "bucket", "key")


def _rebuild(cls: type[LakeError], message: str, state: dict[str, Any]) -> LakeError:
    error = cls.__new__(cls)
    LakeError.__init__(error, message, errno=state.pop("errno", None))
    error.__dict__.update(state)
    return error


class LakeError(Exception):
    """Base of all errors that tierlake raises on purpose.

    Args:
        message: One sentence for a person.
        hint: What to do about it.
        request_id: The id under which the server logged the request.
        server_code: The server's own error code, such as `NoSuchKey`.
        bucket: The bucket concerned.
        key: The object key concerned.
        errno: For errors that are OSErrors: another number than the class's own.
    """

    code: ClassVar[str] = "lake_error"
    errno_default: ClassVar[int] = errno.EIO
    shows_values: ClassVar[bool] = False
    """Whether its text may repeat values of rows: logs have its code and no text."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        request_id: str | None = None,
        server_code: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        errno: int | None = None,
    ) -> None:
        message = printable(message)
        self.message = message
        self.hint = hint and printable(hint)
        self.request_id = request_id
        self.server_code = server_code
        self.bucket = bucket
        self.key = key
        if isinstance(self, OSError):
            OSError.__init__(self, self.errno_default if errno is None else errno, message)
        else:
            Exception.__init__(self, message)

    def __str__(self) -> str:
        where = "/".join(part for part in (self.bucket, self.key) if part)
        facts = [
            f"{name} {value}"
            for name, value in (("at", where), ("server code", self.server_code), ("request id", self.request_id))
            if value
        ]
        text = self.message + (f" ({', '.join(facts)})" if facts else "")
        return printable(f"{text}. {self.hint}" if self.hint else text)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {**self.__dict__, "errno": getattr(self, "errno", None)}
        return _rebuild, (type(self), self.message, state)

    def to_dict(self) -> dict[str, str]:
        """The error as plain values, for logs and `--json`."""
        facts = {"code": self.code, "message": self.message}
        facts.update({name: value for name in _CONTEXT if (value := getattr(self, name)) is not None})
        return facts


class ObjectNotFound(LakeError, FileNotFoundError):
    """No object has this key."""

    code = "object_not_found"
    errno_default = errno.ENOENT


class TableDamaged(ObjectNotFound):
    """A file of a table is missing in the store: it was not deleted by the table's own tools."""

    code = "table_damaged"


class BucketNotFound(LakeError, FileNotFoundError):
    """The bucket does not exist."""

    code = "bucket_not_found"
    errno_default = errno.ENOENT


class AccessDenied(LakeError, PermissionError):
    """The credentials are valid, but do not allow this."""

    code = "access_denied"
    errno_default = errno.EACCES


class BadCredentials(LakeError, PermissionError):
    """The server does not accept the credentials, or there are none."""

    code = "bad_credentials"
    errno_default = errno.EACCES


class ObjectArchived(LakeError, PermissionError):
    """The object is in a storage class that needs a restore before it can be read."""

    code = "object_archived"
    errno_default = errno.EACCES


class TableWriteRefused(LakeError, PermissionError):
    """A raw write or delete below a table's root: only its `Dataset` may do that."""

    code = "table_write_refused"
    errno_default = errno.EPERM


class InvalidName(LakeError, ValueError):
    """A key or a bucket name that must not be used; no request was made."""

    code = "invalid_name"


class InvalidSetting(LakeError, ValueError):
    """A setting, a policy or an argument with an invalid value; no request was made."""

    code = "invalid_setting"


class InsecureEndpoint(LakeError, ValueError):
    """Plain HTTP to a host that is not loopback, without permission by a setting."""

    code = "insecure_endpoint"


class UnknownOption(LakeError, TypeError):
    """An option that no S3 operation has, most likely misspelt; no request was made."""

    code = "unknown_option"


class RequestRefused(LakeError, OSError):
    """The server refused the request for another reason; its own code says which."""

    code = "request_refused"
    errno_default = errno.EINVAL


class UnsupportedByServer(LakeError, OSError, NotImplementedError):
    """This server cannot do that; the hint says what to use instead.

    Args:
        server: The profile's name, such as `minio`.
        operation: The requested operation.
        alternative: What to use instead.
    """

    code = "unsupported_by_server"
    errno_default = errno.ENOSYS

    def __init__(self, server: str, operation: str, alternative: str | None = None, **context: Any) -> None:
        super().__init__(
            f"{server} does not support {operation}",
            hint=f"Use instead: {alternative}" if alternative else "`tierlake doctor` shows what this server can do",
            **context,
        )
        self.server = server
        self.operation = operation
        self.alternative = alternative


class EncryptionIgnored(LakeError, OSError, NotImplementedError):
    """The server stored an object without the requested encryption."""

    code = "encryption_ignored"
    errno_default = errno.ENOSYS


class PreconditionFailed(LakeError, OSError):
    """The object does not, or no longer, fulfil the condition of the request.

    Attributes:
        after_lost_reply: The reply to an earlier try was lost, and that try may have written the object.
    """

    code = "precondition_failed"
    errno_default = errno.EINVAL
    after_lost_reply = False


class AlreadyExists(PreconditionFailed, FileExistsError):
    """The object or the bucket exists, against the condition of the request."""

    code = "already_exists"
    errno_default = errno.EEXIST


class Throttled(LakeError, OSError):
    """The server asks to slow down, and did so in every try."""

    code = "throttled"
    errno_default = errno.EBUSY


class EndpointUnreachable(LakeError, ConnectionError):
    """The endpoint cannot be connected, or the connection broke in every try."""

    code = "endpoint_unreachable"
    errno_default = errno.ECONNREFUSED


class ServerError(LakeError, OSError):
    """The server failed, or sent an unexpected response."""

    code = "server_error"


class LibraryError(LakeError):
    """A library below us failed; its own error is the cause of this one."""

    code = "library_error"
    shows_values = True

    @classmethod
    def of(cls, error: BaseException, library: str, **context: Any) -> Self:
        """The error for an error of a library.

        Args:
            error: The library's error.
            library: The library's name.
            **context: Further fields of the error.
        """
        text = one_line(str(error))
        message = f"{library}: {type(error).__name__}" + (f": {text}" if text else "")
        hint = "The cause below has the library's own trace; `tierlake verify` tells whether the table is whole"
        return cls(message, hint=hint, **context)


class DeletionFailed(LakeError, OSError):
    """Some of the objects of a bulk delete are still there.

    Args:
        failures: The server's errors by key (with `?versionId=` if a version was to be deleted).
    """

    code = "deletion_failed"

    def __init__(self, message: str, failures: dict[str, str], **context: Any) -> None:
        super().__init__(message, **context)
        self.failures = failures


class AppliedInPart(LakeError, OSError):
    """A plan was applied in part; apply it again when the cause is gone.

    Args:
        failures: The changes that were not applied, each with its reason.
    """

    code = "applied_in_part"

    def __init__(self, message: str, failures: dict[str, str], **context: Any) -> None:
        super().__init__(message, **context)
        self.failures = failures
