"""What a bucket should be: a frozen value, the same in Python and in YAML.

::

    bucket: warehouse
    versioning: true
    encryption: sse-s3                       # or sse-kms:arn:aws:kms:...
    policy: {deny_insecure_transport: true, deny_wrong_encryption: true}
    cors:
      - {id: app, origins: ["https://app.example"], methods: [GET, PUT], max_age: 1h}
    lifecycle: {abort_uploads_after: 7d, expire_noncurrent_after: 30d, tiers: [warm, cold]}
    remote_tiers:                            # MinIO: where its tiers are
      - {name: COLD, endpoint_url: "https://cold.example", bucket: cold}

`null` leaves an aspect as it is. In lists that a server keeps (rules, statements) only our own entries are changed,
which have names of their own. `false` and an empty list remove them.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_serializer,
    field_validator,
)

from tierlake.connector.ages import format_age, parse_age
from tierlake.connector.bucket.remote_tier import RemoteTier
from tierlake.connector.documents import UnreadableDocument, yaml_document
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.faults import Fault, at_lines, faults_of, hint_of
from tierlake.connector.names import check_bucket
from tierlake.connector.policy.encryption import SseC, SseKms, Unencrypted, encryption_text, parse_encryption

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BucketSpec", "CorsRule", "LifecycleSpec", "PolicySpec"]

_DAY = timedelta(days=1)
_FAULTS = " is not valid: "
_ID_MAX = 200
"""AWS allows 255 characters, including our prefix:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html"""


def _age(value: object) -> object:
    return parse_age(value) if isinstance(value, str) else value


def _days(value: object) -> timedelta | Literal[False] | None:
    if value is None or value is False:
        return value
    if not isinstance(value, str | timedelta):
        raise InvalidSetting(f"{value!r} is no age: write 7d, or false for never")
    age = parse_age(value)
    if age < _DAY or age % _DAY:
        raise InvalidSetting(
            f"{format_age(age)} is no whole number of days, and lifecycle rules count in days: write 7d"
        )
    return age


def _days_text(value: timedelta | Literal[False] | None) -> str | Literal[False] | None:
    return format_age(value) if isinstance(value, timedelta) else value


Age = Annotated[timedelta, BeforeValidator(_age), PlainSerializer(format_age, return_type=str)]
Days = Annotated[timedelta | Literal[False] | None, PlainValidator(_days), PlainSerializer(_days_text)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **data: Any) -> None:
        """Validate the fields.

        Raises:
            InvalidSetting: A field is wrong or unknown; the message names each, and the hint the nearest name.
        """
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _invalid(type(self), _faults(type(self), error)) from None


class CorsRule(_Value):
    """What pages of other origins may do.

    Args:
        id: The rule's name; on the server it begins with `tierlake-`.
        origins: `https://app.example`, `https://*.example` or `*`.
        methods: HTTP methods.
        headers: Request headers, `*` for all.
        expose: Response headers that scripts may read.
        max_age: How long a browser caches the answer.
    """

    id: str = Field(min_length=1, max_length=_ID_MAX)
    origins: tuple[str, ...]
    methods: tuple[Literal["GET", "HEAD", "PUT", "POST", "DELETE"], ...] = ("GET", "HEAD")
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: Age | None = None

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, separator, host = origin.partition("://")
            if origin != "*" and not (separator and scheme and host and "/" not in host):
                raise ValueError(f"{origin!r} is no origin: write https://HOST, without a path, or *")
        return _one_star(value)

    @field_validator("origins", "methods")
    @classmethod
    def _are_some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("there must be one at least")
        return value

    @field_validator("headers")
    @classmethod
    def _one_star_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _one_star(value)


def _one_star(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        if text.count("*") > 1:
            raise ValueError(f"{text!r} has more than one *")
    return value


class PolicySpec(_Value):
    """What the bucket's policy denies to everybody.

    Args:
        deny_insecure_transport: Requests over plain HTTP. This needs an https endpoint: over HTTP it would lock
            everybody out, on some servers the administrator too.
        deny_wrong_encryption: Writes that request weaker encryption than the spec's `encryption`, or another key.
            A write that requests none is not denied: the bucket's default encrypts it.
    """

    deny_insecure_transport: bool | None = True
    deny_wrong_encryption: bool | None = True


class LifecycleSpec(_Value):
    """What the server does by itself.

    Args:
        abort_uploads_after: Age at which incomplete multipart uploads are aborted.
        expire_noncurrent_after: Age at which versions are deleted, counted from their replacement.
        tiers: Tiers of the server's profile. Objects tagged `tier=<name>` move to the tier of that name.
    """

    abort_uploads_after: Days = timedelta(days=7)
    expire_noncurrent_after: Days = None
    tiers: tuple[str, ...] | None = None


class BucketSpec(_Value):
    """One bucket as it should be.

    Args:
        bucket: The bucket's name.
        versioning: Keep versions, or suspend versioning.
        encryption: The default for writes that name none: `sse-s3`, `sse-kms`, `sse-kms:KEY`, `dsse-kms:KEY`.
        bucket_key: With SSE-KMS: an S3 bucket key, which saves requests to KMS.
        ownership_enforced: The bucket's owner owns every object, and ACLs are off.
        block_public_access: No ACL and no policy can open the bucket to everybody.
        policy: What is denied to everybody.
        cors: What pages of other origins may do.
        lifecycle: What the server does by itself.
        remote_tiers: MinIO's tiers, which are other servers. Key and secret may come from the environment, as
            `TIERLAKE_TIER_<NAME>_KEY` and `TIERLAKE_TIER_<NAME>_SECRET`; neither is ever shown or dumped.

    Raises:
        InvalidSetting: A field is wrong or unknown.
    """

    bucket: str
    versioning: bool | None = None
    encryption: str | None = "sse-s3"
    bucket_key: bool = True
    ownership_enforced: Literal[True] | None = True
    block_public_access: Literal[True] | None = True
    policy: PolicySpec | None = PolicySpec()
    cors: tuple[CorsRule, ...] | None = None
    lifecycle: LifecycleSpec | None = LifecycleSpec()
    remote_tiers: tuple[RemoteTier, ...] = Field(default=(), repr=False)

    @field_validator("bucket")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        name = value.removeprefix("lake://").removeprefix("s3://").rstrip("/")
        check_bucket(name)
        return name

    @field_validator("encryption", mode="before")
    @classmethod
    def _can_be_a_default(cls, value: object) -> object:
        if value is None:
            return None
        encryption = parse_encryption(value)  # type: ignore[arg-type] # refuses values that are no text
        if isinstance(encryption, SseC):
            raise InvalidSetting("A bucket's default cannot be a key that only the caller has (SSE-C)")
        if isinstance(encryption, Unencrypted):
            raise InvalidSetting("a default is never taken away: write null to leave it as it is")
        return encryption_text(encryption)

    @field_validator("ownership_enforced", "block_public_access", mode="before")
    @classmethod
    def _is_never_opened(cls, value: object) -> object:
        if value is False:
            raise InvalidSetting("a bucket is never opened: write null to leave it as it is")
        return value

    @field_validator("cors")
    @classmethod
    def _ids_are_distinct(cls, value: tuple[CorsRule, ...] | None) -> tuple[CorsRule, ...] | None:
        ids = [rule.id for rule in value or ()]
        if len(set(ids)) < len(ids):
            raise ValueError(f"ids repeat: {', '.join(ids)}")
        return value

    @field_validator("remote_tiers", mode="before")
    @classmethod
    def _with_credentials(cls, value: object) -> object:
        """Take credentials that the spec does not hold from the environment."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(_completed(tier) if isinstance(tier, dict) else tier for tier in value)

    @field_serializer("remote_tiers")
    def _without_credentials(self, value: tuple[RemoteTier, ...]) -> list[dict[str, str]]:
        shown = ("name", "endpoint_url", "bucket", "prefix", "region")
        return [{name: getattr(tier, name) for name in shown} for tier in value]

    @property
    def default_encryption(self) -> Any:
        """The encryption as a value; None if the spec leaves it as it is."""
        if self.encryption is None:
            return None
        encryption = parse_encryption(self.encryption)
        if isinstance(encryption, SseKms):
            return SseKms(encryption.key_id, bucket_key=self.bucket_key, dsse=encryption.dsse)
        return encryption

    @classmethod
    def from_yaml(cls, text: str | Path) -> Self:
        """Read a spec from YAML text or a YAML file.

        Raises:
            InvalidSetting: The text is not YAML, not a mapping, or not a valid spec.
        """
        name = f"{text}: " if isinstance(text, Path) else ""
        source = text.read_bytes() if isinstance(text, Path) else text
        try:
            data = yaml_document(source)
        except UnreadableDocument as error:
            # its reason may quote what is a secret: ours names the place only
            place = error.place and f", {error.place}"
            raise InvalidSetting(f"{name}The bucket's spec is not YAML{place}") from None
        if not isinstance(data, dict):
            raise InvalidSetting(f"{name}A bucket's spec is a mapping with at least `bucket`")
        try:
            return cls(**{str(field): value for field, value in data.items()})
        except InvalidSetting as error:
            if not isinstance(error.__context__, ValidationError):
                raise
            raise _invalid(cls, at_lines(_faults(cls, error.__context__), source), name) from None

    def to_yaml(self) -> str:
        """The spec as YAML, fields at their defaults included, credentials left out."""
        document: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return document


def _completed(tier: dict[str, Any]) -> dict[str, Any]:
    name = str(tier.get("name", "")).upper().replace("-", "_")
    credentials = {part: os.environ.get(f"TIERLAKE_TIER_{name}_{part.upper()}", "") for part in ("key", "secret")}
    return {**credentials, **tier}


def _faults(model: type[BaseModel], error: ValidationError) -> list[Fault]:
    """Every fault; those of a part of the spec, which is a model of its own, are listed in its message."""
    faults: list[Fault] = []
    for detail, fault in zip(
        error.errors(include_url=False, include_input=False), faults_of(model, error), strict=True
    ):
        raised = detail.get("ctx", {}).get("error")
        if not isinstance(raised, InvalidSetting):
            faults.append(fault)
            continue
        inner = raised.message.partition(_FAULTS)[2]
        parts = [part.partition(": ") for part in inner.split("; ")] if inner else []
        faults += [Fault(f"{fault.place}.{place}", text, raised.hint) for place, _, text in parts]
        faults += [] if inner else [Fault(fault.place, raised.message, raised.hint)]
    return list(dict.fromkeys(faults))


def _invalid(model: type[BaseModel], faults: Sequence[Fault], name: str = "") -> InvalidSetting:
    """The error that names every fault with its place. It shows no value, which might be a secret."""
    return InvalidSetting(f"{name}{model.__name__}{_FAULTS}{'; '.join(map(str, faults))}", hint=hint_of(faults))
