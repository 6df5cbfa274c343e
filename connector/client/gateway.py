"""The one place through which every request goes.

Before a request `Gateway.call` checks its names and options and whether the object may be written, adds what the write
policy says, and checks that the server supports it. After the response it checks the encryption and translates errors.
"""

from __future__ import annotations

import functools
import logging
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.carried import kept_parameters
from tierlake.connector.client.customer_keys import KEYED_READS, CustomerKeys
from tierlake.connector.client.guard import Unguarded
from tierlake.connector.client.listing_cache import forget_everywhere
from tierlake.connector.client.lost_replies import own_write
from tierlake.connector.client.options import fitting
from tierlake.connector.client.recent import Recent, RecentSet
from tierlake.connector.client.single_flight import SingleFlight
from tierlake.connector.client.transport import Transport, whole_responses
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    EncryptionIgnored,
    InvalidName,
    LakeError,
    ObjectNotFound,
    RequestRefused,
    TableDamaged,
)
from tierlake.connector.names import check_bucket, check_key
from tierlake.connector.policy.encryption import ENCRYPTION_PARAMETERS
from tierlake.connector.policy.parameters import applied, copy_source, empty_candidates, is_self_copy, mode_of
from tierlake.connector.policy.rules import STANDARD
from tierlake.connector.profiles import get_profile
from tierlake.connector.profiles.detect import known_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.connection import Connection
    from tierlake.connector.client.guard import Guard
    from tierlake.connector.policy.rules import WritePolicy
    from tierlake.connector.profiles import Profile
    from tierlake.connector.settings import LakeSettings

logger = logging.getLogger("tierlake.connector")

CREATES = frozenset({"put_object", "create_multipart_upload", "copy_object"})
"""Operations that determine an object's properties."""
_DELETES = frozenset({"delete_object", "delete_objects"})
WRITES = CREATES | _DELETES
_ENDS_OF_WRITES = frozenset({"put_object", "copy_object", "complete_multipart_upload"})
_READS = frozenset({"get_object", "head_object"})
DELETE_BATCH = 1000
"""S3's limit for one bulk delete."""
_UPLOADS_MAX, _ABANDONED_SECONDS = 10_000, 86_400.0
"""Bounds of the known uploads: their number, and how long one is kept after its last part."""
_BUCKETS_MAX = 1000


class Gateway:
    """All requests of one store.

    Args:
        settings: The endpoint, the server's profile and the retry budget.
        policy: The write policy.
        connection: The client, shared with other stores.
        options: Options for every request that accepts them.

    Attributes:
        guard: Knows the tables, and refuses writes that would break one.
    """

    def __init__(
        self, settings: LakeSettings, policy: WritePolicy, connection: Connection, options: Mapping[str, Any]
    ) -> None:
        self.guard: Guard = Unguarded()
        self._settings = settings
        self._endpoint = settings.endpoint_url
        self._policy = policy
        self._connection = connection
        self._options = options
        self._keys = CustomerKeys(policy, settings.profile, self._endpoint)
        self._transport = Transport(settings, connection)
        # with customers' keys, so those of an abandoned upload are dropped
        self._uploads = Recent[str, dict[str, Any]](_UPLOADS_MAX, seconds=_ABANDONED_SECONDS)
        self._seen_buckets = RecentSet[str](_BUCKETS_MAX)
        self._bucket_probes = SingleFlight[None]()
        self._versioned = Recent[str, bool](_BUCKETS_MAX)
        self._trusted = RecentSet[tuple[str, str, str]](_BUCKETS_MAX)
        self._service: Any = None

    # -- what the store calls ----------------------------------------------------------------------

    async def call(self, operation: str, *defaults: Mapping[str, Any], **params: Any) -> Any:
        """Make a request under the write policy and the guards.

        Args:
            operation: Botocore's method name, such as `put_object`.
            *defaults: Mappings of options, a later one wins.
            **params: The request's parameters; they win over `defaults`.

        Returns:
            Botocore's response.

        Raises:
            LakeError: Anything that went wrong, see `tierlake.connector.errors`.
        """
        request = await self._fitting(operation, defaults, params)
        await self._check_names(operation, request)
        in_place = operation == "copy_object" and is_self_copy(request)
        if "Key" in request:
            self._keys.check(operation, request)
        if operation in CREATES and not in_place:  # invalid parameters are refused before any request
            request = await self.under_policy(operation, request)
        if operation in WRITES and not in_place:
            await self.guard.refuse_writes(self._written_paths(request), creating=operation in CREATES)
        if operation in CREATES:
            await self._check_bucket_exists(request["Bucket"])
        if in_place:
            request = await self.under_policy(operation, request)
        elif operation == "create_bucket":
            request = self._with_location(request)
        return await self._keyed(operation, request)

    async def send(self, operation: str, **params: Any) -> Any:
        """Make a request as it is, without policy and guard. For the connector's own modules.

        They use it for requests that keep the object's bytes, and for those that concern no object.
        """
        await self._check_names(operation, params)
        return await self._keyed(operation, params)

    async def send_in_place(self, operation: str, **params: Any) -> Any:
        """Make a request as `send` does, after which the object still exists and the caller checks it.

        So this method checks neither the object's encryption, nor whether its folder is empty.
        """
        await self._check_names(operation, params)
        return await self._keyed(operation, params, in_place=True)

    async def _keyed(self, operation: str, request: dict[str, Any], *, in_place: bool = False) -> Any:
        """Make a request with the policy's customer key; an object that was written without one is read without it."""
        chosen = self._chosen(request)
        keyed = self._keys.added_to(operation, request, chosen)
        encryption = keyed.get("ServerSideEncryption", chosen.get("ServerSideEncryption"))
        is_checked = operation in _ENDS_OF_WRITES and bool(encryption) and not in_place
        is_trusted = not is_checked or (request["Bucket"], operation, encryption) in self._trusted
        try:
            with nullcontext() if is_trusted else whole_responses():  # they report the encryption
                response = await self._send(operation, keyed)
        except RequestRefused as refused:
            if operation not in KEYED_READS or keyed == request:
                raise
            try:
                return await self._send(operation, request)
            except RequestRefused:
                raise refused from None
        if not is_trusted:
            await self._check_honoured(operation, keyed, response, str(encryption))
        elif operation in _DELETES and not in_place:
            await self._sweep(keyed)
        return response

    @property
    def known_profile(self) -> Profile | None:
        """The server's profile; None if it is not known without a request."""
        return known_profile(self._settings.profile, self._endpoint)

    async def profile(self) -> Profile:
        """The server's profile; makes at most one request, for an endpoint that has not answered yet."""
        client = await self._connection.client()
        known = self.known_profile
        if known is None:
            try:
                await self._send("list_buckets", {})
            except LakeError as error:
                logger.debug("list_buckets for the Server header: %s", error.code)
                if error.server_code is None and not isinstance(error, BadCredentials):
                    raise
            known = known_profile(self._settings.profile, client.meta.endpoint_url)
        return known or get_profile("generic")

    def forget_bucket(self, bucket: str) -> None:
        """Forget a deleted bucket: look again before the next write."""
        self._seen_buckets.discard(bucket)

    async def keeps_versions(self, bucket: str) -> bool:
        """Whether a bucket kept versions at the first look; False if we may not look."""

        async def look() -> None:
            with suppress(AccessDenied):
                response = await self.send("get_bucket_versioning", Bucket=bucket)
                self._versioned[bucket] = response.get("Status") == "Enabled"

        if bucket not in self._versioned:
            await self._bucket_probes.ask(("versions", bucket), look)
        return self._versioned.get(bucket, False)

    # -- before the request ------------------------------------------------------------------------

    async def _fitting(
        self, operation: str, defaults: tuple[Mapping[str, Any], ...], params: dict[str, Any]
    ) -> dict[str, Any]:
        if self._service is None:
            self._service = (await self._connection.client()).meta.service_model
        options = params
        if defaults or self._options:
            options = dict(self._options)
            for some in defaults:
                options.update(some)
            options.update(params)
        if options.get("RequestPayer", "") is None:
            del options["RequestPayer"]
        return fitting(self._service, operation, options)

    async def _check_names(self, operation: str, request: Mapping[str, Any]) -> None:
        bucket = request.get("Bucket")
        if bucket is not None:
            check_bucket(bucket)
        keys = [request["Key"]] if request.get("Key") is not None else []
        if operation == "delete_objects":
            keys += [item["Key"] for item in request.get("Delete", {}).get("Objects", ())]
        for key in keys:
            check_key(key, bucket=bucket)
        source = copy_source(request)
        if source is not None:
            check_key(source[1], bucket=source[0])
        odd = [key for key in keys if "\\" in key]
        if odd and not (profile := await self.profile()).backslashes:
            message = f"{profile.name} takes a backslash for a slash: {odd[0]!r} would be another object"
            raise InvalidName(message, hint="Write / between folders, or another letter", bucket=bucket)

    def _written_paths(self, request: Mapping[str, Any]) -> list[str]:
        bucket = request["Bucket"]
        if "Delete" in request:
            return [f"{bucket}/{item['Key']}" for item in request["Delete"]["Objects"]]
        return [f"{bucket}/{request['Key']}"]

    async def _check_bucket_exists(self, bucket: str) -> None:
        """Refuse a write to a missing bucket: some servers would create a bucket of a mistyped name."""
        known = self.known_profile
        if bucket in self._seen_buckets or (known is not None and not known.put_creates_bucket):
            return

        async def look() -> None:
            try:
                await self._send("head_bucket", {"Bucket": bucket})
            except PermissionError as error:
                if isinstance(error, BadCredentials):
                    raise

        await self._bucket_probes.ask(bucket, look)
        self._seen_buckets.add(bucket)

    async def under_policy(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """A request that creates an object, completed by the write policy and validated for this server.

        Args:
            operation: One of `CREATES`.
            request: The caller's parameters; they win over the policy.

        Raises:
            UnsupportedByServer: The server lacks the class or the encryption.
        """
        policy = self._policy.for_key(request["Bucket"], request["Key"])
        self_copy = operation == "copy_object" and is_self_copy(request)
        settled = await self._kept(request) if self_copy else applied(operation, request, policy)
        return await self._validated(
            {n: v for n, v in settled.items() if v is not None or n.startswith("CopySourceSSE")}
        )

    async def _kept(self, request: dict[str, Any]) -> dict[str, Any]:
        """A caller's self-copy (`setxattr`), completed by the object's present properties."""
        head = await self.send("head_object", Bucket=request["Bucket"], Key=request["Key"])
        profile = await self.profile()
        kept = kept_parameters(head, profile, self._policy.for_key(request["Bucket"], request["Key"]).encryption)
        if request.get("MetadataDirective", "COPY") != "REPLACE":
            kept = {n: v for n, v in kept.items() if n in ENCRYPTION_PARAMETERS or n == "StorageClass"}
        if ENCRYPTION_PARAMETERS & request.keys():
            kept = {name: value for name, value in kept.items() if name not in ENCRYPTION_PARAMETERS}
        return {**kept, **request}

    async def _validated(self, request: dict[str, Any]) -> dict[str, Any]:
        mode = mode_of(request)
        storage_class = request.get("StorageClass", STANDARD)
        bucket, key = request["Bucket"], request["Key"]
        profile = self.known_profile
        if profile is None and (storage_class != STANDARD or mode not in {"sse-s3", "none"}):
            profile = await self.profile()
        if profile is None:
            return request
        profile.check_class(storage_class, key=f"{bucket}/{key}")
        profile.check_encryption(mode, key=f"{bucket}/{key}")
        if mode == "sse-c":
            self._keys.check("put_object", request)
        if not profile.kms_bucket_key:
            request.pop("BucketKeyEnabled", None)
        return request

    def _with_location(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request with the new bucket's region: AWS demands it, except for us-east-1, where it refuses it."""
        located = dict(request)
        requested = located.get("CreateBucketConfiguration", {}).get("LocationConstraint")
        region = requested or self._connection.region
        if requested == "us-east-1":
            del located["CreateBucketConfiguration"]
        elif self._endpoint is None and requested is None and region not in {None, "us-east-1", "aws-global"}:
            located["CreateBucketConfiguration"] = {"LocationConstraint": region}
        return located

    # -- the request -------------------------------------------------------------------------------

    async def _send(self, operation: str, request: dict[str, Any]) -> Any:
        try:
            response = await self._request(operation, request)
        except ObjectNotFound as error:
            self._uploads.pop(request.get("UploadId", ""), None)  # the upload is gone, and its key with it
            if operation in _READS and "VersionId" not in request:
                self._check_committed(request["Bucket"], request["Key"], error)
            raise
        await self._after(operation, request, response)
        return response

    def _check_committed(self, bucket: str, key: str, missing: ObjectNotFound) -> None:
        root = self.guard.naming(f"{bucket}/{key}")
        if root is None:
            return
        raise TableDamaged(
            f"The table lake://{root} names this file, and the store does not have it",
            hint=f"`tierlake verify lake://{root}` names all such files",
            server_code=missing.server_code,
            request_id=missing.request_id,
            bucket=bucket,
            key=key,
        ) from missing

    async def _request(self, operation: str, request: dict[str, Any]) -> Any:
        own = functools.partial(own_write, self.send, operation, request, self._chosen(request))
        return await self._transport.request(operation, request, own)

    def _chosen(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The encryption with which a request's upload was created."""
        upload = request.get("UploadId", "")
        return self._uploads.get(upload, {}) if upload in self._uploads else {}  # mostly not: a miss of `get` is slow

    # -- after the response ------------------------------------------------------------------------

    async def _after(self, operation: str, request: dict[str, Any], response: Any) -> None:
        if operation == "create_multipart_upload":
            chosen = {name: value for name, value in request.items() if name in ENCRYPTION_PARAMETERS}
            self._uploads[response["UploadId"]] = chosen
        elif operation == "head_bucket":
            self._seen_buckets.add(request["Bucket"])
        elif operation == "delete_bucket":
            self.forget_bucket(request["Bucket"])
        if operation in WRITES or operation == "complete_multipart_upload":
            forget_everywhere(self._endpoint, self._written_paths(request))
        if operation in CREATES:
            self.guard.written(f"{request['Bucket']}/{request['Key']}")
        if operation in {"complete_multipart_upload", "abort_multipart_upload"}:
            self._uploads.pop(request["UploadId"], None)

    async def _sweep(self, request: dict[str, Any]) -> None:
        """Delete empty folders, which some servers go on listing after their last object is deleted.

        A folder that is not empty stays (seen), so all folders above can be named without a look at them.
        """
        known = self.known_profile
        if known is None or not known.empty_prefixes_stay:
            return
        folders = empty_candidates(path.partition("/")[2] for path in self._written_paths(request))
        for start in range(0, len(folders), DELETE_BATCH):
            batch = {"Objects": [{"Key": key} for key in folders[start : start + DELETE_BATCH]], "Quiet": True}
            await self._request("delete_objects", {"Bucket": request["Bucket"], "Delete": batch})

    async def _check_honoured(self, operation: str, request: dict[str, Any], response: Any, requested: str) -> None:
        """Refuse a server that ignores the header and stores in clear; checked once for each bucket and operation."""
        if request["Key"].endswith("/"):  # an empty folder has no bytes
            return
        reported = response.get("ServerSideEncryption")
        if reported is None:
            head = await self.send("head_object", Bucket=request["Bucket"], Key=request["Key"])
            reported = head.get("ServerSideEncryption")
        if reported != requested:
            raise EncryptionIgnored(
                f"The server was asked for the encryption {requested} and reports {reported or 'none'}",
                hint="The object is there, not encrypted as asked: delete it, and choose another mode",
                bucket=request["Bucket"],
                key=request["Key"],
            )
        self._trusted.add((request["Bucket"], operation, requested))
