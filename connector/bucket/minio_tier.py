"""MinIO's remote tiers: other servers to which lifecycle rules move objects, set up by its admin API.

The Python client has no call for tiers, so this module makes the request: `PUT /minio/admin/v3/tier`, signed
like an S3 request, with a body encrypted with the secret key (`minio.crypto`, from the extra `minio`).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ConnectionError, HTTPClientError  # noqa: A004 -- botocore's name
from botocore.httpsession import URLLib3Session

from tierlake.connector.bucket.items import Part, compared
from tierlake.connector.client.credentials import settled
from tierlake.connector.client.unreachable import unreachable
from tierlake.connector.documents import UnreadableDocument, json_document, json_object
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    InvalidSetting,
    ServerError,
    UnsupportedByServer,
)
from tierlake.connector.redact import one_line
from tierlake.connector.settings import DEFAULT_REGION

if TYPE_CHECKING:
    from tierlake.connector.bucket.items import Site
    from tierlake.connector.bucket.remote_tier import RemoteTier
    from tierlake.connector.bucket.spec import BucketSpec
    from tierlake.connector.client.store import Store
    from tierlake.connector.filesystem import LakeFileSystem

_PATH = "/minio/admin/v3/tier"
_DENIED = frozenset({401, 403})
_OK = range(200, 300)
_WRONG_CREDENTIALS = frozenset({"SignatureDoesNotMatch", "InvalidAccessKeyId"})
_OF_THE_REMOTE = ("failed to perform ", "Remote backend is unreachable")
"""So MinIO begins what it could not do on the other server."""


class _TierRefusedError(Exception):
    """MinIO tried a tier, and could not use it."""

    def __init__(self, message: str, code: str, request_id: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


def remote_tiers(fs: LakeFileSystem) -> dict[str, dict[str, Any]]:
    """The remote tiers that a MinIO server knows, by name, without secrets.

    Args:
        fs: A filesystem on that server, with an administrator's credentials.

    Raises:
        UnsupportedByServer: The server is no MinIO.
        AccessDenied: The credentials are no administrator's.
    """
    return known_tiers(fs.store)


def known_tiers(store: Store) -> dict[str, dict[str, Any]]:
    """The remote tiers of a MinIO server; see `remote_tiers`."""
    try:
        return _places(json_document(_request(store, "GET", b"") or b"null"))
    except UnreadableDocument as error:
        hint = f"Check that {store.endpoint} is a MinIO server; its log tells more"
        raise ServerError(f"MinIO's admin API: its list of tiers cannot be read: {error}", hint=hint) from error


def _places(tiers: Any) -> dict[str, dict[str, Any]]:
    """By name where each tier goes, of MinIO's own list of them; null where there are none."""
    kept = ("Endpoint", "Bucket", "Prefix", "Region")
    known = {}
    for tier in tiers or []:
        match tier:
            case {"Name": str(name), "MinIO": {} as place} | {"Name": str(name), "S3": {} as place}:
                known[name] = {part.lower(): str(place.get(part, "")) for part in kept}
            case {"Name": str(name)}:
                known[name] = {part.lower(): "" for part in kept}
            case _:
                raise UnreadableDocument("one of them has no name")
    return known


def ensure_remote_tier(fs: LakeFileSystem, tier: RemoteTier) -> bool:
    """Make a remote tier known to a MinIO server.

    Args:
        fs: A filesystem on that server, with an administrator's credentials.
        tier: The tier.

    Returns:
        True if the tier was added, False if it existed.

    Raises:
        InvalidSetting: A tier of that name goes elsewhere, or the server cannot use the other one.
        UnsupportedByServer: The server is no MinIO.
        AccessDenied: The credentials are no administrator's.
    """
    return _ensure(fs.store, tier)


def _ensure(store: Store, tier: RemoteTier) -> bool:
    present = known_tiers(store).get(tier.name)
    if present is not None:
        _check_place(tier, present)
        return False
    lacking = _lacking_credentials(tier)
    if lacking is not None:
        raise lacking
    document = {
        "Version": "v1",
        "Type": "minio",
        "Name": tier.name,
        "MinIO": {
            "Endpoint": tier.endpoint_url,
            "AccessKey": tier.key,
            "SecretKey": tier.secret,
            "Bucket": tier.bucket,
            "Prefix": tier.prefix,
            "Region": tier.region,
        },
    }
    try:
        _request(store, "PUT", json.dumps(document).encode())
    except _TierRefusedError as error:
        raise tier.refused(str(error), server_code=error.code, request_id=error.request_id) from None
    return True


def _lacking_credentials(tier: RemoteTier) -> InvalidSetting | None:
    unset = [name for name, value in zip(tier.variables, (tier.key, tier.secret), strict=True) if not value]
    if not unset:
        return None
    return InvalidSetting(
        f"There are no credentials for {tier.place}",
        hint=f"Set {' and '.join(unset)} to those of a user of {tier.endpoint_url}",
    )


async def remote_tier_part(site: Site, spec: BucketSpec) -> Part:
    """The part of the spec's remote tiers."""
    if not spec.remote_tiers:
        return Part()
    places = {tier.name: f"{tier.endpoint_url.rstrip('/')}/{tier.bucket}/{tier.prefix}" for tier in spec.remote_tiers}
    if not site.profile.remote_tiers:
        lacking = [site.lacking(f"remote tier {name}", place, "remote_tiers") for name, place in places.items()]
        return Part(tuple(lacking))
    present = await asyncio.to_thread(known_tiers, site.store)
    for tier in spec.remote_tiers:
        if tier.name in present:
            _check_place(tier, present[tier.name])
    items = [compared(f"remote tier {name}", place if name in present else "", place) for name, place in places.items()]
    faults = {tier.name: _lacking_credentials(tier) for tier in spec.remote_tiers if tier.name not in present}
    items = [
        replace(item, note=str(fault.hint)) if (fault := faults.get(name)) is not None else item
        for name, item in zip(places, items, strict=True)
    ]

    async def write() -> None:
        for tier in spec.remote_tiers:
            await asyncio.to_thread(_ensure, site.store, tier)

    return Part(tuple(items), write, next((fault for fault in faults.values() if fault is not None), None))


def _check_place(tier: RemoteTier, present: dict[str, Any]) -> None:
    same = present["endpoint"].rstrip("/") == tier.endpoint_url.rstrip("/") and present["bucket"] == tier.bucket
    if not same or present["prefix"].strip("/") != tier.prefix.strip("/"):
        raise InvalidSetting(
            f"The tier {tier.name} goes to {present['endpoint'].rstrip('/')}/{present['bucket']}/{present['prefix']} "
            f"already, and not to {tier.endpoint_url.rstrip('/')}/{tier.bucket}/{tier.prefix}",
            hint=f"A tier never changes its place: write that one under `remote_tiers`, or choose another name than "
            f"{tier.name}",
        )


def _encrypted(body: bytes, secret: str) -> bytes:
    try:
        from minio.crypto import encrypt
    except ImportError:
        raise InvalidSetting(
            "MinIO's admin API needs the Python package minio", hint="pip install 'tierlake[minio]'"
        ) from None
    encrypted: bytes = encrypt(body, secret)
    return encrypted


def _credentials(store: Store) -> Credentials:
    settings = settled(store)
    if not settings.key:
        raise BadCredentials(
            f"There are no credentials for MinIO's admin API at {store.endpoint}",
            hint="Set TIERLAKE_KEY and TIERLAKE_SECRET to an administrator's",
        )
    return Credentials(settings.key, settings.secret_of("secret"), settings.secret_of("token"))


def _request(store: Store, method: str, body: bytes) -> bytes:
    profile = store.profile_sync()
    if not profile.remote_tiers or store.endpoint is None:
        raise UnsupportedByServer(profile.name, "remote tiers", f"the mover {profile.mover!r}")
    credentials = _credentials(store)
    data = _encrypted(body, credentials.secret_key) if body else b""
    request = AWSRequest(method=method, url=store.endpoint.rstrip("/") + _PATH, data=data)
    S3SigV4Auth(credentials, "s3", store.settings.region or DEFAULT_REGION).add_auth(request)
    session = URLLib3Session(timeout=(store.settings.connect_timeout, store.settings.read_timeout))
    try:
        response = session.send(request.prepare())
    except (HTTPClientError, ConnectionError) as error:
        raise unreachable(error, store.endpoint) from error
    finally:
        session.close()
    if response.status_code not in _OK:
        _fail(store.endpoint, response.status_code, response.content, is_tier=bool(body))
    content: bytes = response.content
    return content


def _fail(endpoint: str, status: int, content: bytes, *, is_tier: bool) -> NoReturn:
    try:
        reason = json_object(content)
    except UnreadableDocument:
        reason = {}
    code, message = str(reason.get("Code", status)), one_line(str(reason.get("Message", "no reason given")))
    request_id = reason.get("RequestId")
    if is_tier and (code.startswith("XMinioAdminTier") or message.startswith(_OF_THE_REMOTE)):
        raise _TierRefusedError(message, code, request_id)
    kind: type[AccessDenied | ServerError] = AccessDenied if status in _DENIED else ServerError
    hint = f"Check that {endpoint} is a MinIO server; its log tells more"
    if code in _WRONG_CREDENTIALS:
        hint = f"Check TIERLAKE_KEY and TIERLAKE_SECRET: {endpoint} does not accept them"
    elif kind is AccessDenied:
        hint = "Tiers are an administrator's: use the server's root user, or one with `consoleAdmin`"
    raise kind(f"MinIO's admin API: {message}", hint=hint, server_code=code, request_id=request_id)
