"""The filesystem's constructor arguments: which there are, and how they look as plain values."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import SecretStr

from tierlake.connector.errors import InvalidSetting, UnknownOption
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.policy.encryption import SseC, SseKms, SseS3, Unencrypted, encryption_text
from tierlake.connector.policy.rules import WriteRule
from tierlake.connector.settings import LakeSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tierlake.connector.policy.encryption import Encryption

OWN_OPTIONS = frozenset(LakeSettings.model_fields)
S3FS_OPTIONS = frozenset(
    {
        "asynchronous",
        "cache_regions",
        "client_kwargs",
        "config_kwargs",
        "default_block_size",
        "default_cache_type",
        "default_fill_cache",
        "fixed_upload_size",
        "local_expiry_check",
        "loop",
        "max_concurrency",
        "requester_pays",
        "s3_additional_kwargs",
        "session",
        "use_ssl",
        "version_aware",
        # fsspec's
        "listings_expiry_time",
        "max_paths",
        "use_listings_cache",
        # aiobotocore's session's
        "event_hooks",
        "include_builtin_handlers",
        "session_vars",
    }
)
_FIRST = frozenset({"anon", "endpoint_url", "key", "secret", "token", "username", "password", "skip_instance_cache"})
_SECRET_NAME = re.compile(r"secret|token|password|SSECustomerKey|^(args|settings|session|username)$", re.IGNORECASE)


class LakeOptions(TypedDict, total=False):
    """Options of the filesystem beyond s3fs's first five; s3fs's own are taken as well."""

    profile: str | None
    region: str | None
    encryption: str | Encryption | None
    storage_class: str | None
    rules: Iterable[WriteRule | Mapping[str, Any]] | None
    allow_http: bool | None
    view_freshness: float | None
    connect_timeout: float | None
    read_timeout: float | None
    max_retries: int | None
    retry_seconds: float | None
    table_root: str | None
    raw: bool
    settings: LakeSettings | None
    aws_profile: str | None


def check_arguments(given: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
    """Refuse arguments that nobody would look at.

    Args:
        given: What is left for s3fs.
        credentials: Key, secret and token.

    Raises:
        UnknownOption: There is no such argument; the nearest one is in the hint.
        InvalidSetting: A secret is wrapped (fsspec's instance cache could not tell two of them apart).
    """
    for name, value in credentials.items():
        if isinstance(value, SecretStr):
            raise InvalidSetting(f"{name}= must be plain text", hint="Or pass settings=LakeSettings(...)")
    refuse_unknown(given.keys(), S3FS_OPTIONS, "LakeFileSystem")


def refuse_unknown(names: Iterable[str], known: Collection[str] | None = None, caller: str = "LakeFileSystem") -> None:
    """Refuse names that are no arguments of the filesystem.

    Args:
        names: Of arguments.
        known: Those that may be among them; all of the filesystem's where it is left out.
        caller: Whose arguments they are, for the message.

    Raises:
        UnknownOption: There is no such argument; the nearest one is in the hint.
    """
    every = S3FS_OPTIONS | OWN_OPTIONS | set(LakeOptions.__annotations__) | _FIRST
    for name in names:
        if name not in (every if known is None else known):
            raise UnknownOption(f"{caller} has no argument {name!r}", hint=did_you_mean(name, every))


def plain_options(options: Mapping[str, Any], *, include_secrets: bool) -> dict[str, Any]:
    """The arguments as values that JSON has.

    Args:
        options: The arguments.
        include_secrets: With secrets, customer keys included.

    Returns:
        Arguments that make an equal filesystem, as far as secrets are included.
    """
    merged = dict(options)
    settings = merged.pop("settings", None)
    if isinstance(settings, LakeSettings):
        said = {name: getattr(settings, name) for name in settings.model_fields_set}
        merged = {**{name: value for name, value in said.items() if value is not None}, **merged}
    return {
        name: _plain(value, include_secrets=include_secrets)
        for name, value in merged.items()
        if value is not None and (include_secrets or not _is_secret(name, value))
    }


def _is_secret(name: str, value: Any) -> bool:
    return bool(_SECRET_NAME.search(name)) or isinstance(value, SseC)


def _plain(value: Any, *, include_secrets: bool) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SseC):
        return f"sse-c:{base64.b64encode(value.key).decode()}"
    if isinstance(value, SseS3 | SseKms | Unencrypted):
        return encryption_text(value)
    if isinstance(value, WriteRule):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return plain_options(value, include_secrets=include_secrets)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, include_secrets=include_secrets) for item in value]
    return value
