"""A remote tier as a value: another server, with its address and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.urls import check_endpoint_url


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

    def __post_init__(self) -> None:
        if self.name != self.name.upper() or not self.name:
            raise InvalidSetting(f"MinIO takes only upper-case tier names, not {self.name!r}")
        check_endpoint_url(self.endpoint_url)
