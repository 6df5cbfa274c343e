"""Settings: an explicit argument wins over `TIERLAKE_*` in the environment, which wins over the default.

One frozen value renders itself for s3fs (`LakeSettings.s3fs_kwargs`) and boto3
(`LakeSettings.boto3_kwargs`). Where no key is set, credentials come from the standard AWS chain (environment,
shared files, roles, web identity, SSO); see `tierlake.connector.client.credentials`.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from tierlake.connector.errors import InsecureEndpoint, InvalidSetting
from tierlake.connector.observe.configuration import Observing
from tierlake.connector.observe.edges import reporting
from tierlake.connector.policy.encryption import SseS3, encryption_text, parse_encryption
from tierlake.connector.policy.rules import WritePolicy, WriteRule
from tierlake.connector.urls import HIDDEN_HINT, check_endpoint_url, secret_in_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENVIRONMENT_PREFIXES = ("TIERLAKE_", "AWS_")
DEFAULT_REGION = "us-east-1"
AWS_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
_ENDPOINT_VARIABLES = ("TIERLAKE_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_FINGERPRINT_KEY = secrets.token_bytes(16)
_CREDENTIALS = ("key", "secret", "token")
_HOST = re.compile(r"[^\s\x00-\x1f\x7f-\x9f<>\"^`{|}\\]+")


def _from_environment(name: str, *names: str) -> AliasChoices:
    return AliasChoices(f"TIERLAKE_{name.upper()}", *names)


def _rules(value: Any) -> tuple[WriteRule, ...]:
    return tuple(WriteRule.from_value(rule) for rule in value)


class LakeSettings(BaseSettings):
    """Endpoint, credentials and write policy of a store.

    Args:
        profile: The server's profile; None detects it by the endpoint.
        endpoint_url: The S3 endpoint; None is AWS. `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL` are
            honoured too.
        key: Access key id; None leaves credentials to the AWS chain.
        secret: Secret access key.
        token: Session token.
        region: The region's name; `AWS_REGION` and `AWS_DEFAULT_REGION` are honoured too.
        encryption: Default encryption, a value or its text; kept as a value.
        storage_class: Default storage class.
        rules: Write rules, before the defaults.
        allow_http: Allow plain HTTP to hosts that are not loopback.
        view_freshness: Seconds for which a listing, or a look into a table's log, is valid; 0 looks each time.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for the next bytes of a response. A copy on the server may take long
            to answer (MinIO's waits half a minute behind a reader that stalls).
        max_retries: How often a failed request is tried again.
        retry_seconds: No retry starts later than this after the first try.
        engine: What moves objects' bytes: `native` is obstore (Rust), with aiobotocore for what it cannot do; `s3fs`
            is aiobotocore alone.
        read_memory_bytes: The memory for what is fetched before it is read, shared by all open files of the
            process. If it is spent, files fetch only what is read.
        log: What is logged to stderr: `json` or `text` lines; `off` nothing. Like the other settings of what is
            observed, it holds for the process.
        log_level: The lowest level of a line.
        log_sample: The share of successful requests that get a line, 0 to 1; errors always get theirs.
        metrics: Where metrics go: `prometheus:PORT` or `prometheus:HOST:PORT` serves them, `pushgateway:URL` pushes
            them each 15 seconds and at the end of the process, `otlp` sends them as OpenTelemetry's variables say,
            `otel` shows them through the application's own provider. Several are separated by commas.
        metrics_datasets: The datasets whose URI is a label of their metrics, separated by commas; `*` is all.
        traces: Where spans go: `otlp`, or `file:PATH` for a file that Perfetto opens; several likewise.
    """

    model_config = SettingsConfigDict(
        env_prefix="TIERLAKE_", frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    profile: str | None = None
    endpoint_url: str | None = Field(
        None,
        validation_alias=AliasChoices(*_ENDPOINT_VARIABLES),
    )
    key: str | None = None
    secret: SecretStr | None = None
    token: SecretStr | None = None
    region: str | None = Field(None, validation_alias=_from_environment("region", "AWS_REGION", "AWS_DEFAULT_REGION"))
    encryption: Annotated[Any, BeforeValidator(parse_encryption)] = SseS3()
    storage_class: str = "STANDARD"
    rules: Annotated[tuple[Any, ...], BeforeValidator(_rules)] = ()
    allow_http: bool = False
    view_freshness: float = Field(1.0, ge=0)
    connect_timeout: float = Field(5.0, gt=0)
    read_timeout: float = Field(60.0, gt=0)
    max_retries: int = Field(4, ge=0)
    retry_seconds: float = Field(30.0, ge=0)
    engine: Literal["native", "s3fs"] = "native"
    read_memory_bytes: int = Field(256 * 2**20, ge=0)
    log: Literal["off", "text", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_sample: float = Field(1.0, ge=0, le=1)
    metrics: str | None = None
    metrics_datasets: str | None = None
    traces: str | None = None

    @classmethod
    @reporting
    def of(cls, base: LakeSettings | None = None, **explicit: Any) -> LakeSettings:
        """Settings from explicit values, with the rest from the environment or other settings.

        Args:
            base: Take the rest from these settings and not from the environment.
            **explicit: Settings that win; None leaves a setting to `base` or the environment. Explicit
                credentials are never completed with others' parts.

        Raises:
            InvalidSetting: A value has the wrong type or is out of range; no value is shown.
        """
        given = {name: value for name, value in explicit.items() if value is not None}
        if any(name in given for name in _CREDENTIALS):
            given = {**dict.fromkeys(_CREDENTIALS), **given}
        if base is not None:
            if not given:
                return base
            given = {**{name: getattr(base, name) for name in cls.model_fields}, **given}
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise _invalid(error, given) from None
        if bool(settings.key) != bool(settings.secret):
            lacking = "secret" if settings.key else "key"
            hint = f"Set TIERLAKE_{lacking.upper()} too, or pass {lacking}="
            raise InvalidSetting("A key needs its secret, and a secret its key", hint=hint)
        return settings

    @field_validator("endpoint_url")
    @classmethod
    def _has_no_secret(cls, value: str | None) -> str | None:
        if value is not None and (secret := secret_in_url(value)):
            message = f"must not hold {secret}; write http://HOST:PORT or https://HOST"
            raise ValueError(message)
        return value

    @field_serializer("encryption", "rules")
    def _without_keys(self, value: Any) -> Any:
        """The encryption as text, without a customer's key; pydantic would dump the value's fields, with the key."""
        if isinstance(value, tuple):
            return [
                {**vars(rule), "encryption": rule.encryption and encryption_text(rule.encryption)} for rule in value
            ]
        return encryption_text(value)

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            yield name, _fingerprint(value) if isinstance(value, SecretStr) else value

    @property
    def policy(self) -> WritePolicy:
        """The write policy of these settings."""
        return WritePolicy.of(self.rules, self.encryption, self.storage_class)

    @property
    def observing(self) -> Observing:
        """What is observed, and where it goes."""
        return Observing(
            log=self.log,
            log_level=self.log_level,
            log_sample=self.log_sample,
            metrics=self.metrics,
            metrics_datasets=self.metrics_datasets,
            traces=self.traces,
        )

    def secret_of(self, name: str) -> str | None:
        """The plain value of `secret` or `token`."""
        value: SecretStr | None = getattr(self, name)
        return value.get_secret_value() if value else None

    def s3fs_kwargs(self) -> dict[str, Any]:
        """Arguments for `s3fs.S3FileSystem`."""
        options = {
            "endpoint_url": self.endpoint_url,
            "key": self.key,
            "secret": self.secret_of("secret"),
            "token": self.secret_of("token"),
            "config_kwargs": self.botocore_config(),
        }
        return {name: value for name, value in options.items() if value is not None}

    def botocore_config(self) -> dict[str, Any]:
        """Arguments for botocore's `Config`."""
        config: dict[str, Any] = {
            "connect_timeout": self.connect_timeout,
            "read_timeout": self.read_timeout,
        }
        if self.region:
            config["region_name"] = self.region
        elif self.endpoint_url and not is_aws(self.endpoint_url):
            config["region_name"] = DEFAULT_REGION
        return config

    def boto3_kwargs(self) -> dict[str, Any]:
        """Arguments for `boto3.client("s3", **kwargs)`."""
        from botocore.config import Config

        options = {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret_of("secret"),
            "aws_session_token": self.secret_of("token"),
            "config": Config(**self.botocore_config()),
        }
        return {name: value for name, value in options.items() if value is not None}


def _fingerprint(value: SecretStr) -> str:
    """A digest that tells secrets apart within this process; fsspec's instance cache sees it in the repr."""
    digest = hmac.new(_FINGERPRINT_KEY, value.get_secret_value().encode(), hashlib.sha256)
    return f"***{digest.hexdigest()[:8]}"


def _invalid(error: ValidationError, given: Mapping[str, Any]) -> InvalidSetting:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    problems = "; ".join(
        f"{_spelled(problem['loc'], given)}: {problem['msg'].removeprefix('Value error, ')}" for problem in faults
    )
    is_url = any(problem["loc"][0] in {"endpoint_url", *_ENDPOINT_VARIABLES} for problem in faults if problem["loc"])
    names = [str(problem["loc"][0]) for problem in faults if problem["loc"]]
    variable = next((f"TIERLAKE_{name.upper()}" for name in names if name in LakeSettings.model_fields), None)
    hint = HIDDEN_HINT if is_url else variable and f"Where it is no argument, it comes from {variable}"
    return InvalidSetting(f"Wrong settings: {problems}", hint=hint)


def _spelled(location: Sequence[str | int], given: Mapping[str, Any]) -> str:
    """A field's name as users know it: pydantic names the endpoint by its first variable even if another was set."""
    name = ".".join(map(str, location))
    if name != _ENDPOINT_VARIABLES[0]:
        return name
    if "endpoint_url" in given:
        return "endpoint_url"
    return next((variable for variable in _ENDPOINT_VARIABLES if variable in os.environ), name)


def environment_token(environ: Mapping[str, str] = os.environ) -> str:
    """A digest of all our variables in the environment, for fsspec's instance cache."""
    relevant = sorted(item for item in environ.items() if item[0].startswith(ENVIRONMENT_PREFIXES))
    return hashlib.sha256(repr(relevant).encode("utf-8", "surrogateescape")).hexdigest()


def aws_files_token(environ: Mapping[str, str] = os.environ) -> tuple[tuple[Any, ...], ...]:
    """What tells the AWS configuration files from what they were: others rewrite them, with new credentials."""
    token: list[tuple[Any, ...]] = []
    for variable, usual in AWS_FILES.items():
        path = environ.get(variable) or usual
        try:
            found = Path(path).expanduser().stat()
        except (OSError, RuntimeError):  # no such file, or no home
            token.append((path,))
        else:
            token.append((path, found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(token)


@functools.lru_cache(maxsize=1024)
def is_aws(endpoint_url: str) -> bool:
    """Whether an endpoint belongs to AWS."""
    host = _host(endpoint_url)
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def is_loopback(endpoint_url: str) -> bool:
    """Whether an endpoint is on this machine; connections to `0.0.0.0` never leave it either."""
    host = _host(endpoint_url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _host(endpoint_url: str) -> str:
    """The host; empty if it is no URL, which `check_endpoint` says."""
    try:
        return urlsplit(endpoint_url).hostname or ""
    except ValueError:
        return ""


def check_endpoint(endpoint_url: str, *, allow_http: bool) -> None:
    """Refuse an endpoint that is not a URL, or that sends data in clear over a network.

    Args:
        endpoint_url: The endpoint.
        allow_http: Allow plain HTTP to any host.

    Raises:
        InvalidSetting: It is no `http://` or `https://` URL, or holds a secret.
        InsecureEndpoint: It is plain HTTP to a host that is not loopback.
    """
    check_endpoint_url(endpoint_url)
    if not _is_address(endpoint_url):
        raise InvalidSetting(f"{endpoint_url!r} is no endpoint URL", hint="Write http://HOST:PORT or https://HOST")
    parts = urlsplit(endpoint_url)
    if parts.scheme == "http" and not allow_http and not is_loopback(endpoint_url):
        raise InsecureEndpoint(
            f"Plain HTTP to {parts.hostname} would send data and signatures in clear",
            hint="Use https, or say allow_http=True (TIERLAKE_ALLOW_HTTP=1)",
        )


def _is_address(endpoint_url: str) -> bool:
    """Whether it is a URL with a host, and a port if it names one."""
    try:
        parts = urlsplit(endpoint_url)
        host, port = parts.hostname, parts.port
    except ValueError:  # half a bracket, no number
        return False
    return parts.scheme in {"http", "https"} and _HOST.fullmatch(host or "") is not None and port != 0


__all__ = [
    "LakeSettings",
    "WriteRule",
    "aws_files_token",
    "check_endpoint",
    "environment_token",
    "is_aws",
    "is_loopback",
]
