"""What goes wrong in the AWS chain of credentials, in one line with the way out: profiles, files, programs, SSO."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as boto

from tierlake.connector.errors import BadCredentials
from tierlake.connector.redact import one_line
from tierlake.connector.settings import AWS_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CREDENTIALS_HINT", "FAILURES", "chain_in_words", "no_credentials"]

CREDENTIALS_HINT: Final = "Check the key and the secret (TIERLAKE_KEY and TIERLAKE_SECRET, or the AWS chain)"
_RUN_IT: Final = "Run by hand what `credential_process` names in ~/.aws/config: it has to print credentials as JSON"
_HINTS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    (
        (boto.ProfileNotFound,),
        "`aws configure list-profiles` lists what AWS_PROFILE may be; --profile is a kind of server, such as minio",
    ),
    (
        (boto.ConfigParseError, boto.ConfigNotFound, boto.InvalidConfigError),
        "Mend ~/.aws/config and ~/.aws/credentials (or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE)",
    ),
    (
        (boto.PartialCredentialsError,),
        "Give both: TIERLAKE_KEY and TIERLAKE_SECRET, or aws_access_key_id and aws_secret_access_key of one profile",
    ),
    (
        (boto.SSOError, boto.TokenRetrievalError),
        "Sign in: `aws sso login`, with --profile where AWS_PROFILE is not set",
    ),
    (
        (boto.CredentialRetrievalError,),
        _RUN_IT,
    ),
    (
        (boto.NoCredentialsError,),
        "Set TIERLAKE_KEY and TIERLAKE_SECRET, or AWS_PROFILE; in Python pass key= and secret=",
    ),
)
FAILURES: Final = tuple(kind for kinds, _ in _HINTS for kind in kinds)
"""Botocore's errors for credentials that cannot be had."""
_FILES: Final = {**AWS_FILES, "AWS_WEB_IDENTITY_TOKEN_FILE": ""}
"""The variables that name the chain's files, with the usual names."""


@contextmanager
def chain_in_words() -> Iterator[None]:
    """Look credentials up within.

    Raises:
        BadCredentials: The AWS chain fails.
    """
    try:
        yield
    except FAILURES as error:
        raise no_credentials(error) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise no_credentials(error) from error


def no_credentials(error: Exception, **context: Any) -> BadCredentials:
    """The error for credentials that cannot be had.

    Args:
        error: Botocore's error, or that of a program that it cannot run, or of a file.
        **context: Further fields of the error.
    """
    text = one_line(str(error)).rstrip(" .:")
    hint = next((hint for kinds, hint in _HINTS if isinstance(error, kinds)), CREDENTIALS_HINT)
    if unread := _unread(error):
        text, hint = unread
    elif isinstance(error, OSError) and error.filename is not None:
        text, hint = f"the AWS chain cannot run {error.filename}: {error.strerror}", _RUN_IT
    return BadCredentials(f"No usable credentials: {text}", hint=hint, **context)


def _unread(error: Exception) -> tuple[str, str] | None:
    """That a file of the chain cannot be read, and what to do; botocore takes one that it may not read as empty."""
    named = error.filename if isinstance(error, OSError) else None
    for variable, usual in _FILES.items():
        path = os.environ.get(variable) or usual
        if not path:
            continue
        full = os.path.expanduser(path)  # noqa: PTH111 - a `Path` wants a home
        if named == full or (os.access(full, os.F_OK) and not os.access(full, os.R_OK)):
            why = error.strerror if isinstance(error, OSError) and named == full else "it may not be read"
            return f"the AWS chain cannot read {full}: {why}", f"Make it readable, or name another file in {variable}"
    return None
