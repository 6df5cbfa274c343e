"""The store as mechanisms take it: its settings, the policy for objects, and the way to make requests.

A mechanism, such as a copy, takes a `Store` and never the filesystem whose verb it is. What only a filesystem
knows is passed as functions: how it reads paths and what it lists (`Namespace`), and which writes it refuses
because of a table (`tierlake.connector.client.guard.Guard`).
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

from tierlake.connector.client.gateway import Gateway
from tierlake.connector.client.listing_cache import ListingCache, share_writes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

    from tierlake.connector.client.connection import Connection
    from tierlake.connector.policy.rules import WritePolicy
    from tierlake.connector.profiles import Profile
    from tierlake.connector.settings import LakeSettings


@dataclass(frozen=True)
class Namespace:
    """How a filesystem reads paths and what it lists; inside a table the table answers.

    Args:
        strip: A path as `bucket/key`, without its protocol.
        split: Bucket, key and version of a path.
        info: The entry of a path.
        isdir: Whether a path is a folder.
        expand: All paths that a pattern or a list of paths stands for.
        stored_below: Every object below a path as the store has it, whatever a table says.
    """

    strip: Callable[[Any], Any]
    split: Callable[[str], tuple[str, str, str | None]]
    info: Callable[..., Awaitable[dict[str, Any]]]
    isdir: Callable[[str], Awaitable[bool]]
    expand: Callable[..., Awaitable[list[str]]]
    stored_below: Callable[[str], Awaitable[list[dict[str, Any]]]]


@dataclass(eq=False, repr=False)
class Store:
    """One way to a store: a connection, a policy for writes, and optionally one table that may be written.

    Args:
        settings: Endpoint, credentials, policy and bounds.
        connection: The client, shared with every store that reaches the same endpoint in the same way.
        namespace: Paths and listings of the filesystem.
        cache: The filesystem's listings.
        loop: The event loop of the blocking face; None if there is no such face.
        options: The user's parameters for every request that accepts them.
        payer: The requester-pays parameter of every request.
        table_root: The root of the only table that this store may write; None if it may write none.
        anon: Use no credentials.
        aws_profile: A profile of the AWS configuration files.

    Attributes:
        policy: The write policy.
        gateway: Makes the requests.
    """

    settings: LakeSettings
    connection: Connection
    namespace: Namespace
    cache: ListingCache
    loop: AbstractEventLoop | None
    options: MutableMapping[str, Any]
    payer: MutableMapping[str, Any]
    table_root: str | None = None
    anon: bool = False
    aws_profile: str | None = None
    policy: WritePolicy = field(init=False)
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.policy = self.settings.policy
        self.gateway = Gateway(self.settings, self.policy, self.connection, ChainMap(self.payer, self.options))
        share_writes(self.cache, self.endpoint)

    @property
    def endpoint(self) -> str | None:
        """The endpoint; None is AWS."""
        return self.settings.endpoint_url

    # -- requests ------------------------------------------------------------------------------------

    async def call(self, operation: str, *defaults: Mapping[str, Any], **params: Any) -> Any:
        """Make a request under the write policy and the guards; see `Gateway.call`."""
        return await self.gateway.call(operation, *defaults, **params)

    async def send(self, operation: str, **params: Any) -> Any:
        """Make a request as it is; see `Gateway.send`."""
        return await self.gateway.send(operation, **params)

    async def send_in_place(self, operation: str, **params: Any) -> Any:
        """Make a request after which the object still exists; see `Gateway.send_in_place`."""
        return await self.gateway.send_in_place(operation, **params)

    async def profile(self) -> Profile:
        """The server's profile; see `Gateway.profile`."""
        return await self.gateway.profile()

    def profile_sync(self) -> Profile:
        """The server's profile, for blocking code; makes one request if nothing else tells it."""
        known = self.gateway.known_profile
        profile: Profile = known if known is not None else sync(self.loop, self.profile)
        return profile

    async def under_policy(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """A request completed by the write policy; see `Gateway.under_policy`."""
        return await self.gateway.under_policy(operation, request)

    async def keeps_versions(self, bucket: str) -> bool:
        """Whether a bucket keeps versions; see `Gateway.keeps_versions`."""
        return await self.gateway.keeps_versions(bucket)

    async def client(self, bucket: str | None = None) -> Any:
        """The aiobotocore client, for signing; that of a bucket's region if a bucket is named."""
        return await self.connection.client(bucket)

    # -- tables --------------------------------------------------------------------------------------

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Refuse writes that would break a table, before anything is done.

        Args:
            paths: `bucket/key` of each object that would be written or deleted.
            creating: The objects are written; then an object in place of a table's root is refused too.

        Raises:
            TableWriteRefused: An object is inside a table that this store may not write.
        """
        await self.gateway.guard.refuse_writes(paths, creating=creating)

    # -- paths and listings --------------------------------------------------------------------------

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Bucket, key and version of a path."""
        return self.namespace.split(path)

    def invalidate(self, path: str) -> None:
        """Forget the listings that show a path."""
        self.cache.forget(self.namespace.strip(path))
