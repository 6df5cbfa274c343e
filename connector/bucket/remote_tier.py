"""A remote tier as a value: another server, with its address and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from pydantic import ConfigDict

from tierlake.connector.client.unreachable import cause_in
from tierlake.connector.errors import InvalidSetting
from tierlake.connector.urls import check_endpoint_url

_REASONS: Final = (
    (
        ("signature we calculated", "access key id you provided", "invalid credentials", "invalidaccesskeyid"),
        "the endpoint does not accept its credentials",
        "Set {variables[0]} and {variables[1]} to those of a user of {endpoint}",
    ),
    (
        ("access denied", "accessdenied"),
        "its credentials have too few rights there",
        "Let the user of {variables[0]} list, read, write and delete in the bucket {bucket} at {endpoint}",
    ),
    (
        ("bucket not found", "bucket does not exist", "nosuchbucket", "tier bucket"),
        "the endpoint has no such bucket",
        "Create it there, with that server's credentials: `tierlake bucket apply {bucket} --endpoint-url {endpoint}`",
    ),
    (
        ("isn't empty", "not empty", "in use"),
        "another tier, or something else, uses that place",
        "Give {name} a bucket of its own, or a `prefix`, under `remote_tiers`",
    ),
)
"""What MinIO says when it tries a tier: its words in lower case, ours, and what to do."""
_REACH: Final = "MinIO itself must reach the endpoint: check `endpoint_url` of {name} under `remote_tiers`"


@dataclass(frozen=True)
class RemoteTier:
    """Where a tier's objects go.

    Args:
        name: The tier's name, in upper case, which becomes the objects' storage class.
        endpoint_url: The endpoint at which the first server reaches the other one.
        key: Access key id there.
        secret: Secret access key there.
        bucket: The bucket there; it must exist.
        prefix: Keys there begin with it.
        region: The region there.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # as a part of a BucketSpec

    name: str
    endpoint_url: str
    key: str
    secret: str = field(repr=False)
    bucket: str
    prefix: str = ""
    region: str = ""

    @property
    def place(self) -> str:
        """The tier and where its objects go, for messages."""
        prefix = f", prefix {self.prefix}" if self.prefix else ""
        return f"the tier {self.name} (endpoint {self.endpoint_url}, bucket {self.bucket}{prefix})"

    @property
    def variables(self) -> tuple[str, str]:
        """The environment's variables that hold the key and the secret."""
        name = self.name.replace("-", "_")
        return f"TIERLAKE_TIER_{name}_KEY", f"TIERLAKE_TIER_{name}_SECRET"

    def refused(self, reason: str, **context: Any) -> InvalidSetting:
        """The error for a tier that the first server cannot use.

        Args:
            reason: What that server says.
            **context: Further fields of the error.
        """
        lowered = reason.lower()
        known = (told for words, *told in _REASONS if any(word in lowered for word in words))
        sentence, hint = next(known, (cause_in(reason) or reason, _REACH))
        text = hint.format(name=self.name, endpoint=self.endpoint_url, bucket=self.bucket, variables=self.variables)
        return InvalidSetting(f"MinIO cannot use {self.place}: {sentence}", hint=text, **context)

    def __post_init__(self) -> None:
        if self.name != self.name.upper() or not self.name:
            name = self.name.upper() or "COLD"
            raise InvalidSetting(
                f"MinIO takes only upper-case tier names, not {self.name!r}", hint=f"Write name: {name}"
            )
        check_endpoint_url(self.endpoint_url)
