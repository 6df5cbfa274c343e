"""The filesystem's constructor arguments: their names, and the settings among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

import botocore.session
from pydantic import SecretStr

from tierlake.connector.errors import InvalidSetting, UnknownOption
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.profiles import get_profile, profile_names
from tierlake.connector.settings import LakeSettings, check_endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tierlake.connector.policy.encryption import Encryption
    from tierlake.connector.policy.rules import WriteRule

OWN_OPTIONS = frozenset(LakeSettings.model_fields)
SETTINGS_OPTIONS = OWN_OPTIONS | {"anon", "aws_profile", "password", "settings", "username"}
"""Arguments that belong to a filesystem's settings, or name the caller's identity beside them."""
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


class LakeOptions(TypedDict, total=False):
    """Options of the filesystem beyond s3fs's first five; it also accepts s3fs's own."""

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
    engine: Literal["native", "s3fs"] | None
    read_memory_bytes: int | None
    log: Literal["off", "text", "json"] | None
    log_level: Literal["debug", "info", "warning", "error"] | None
    log_sample: float | None
    metrics: str | None
    metrics_datasets: str | None
    traces: str | None
    table_root: str | None
    raw: bool
    settings: LakeSettings | None
    aws_profile: str | None


def take_aws_profile(options: dict[str, Any]) -> str | None:
    """Take the AWS configuration profile out of the options, under either of its names.

    `profile` names a server's profile; users of s3fs pass an AWS configuration profile under the same name.

    Raises:
        InvalidSetting: Neither a server profile nor an AWS configuration profile has that name.
    """
    aws_profile: str | None = options.pop("aws_profile", None)
    name = options.get("profile")
    if aws_profile is None and name is not None and name.lower() not in profile_names():
        if name not in botocore.session.get_session().available_profiles:
            get_profile(name)  # raises with the nearest name
        aws_profile = options.pop("profile")
    return aws_profile


def take_settings(
    options: dict[str, Any],
    *,
    anon: bool,
    endpoint_url: str | None,
    key: str | None,
    secret: str | None,
    token: str | None,
) -> LakeSettings:
    """Take the settings out of the options; the remaining ones are for s3fs.

    Args:
        options: The filesystem's arguments beyond s3fs's first five.
        anon: No credentials at all.
        endpoint_url: The endpoint.
        key: Access key id.
        secret: Secret access key.
        token: Session token.

    Raises:
        UnknownOption: There is no such argument.
        InvalidSetting: An argument's value is invalid.
        InsecureEndpoint: Plain HTTP to a host that is not loopback.
        KeyError: Key and user name, or secret and password, are both given.
    """
    client = dict(options.get("client_kwargs") or {})
    username, password = options.pop("username", None), options.pop("password", None)
    if (key and username) or (secret and password):
        raise KeyError("Supply either key or username, and secret or password, not both")  # as s3fs does
    credentials = {
        "key": key or username or client.get("aws_access_key_id"),
        "secret": secret or password or client.get("aws_secret_access_key"),
        "token": token or client.get("aws_session_token"),
    }
    base = options.pop("settings", None)
    own = {name: options.pop(name) for name in OWN_OPTIONS & options.keys()}
    check_arguments(options, credentials)
    settings = LakeSettings.of(base, endpoint_url=endpoint_url or client.get("endpoint_url"), **credentials, **own)
    if (anon or options.get("session") is not None) and not credentials["key"]:
        settings = settings.model_copy(update={"key": None, "secret": None, "token": None})
    if options.get("use_ssl") is False and settings.endpoint_url is None:
        check_endpoint("http://s3.amazonaws.com", allow_http=settings.allow_http)
    if settings.endpoint_url is not None:
        check_endpoint(settings.endpoint_url, allow_http=settings.allow_http)
    return settings


def check_arguments(given: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
    """Refuse arguments that would have no effect.

    Args:
        given: The arguments for s3fs.
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
    """Refuse names that are not arguments of the filesystem.

    Args:
        names: Names of arguments.
        known: The valid names; by default all of the filesystem's.
        caller: The function whose arguments they are, for the message.

    Raises:
        UnknownOption: There is no such argument; the nearest one is in the hint.
    """
    every = S3FS_OPTIONS | OWN_OPTIONS | set(LakeOptions.__annotations__) | _FIRST
    for name in names:
        if name not in (every if known is None else known):
            raise UnknownOption(f"{caller} has no argument {name!r}", hint=did_you_mean(name, every))
