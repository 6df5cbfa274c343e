"""The one place through which every request goes.

:meth:`Seam.call` takes what s3fs gives to ``_call_s3`` and decides, before any byte leaves: are names and
options valid, may this be written here, what does the write policy add, does the server have that. After
the response: was the encryption honoured, and which error is it.
"""

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import ClientPayloadError
from botocore import exceptions as boto
from s3fs.utils import SSEParams

from tierlake.connector.client.carried import kept_parameters
from tierlake.connector.client.customer_keys import KEYED_READS, check_customer_keys, with_customer_keys
from tierlake.connector.client.error_mapping import Asked, raise_translated, translated
from tierlake.connector.client.listing_cache import forget_everywhere
from tierlake.connector.client.lost_replies import own_write
from tierlake.connector.client.options import fitting
from tierlake.connector.client.resumable_body import Body
from tierlake.connector.client.retry import RetryBudget, in_doubt, retrying
from tierlake.connector.client.single_flight import SingleFlight
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    BucketNotFound,
    EncryptionIgnored,
    InvalidName,
    LakeError,
    ObjectNotFound,
    PreconditionFailed,
    RequestRefused,
    TableDamaged,
)
from tierlake.connector.names import check_bucket, check_key
from tierlake.connector.policy.encryption import ENCRYPTION_PARAMETERS
from tierlake.connector.policy.parameters import applied, copy_source, empty_candidates, is_self_copy, mode_of
from tierlake.connector.policy.rules import STANDARD
from tierlake.connector.profiles import get_profile
from tierlake.connector.profiles.detect import known_profile, observe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.profiles import Profile

logger = logging.getLogger("tierlake.connector")

CREATES = frozenset({"put_object", "create_multipart_upload", "copy_object"})
"""Operations that say what an object will be."""
_DELETES = frozenset({"delete_object", "delete_objects"})
WRITES = CREATES | _DELETES
_ENDS_OF_WRITES = frozenset({"put_object", "copy_object", "complete_multipart_upload"})
_READS = frozenset({"get_object", "head_object"})
_HEADS = frozenset({"head_object", "head_bucket"})
DELETE_BATCH = 1000
"""S3's limit for one bulk delete."""
_DIAGNOSED_STATUS = frozenset({400, 403})


class Seam:
    """All requests of one filesystem.

    Args:
        fs: The filesystem whose settings, policy and client are used.
    """

    def __init__(self, fs: LakeFileSystem) -> None:
        self._fs = fs
        self._budget = RetryBudget(attempts=fs.settings.max_retries + 1, seconds=fs.settings.retry_seconds)
        self._uploads: dict[str, dict[str, Any]] = {}
        self._seen_buckets: set[str] = set()
        self._bucket_probes = SingleFlight[None]()
        self._versioned: dict[str, bool] = {}
        self._trusted: set[tuple[str, str, str]] = set()

    # -- what the filesystem calls -----------------------------------------------------------------

    async def call(self, operation: str, *defaults: Any, **params: Any) -> Any:
        """Make a request under the write policy and the guards.

        Args:
            operation: botocore's method name, such as ``put_object``.
            *defaults: Mappings of options, a later one wins.
            **params: The request's parameters; they win over ``defaults``.

        Returns:
            botocore's response.

        Raises:
            LakeError: Anything that went wrong, see :mod:`tierlake.connector.errors`.
        """
        request = await self._fitting(operation, defaults, params)
        await self._check_names(operation, request)
        in_place = operation == "copy_object" and is_self_copy(request)
        if "Key" in request:
            check_customer_keys(self._fs, operation, request)
        if operation in CREATES and not in_place:  # what makes no sense is refused before anything is asked
            request = await self.under_policy(operation, request)
        if operation in WRITES and not in_place:
            await self._fs.views.refuse_writes(self._written_paths(request), creating=operation in CREATES)
        if operation in CREATES:
            await self._check_bucket_exists(request["Bucket"])
        if in_place:
            request = await self.under_policy(operation, request)
        elif operation == "create_bucket":
            request = self._with_location(request)
        return await self._keyed(operation, request)

    async def send(self, operation: str, **params: Any) -> Any:
        """Make a request as it is: no policy, no guard. For the connector's own modules.

        They use it where the object's bytes stay the same, and for what concerns no object.
        """
        await self._check_names(operation, params)
        return await self._keyed(operation, params)

    async def send_in_place(self, operation: str, **params: Any) -> Any:
        """Make a request as :meth:`send` does, after which the object is still there and the caller looks at it.

        So nothing is looked at here: neither the encryption that the server gave it, nor whether its folder is empty.
        """
        await self._check_names(operation, params)
        return await self._keyed(operation, params, in_place=True)

    async def _keyed(self, operation: str, request: dict[str, Any], *, in_place: bool = False) -> Any:
        """With the customer's key that the policy has; an object that was written without it is read without it."""
        keyed = with_customer_keys(self._fs, operation, request, self._chosen(request))
        encryption = {**self._chosen(request), **keyed}.get("ServerSideEncryption")
        try:
            response = await self._send(operation, keyed)
        except RequestRefused as refused:
            if operation not in KEYED_READS or keyed == request:
                raise
            try:
                return await self._send(operation, request)
            except RequestRefused:
                raise refused from None
        if operation in _ENDS_OF_WRITES and encryption and not in_place:
            await self._check_honoured(operation, keyed, response, encryption)
        elif operation in _DELETES and not in_place:
            await self._sweep(keyed)
        return response

    async def profile(self) -> Profile:
        """The server's profile; at most one request for an endpoint that has not answered yet."""
        client = await self._fs.set_session()
        known = known_profile(self._fs.settings.profile, self._fs.endpoint)
        if known is None:
            try:
                await self._send("list_buckets", {})
            except LakeError as error:
                logger.debug("list_buckets for the Server header: %s", error.code)
                if error.server_code is None and not isinstance(error, BadCredentials):
                    raise
            known = known_profile(self._fs.settings.profile, client.meta.endpoint_url)
        return known or get_profile("generic")

    def forget_bucket(self, bucket: str) -> None:
        """A bucket was deleted: look again before the next write."""
        self._seen_buckets.discard(bucket)

    async def keeps_versions(self, bucket: str) -> bool:
        """Whether a bucket keeps versions, or did when first asked; False where we may not ask."""

        async def look() -> None:
            with suppress(AccessDenied):
                response = await self.send("get_bucket_versioning", Bucket=bucket)
                self._versioned[bucket] = response.get("Status") == "Enabled"

        if bucket not in self._versioned:
            await self._bucket_probes.ask(("versions", bucket), look)
        return self._versioned.get(bucket, False)

    # -- before the request ------------------------------------------------------------------------

    async def _fitting(self, operation: str, defaults: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
        fs = self._fs
        client = await fs.set_session()
        options: dict[str, Any] = {**fs.s3_additional_kwargs, **fs.req_kw}
        for some in defaults:
            if some is not fs.kwargs:  # s3fs passes the session's arguments along with a HEAD
                options.update(some.to_kwargs() if isinstance(some, SSEParams) else some)
        options.update(params)
        if options.get("RequestPayer", "") is None:
            del options["RequestPayer"]
        return fitting(client.meta.service_model, operation, options)

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
        odd = next((key for key in keys if "\\" in key), None)
        if odd is not None and not (profile := await self.profile()).backslashes:
            message = f"{profile.name} takes a backslash for a slash: {odd!r} would be another object"
            raise InvalidName(message, bucket=bucket)

    def _written_paths(self, request: Mapping[str, Any]) -> list[str]:
        bucket = request["Bucket"]
        if "Delete" in request:
            return [f"{bucket}/{item['Key']}" for item in request["Delete"]["Objects"]]
        return [f"{bucket}/{request['Key']}"]

    async def _check_bucket_exists(self, bucket: str) -> None:
        """Some servers create a bucket by writing into it: a mistyped name must not do that."""
        known = known_profile(self._fs.settings.profile, self._fs.endpoint)
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
        """What a request that creates an object is after the write policy, validated for this server.

        Args:
            operation: One of :data:`CREATES`.
            request: What the caller says; it wins over the policy.

        Raises:
            UnsupportedByServer: The server lacks the class or the encryption.
        """
        policy = self._fs.policy.for_key(request["Bucket"], request["Key"])
        self_copy = operation == "copy_object" and is_self_copy(request)
        settled = await self._kept(request) if self_copy else applied(operation, request, policy)
        return await self._validated(
            {n: v for n, v in settled.items() if v is not None or n.startswith("CopySourceSSE")}
        )

    async def _kept(self, request: dict[str, Any]) -> dict[str, Any]:
        """A self-copy by a caller (``setxattr``): what is not said anew stays as it is."""
        head = await self.send("head_object", Bucket=request["Bucket"], Key=request["Key"])
        profile = await self.profile()
        kept = kept_parameters(head, profile, self._fs.policy.for_key(request["Bucket"], request["Key"]).encryption)
        if request.get("MetadataDirective", "COPY") != "REPLACE":
            kept = {n: v for n, v in kept.items() if n in ENCRYPTION_PARAMETERS or n == "StorageClass"}
        if ENCRYPTION_PARAMETERS & request.keys():
            kept = {name: value for name, value in kept.items() if name not in ENCRYPTION_PARAMETERS}
        return {**kept, **request}

    async def _validated(self, request: dict[str, Any]) -> dict[str, Any]:
        mode = mode_of(request)
        storage_class = request.get("StorageClass", STANDARD)
        bucket, key = request["Bucket"], request["Key"]
        profile = known_profile(self._fs.settings.profile, self._fs.endpoint)
        if profile is None and (storage_class != STANDARD or mode not in {"sse-s3", "none"}):
            profile = await self.profile()
        if profile is None:
            return request
        profile.check_class(storage_class, key=f"{bucket}/{key}")
        profile.check_encryption(mode, key=f"{bucket}/{key}")
        if mode == "sse-c":
            check_customer_keys(self._fs, "put_object", request)
        if not profile.kms_bucket_key:
            request.pop("BucketKeyEnabled", None)
        return request

    def _with_location(self, request: dict[str, Any]) -> dict[str, Any]:
        """AWS wants the region of a new bucket said, except for us-east-1, where it must not be."""
        located = dict(request)
        said = located.get("CreateBucketConfiguration", {}).get("LocationConstraint")
        region = said or self._fs.client_region
        if said == "us-east-1":
            del located["CreateBucketConfiguration"]
        elif self._fs.endpoint is None and said is None and region not in {None, "us-east-1", "aws-global"}:
            located["CreateBucketConfiguration"] = {"LocationConstraint": region}
        return located

    # -- the request -------------------------------------------------------------------------------

    async def _send(self, operation: str, request: dict[str, Any]) -> Any:
        try:
            response = await self._request(operation, request)
        except ObjectNotFound as error:
            if operation in _READS and "VersionId" not in request:
                self._check_committed(request["Bucket"], request["Key"], error)
            raise
        await self._after(operation, request, response)
        return response

    def _check_committed(self, bucket: str, key: str, missing: ObjectNotFound) -> None:
        root = self._fs.views.naming(f"{bucket}/{key}")
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
        fs = self._fs
        await fs.set_session()
        client = await fs.get_s3(request.get("Bucket"))
        method = getattr(client, operation)
        logger.debug("%s %s", operation, "/".join(request[name] for name in ("Bucket", "Key") if request.get(name)))
        doubts: list[Exception] = []

        async def attempt() -> Any:
            try:
                response = await method(**request)
            except Exception as error:
                doubts.extend([error] if in_doubt(error) else [])
                raise
            observe(client.meta.endpoint_url, response)
            return response

        patiently = functools.partial(self._patiently, client, operation, request)
        try:
            response = await patiently(attempt)
        except (PreconditionFailed, ObjectNotFound) as error:
            own = await own_write(fs, operation, request, self._chosen(request)) if doubts else None
            if own is None:
                if isinstance(error, PreconditionFailed):
                    error.after_lost_reply = bool(doubts)
                raise
            response = own
        if operation == "get_object":
            response["Body"] = Body(response, request, get=method, patiently=patiently)
        return response

    async def _patiently(
        self, client: Any, operation: str, request: Mapping[str, Any], attempt: Callable[[], Awaitable[Any]]
    ) -> Any:
        try:
            return await retrying(attempt, self._budget)
        except (boto.BotoCoreError, boto.ClientError, OSError, ClientPayloadError) as error:
            endpoint = client.meta.endpoint_url
            if isinstance(error, boto.ClientError):
                observe(endpoint, error.response)
            known = known_profile(self._fs.settings.profile, endpoint)
            asked = Asked(
                operation=operation,
                endpoint=endpoint,
                server=known.name if known else "the server",
                bucket=request.get("Bucket"),
                key=request.get("Key"),
                must_not_exist=request.get("IfNoneMatch") == "*",
            )
            if operation in _HEADS and asked.bucket is not None:
                await self._diagnose(client, error, asked)
            raise_translated(error, asked)

    def _chosen(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The encryption with which the upload was begun that a request concerns."""
        chosen: dict[str, Any] = self._uploads.get(request.get("UploadId", ""), {})
        return chosen

    async def _diagnose(self, client: Any, error: Exception, asked: Asked) -> None:
        """A HEAD has no body to say why it failed: ask with a GET whether the credentials are known."""
        if not isinstance(error, boto.ClientError):
            return
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in _DIAGNOSED_STATUS:
            return
        try:
            await client.list_objects_v2(Bucket=asked.bucket, Prefix=asked.key or "", MaxKeys=1)
        except boto.ClientError as told:
            better = translated(told, asked)
            if isinstance(better, BadCredentials | BucketNotFound):
                raise better from told

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
            forget_everywhere(self._fs.endpoint, self._written_paths(request))
        if operation in CREATES:
            self._fs.views.written(f"{request['Bucket']}/{request['Key']}")
        if operation in {"complete_multipart_upload", "abort_multipart_upload"}:
            self._uploads.pop(request["UploadId"], None)

    async def _sweep(self, request: dict[str, Any]) -> None:
        """Some servers go on listing a folder whose last object was deleted: delete it too.

        What is not empty stays (seen), so that the folders above can be named without looking.
        """
        known = known_profile(self._fs.settings.profile, self._fs.endpoint)
        if known is None or not known.empty_prefixes_stay:
            return
        folders = empty_candidates(path.partition("/")[2] for path in self._written_paths(request))
        for start in range(0, len(folders), DELETE_BATCH):
            batch = {"Objects": [{"Key": key} for key in folders[start : start + DELETE_BATCH]], "Quiet": True}
            await self._request("delete_objects", {"Bucket": request["Bucket"], "Delete": batch})

    async def _check_honoured(self, operation: str, request: dict[str, Any], response: Any, asked: str) -> None:
        """A server that ignores the header stores in clear: look once for each way and bucket."""
        way = (request["Bucket"], operation, asked)
        if way in self._trusted or request["Key"].endswith("/"):  # an empty folder has no bytes
            return
        got = response.get("ServerSideEncryption")
        if got is None:
            head = await self.send("head_object", Bucket=request["Bucket"], Key=request["Key"])
            got = head.get("ServerSideEncryption")
        if got != asked:
            raise EncryptionIgnored(
                f"The server was asked for the encryption {asked} and reports {got or 'none'}",
                hint="The object is there, not encrypted as asked: delete it, and choose another mode",
                bucket=request["Bucket"],
                key=request["Key"],
            )
        self._trusted.add(way)
