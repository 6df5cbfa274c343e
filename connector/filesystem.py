"""``lake://``: an S3 store as an fsspec filesystem, a facade over this package's modules.

>>> fs = LakeFileSystem(encryption="sse-s3", storage_class="STANDARD")      # doctest: +SKIP
>>> pd.read_parquet("lake://warehouse/flights")                             # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

import botocore.session
from fsspec.asyn import sync, sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import stringify_path

from tierlake.connector import interop
from tierlake.connector.client.arguments import OWN_OPTIONS, LakeOptions, check_arguments, plain_options
from tierlake.connector.client.gateway import Seam
from tierlake.connector.client.listing_cache import ListingCache, share_writes
from tierlake.connector.client.sessions import HttpSession, new_session
from tierlake.connector.errors import ObjectNotFound
from tierlake.connector.listing.directories import TableListings
from tierlake.connector.listing.tables import Views
from tierlake.connector.objects import audit, copy, delete, expansion, move, multipart, object_lock, restore, versions
from tierlake.connector.objects import metadata as object_metadata
from tierlake.connector.objects import presign as presigning
from tierlake.connector.objects import transition as transitions
from tierlake.connector.profiles import get_profile, profile_names
from tierlake.connector.profiles.detect import known_profile
from tierlake.connector.redact import guard_logs
from tierlake.connector.settings import LakeSettings, check_endpoint, environment_token
from tierlake.connector.transfer import download, upload
from tierlake.connector.transfer.open_file import LakeFile, compressed, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from datetime import datetime, timedelta

    from aiobotocore.session import AioSession

    from tierlake.connector.objects.multipart import IncompleteUpload
    from tierlake.connector.objects.presign import PresignConditions, PresignedPost
    from tierlake.connector.objects.restore import RestoreStatus
    from tierlake.connector.objects.transition import TransitionResult
    from tierlake.connector.policy.rules import WritePolicy
    from tierlake.connector.profiles import Profile

_OPEN_ARGUMENTS = ("anon", "endpoint_url", "key")
P = ParamSpec("P")
T = TypeVar("T")


def _synced(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The blocking face of an async method, with its signature."""

    def blocking(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = sync(self.loop, functools.partial(method, self), *args, **kwargs)
        return result

    functools.update_wrapper(blocking, method)
    return blocking


class _EnvironmentToken:
    """A class attribute that fsspec's instance cache sees: another environment, another instance."""

    def __get__(self, instance: object, owner: type) -> str:
        return environment_token(os.environ)


class LakeFileSystem(TableListings):
    """S3, MinIO or any S3 server, with a write policy on every path and tables that show commits only.

    Args:
        anon: No credentials at all.
        endpoint_url: The endpoint; None is AWS.
        key: Access key id; None leaves credentials to the AWS chain.
        secret: Secret access key.
        token: Session token.
        **options: :class:`LakeOptions`, and every further argument of :class:`s3fs.S3FileSystem`. What is
            not said comes from ``settings`` or, without it, from the environment (``TIERLAKE_*``).
            ``table_root``: the only table below whose root this instance may write. ``raw``: never answer
            from a table, always from the store. ``aws_profile``: a profile of the AWS configuration files.

    Raises:
        InvalidSetting: An argument's value makes no sense.
        InsecureEndpoint: Plain HTTP to a host that is not loopback.
        UnknownOption: There is no such argument.
    """

    protocol = ("lake", "s3", "s3a")  # the first is its name; in place of s3fs it answers to its names too
    _extra_tokenize_attributes = ("default_block_size", "environment")
    environment = _EnvironmentToken()
    session: AioSession | None
    _session_is_owned: bool

    def __init__(
        self,
        anon: bool = False,  # noqa: FBT001, FBT002 -- s3fs's order
        endpoint_url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        **options: Unpack[LakeOptions],
    ) -> None:
        given: dict[str, Any] = dict(options)
        guard_logs()
        self.raw: bool = bool(given.pop("raw", False))
        root = given.pop("table_root", None)
        self.table_root: str | None = self._strip_protocol(root).strip("/") if root else None
        client_kwargs = dict(given.get("client_kwargs") or {})
        username, password = given.pop("username", None), given.pop("password", None)
        if (key and username) or (secret and password):
            raise KeyError("Supply either key or username, and secret or password, not both")  # as s3fs does
        credentials = {
            "key": key or username or client_kwargs.get("aws_access_key_id"),
            "secret": secret or password or client_kwargs.get("aws_secret_access_key"),
            "token": token or client_kwargs.get("aws_session_token"),
        }
        session_options = self._aws_profile(given)
        base = given.pop("settings", None)
        own = {name: given.pop(name) for name in OWN_OPTIONS & given.keys()}
        check_arguments(given, credentials)
        elsewhere = anon or given.get("session") is not None
        settings = LakeSettings.of(
            base,
            endpoint_url=endpoint_url or client_kwargs.get("endpoint_url"),
            **credentials,
            **own,
        )
        if elsewhere and not credentials["key"]:
            settings = settings.model_copy(update={"key": None, "secret": None, "token": None})
        self.settings: LakeSettings = settings
        self.policy: WritePolicy = settings.policy
        self.endpoint: str | None = settings.endpoint_url
        if given.get("use_ssl") is False and self.endpoint is None:
            check_endpoint("http://s3.amazonaws.com", allow_http=settings.allow_http)
        if self.endpoint is not None:
            check_endpoint(self.endpoint, allow_http=settings.allow_http)
        rendered = settings.s3fs_kwargs()
        config = {**rendered.pop("config_kwargs"), **(given.pop("config_kwargs", None) or {})}
        config.setdefault("signature_version", "s3v4")
        config.setdefault("http_session_cls", HttpSession)
        config.setdefault("retries", {"total_max_attempts": 1, "mode": "standard"})
        given.update(session_options)
        given.setdefault("listings_expiry_time", settings.view_freshness)
        super().__init__(anon=anon, config_kwargs=config, **rendered, **given)
        self.dircache = ListingCache(
            use_listings_cache=given.get("use_listings_cache", True),
            listings_expiry_time=given["listings_expiry_time"],
            max_paths=given.get("max_paths"),
        )
        self._folders = {}
        share_writes(self)
        self._tables: dict[str, LakeFileSystem] = {}
        self.seam = Seam(self)
        self.views = Views(self, settings.view_freshness)

    # -- identity ----------------------------------------------------------------------------------

    @staticmethod
    def _aws_profile(given: dict[str, Any]) -> dict[str, Any]:
        """``profile`` is a server's; s3fs's users also pass an AWS configuration profile by that name."""
        aws_profile = given.pop("aws_profile", None)
        name = given.get("profile")
        if aws_profile is None and name is not None and name.lower() not in profile_names():
            if name not in botocore.session.get_session().available_profiles:
                get_profile(name)  # raises with the nearest name
            aws_profile = given.pop("profile")
        return {"profile": aws_profile} if aws_profile else {}

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Bucket, key and version of a path; a version is one only where the filesystem is aware of versions."""
        name, mark, version = path.partition("?versionId=")
        bucket, key, _ = super().split_path(name)
        if not mark or not key:
            return bucket, key, None
        return (bucket, key, version or None) if self.version_aware else (bucket, f"{key}{mark}{version}", None)

    def __repr__(self) -> str:
        place = self.endpoint or "AWS"
        return f"<{type(self).__name__} {place}{f' table {self.table_root}' if self.table_root else ''}>"

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """The constructor's arguments as plain values.

        Args:
            include_password: With secrets; the settings of the environment are never in it.
        """
        document: dict[str, Any] = {
            "cls": f"{type(self).__module__}:{type(self).__name__}",
            "protocol": self.protocol[0],
            "args": list(self.storage_args[: None if include_password else len(_OPEN_ARGUMENTS)]),
            **plain_options(self.storage_options, include_secrets=include_password),
        }
        return document

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text: str = stringify_path(path)
        for other in ("s3://", "s3a://"):
            text = text.removeprefix(other)
        return super()._strip_protocol(text)

    def for_table(
        self, root: str, *, encryption: str | None = None, storage_class: str | None = None
    ) -> LakeFileSystem:
        """The filesystem that may write below a table's root, and sees the store as it is.

        Args:
            root: The table's root, with or without protocol.
            encryption: What the table's files get, where that is not this filesystem's own default.
            storage_class: The class of the table's data files, likewise; its log stays in the hot class.

        Returns:
            A blocking filesystem with the same settings, one for each root.
        """
        path = self._strip_protocol(root).strip("/")
        wanted = {
            name: value
            for name, value in (("encryption", encryption), ("storage_class", storage_class))
            if value is not None
        }
        identity = "|".join((path, *wanted.values()))
        if identity not in self._tables:
            options = {n: v for n, v in self.storage_options.items() if n not in {"asynchronous", "loop"}}
            options.update(raw=True, table_root=path, **wanted)
            now: Any = {**options, "settings": self.settings, "skip_instance_cache": True}
            made = type(self)(*self.storage_args, **now)
            # Equal settings of the environment are not pickled along: a worker has its own.
            made.storage_options = options
            self._tables[identity] = made
        return self._tables[identity]

    @property
    def profile(self) -> Profile:
        """The server's profile; asks the server once where nothing else tells."""
        known = known_profile(self.settings.profile, self.endpoint)
        return known if known is not None else self._ask_profile()

    async def _profile(self) -> Profile:
        return await self.seam.profile()

    _ask_profile = _synced(_profile)

    @property
    def client_region(self) -> str | None:
        """The region of the client, once there is one."""
        region: str | None = self._s3.meta.region_name if self._s3 is not None else None
        return region

    # -- the same store for other libraries ----------------------------------------------------------

    def arrow_filesystem(self) -> Any:
        """Arrow's own S3 client, for reading; see :func:`tierlake.connector.interop.arrow_filesystem`."""
        return interop.arrow_filesystem(self)

    def boto3_client(self) -> Any:
        """A boto3 client under the write policy; see :func:`tierlake.connector.interop.boto3_client`."""
        return interop.boto3_client(self)

    def dask_options(self) -> dict[str, Any]:
        """``storage_options`` for Dask's workers; see :func:`tierlake.connector.interop.dask_options`."""
        return interop.dask_options(self)

    def delta_options(self) -> dict[str, str]:
        """Storage options for ``deltalake``: endpoint, credentials, encryption, bounded time.

        Raises:
            BadCredentials: There are no credentials.
        """
        return interop.delta_options(self)

    @property
    def credentials_are_renewed(self) -> bool:
        """Whether :meth:`delta_options` and the like are good for a while only: the credentials in them end."""
        return interop.are_renewed(self)

    def duckdb_secret(self, name: str = "tierlake", *, scope: str | None = None) -> str:
        """A ``CREATE SECRET`` statement; see :func:`tierlake.connector.interop.duckdb_secret`."""
        return interop.duckdb_secret(self, name, scope=scope)

    def obstore(self, bucket: str, *, prefix: str | None = None) -> Any:
        """A bucket for the package obstore; see :func:`tierlake.connector.interop.obstore`."""
        return interop.obstore(self, bucket, prefix=prefix)

    def polars_options(self) -> dict[str, Any]:
        """``storage_options`` for polars; see :func:`tierlake.connector.interop.polars_options`."""
        return interop.polars_options(self)

    def spark_conf(self) -> dict[str, Any]:
        """Spark's configuration of ``s3a://``; see :func:`tierlake.connector.interop.spark_conf`."""
        return interop.spark_conf(self)

    async def set_session(self, refresh: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 -- s3fs's order
        """The client, made when it is first needed; ``refresh`` makes another one, with new credentials."""
        if self.session is None:
            self.session, self._session_is_owned = new_session(**self.kwargs), True
        return await super().set_session(refresh=refresh, **kwargs)

    connect = sync_wrapper(set_session)

    # -- the seam ----------------------------------------------------------------------------------

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        return await self.seam.call(method, *akwarglist, **kwargs)

    call_s3 = sync_wrapper(_call_s3)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file; what is written is visible when it is closed, and not at all where its ``with`` block fails."""
        owned = compression if "b" in mode and "r" not in mode else None
        file = super().open(path, mode, block_size, cache_options, None if owned else compression, **kwargs)
        return compressed(file, path, mode, owned) if owned else file

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> LakeFile:
        return open_file(self, path, mode, kwargs)

    async def _cat_file(self, path: str, version_id: str | None = None, **options: Any) -> bytes:
        return await download.cat_file(self, path, super()._cat_file, version_id=version_id, **options)

    async def _get_file(self, rpath: str, lpath: str, callback: Any = DEFAULT_CALLBACK, **options: Any) -> None:
        await download.get_file(self, rpath, lpath, callback, **options)

    async def _cp_file(
        self,
        path1: str,
        path2: str,
        preserve_etag: bool | None = None,  # noqa: FBT001 -- s3fs's order
        **kwargs: Any,
    ) -> None:
        await copy.copy_file(self, path1, path2, preserve_etag=preserve_etag, **kwargs)

    async def _expand_path(
        self,
        path: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 -- fsspec's order, here and below
        maxdepth: int | None = None,
        assume_literal: bool = False,  # noqa: FBT001, FBT002
    ) -> list[str]:
        """The paths that a path, a pattern or a list of these stands for; see :mod:`connector.objects.expansion`."""
        expand = functools.partial(super()._expand_path, recursive=recursive, maxdepth=maxdepth)
        found: set[str] = set()
        for one in [path] if isinstance(path, str) else path:
            name = self._strip_protocol(one)
            is_literal = assume_literal or await expansion.is_name(self, name)
            with contextlib.suppress(FileNotFoundError):
                found.update(await expand([name], assume_literal=is_literal))
        if not found:
            raise ObjectNotFound(f"There is nothing at {path}")
        return sorted(found)

    async def _copy(
        self,
        path1: expansion.Paths,
        path2: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002
        on_error: str | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        on_error = on_error or ("ignore" if recursive else "raise")
        sources, targets = await expansion.copy_pairs(self, path1, path2, recursive=recursive, maxdepth=maxdepth)
        await super()._copy(sources, targets, recursive=recursive, on_error=on_error, maxdepth=maxdepth, **kwargs)

    async def _get(
        self,
        rpath: expansion.Paths,
        lpath: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        sources, targets = await expansion.download_pairs(self, rpath, lpath, recursive=recursive, maxdepth=maxdepth)
        return await super()._get(sources, targets, recursive, callback, maxdepth=maxdepth, **kwargs)

    async def _put(
        self,
        lpath: expansion.Paths,
        rpath: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002
        callback: Any = DEFAULT_CALLBACK,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        sources, targets = await expansion.upload_pairs(self, lpath, rpath, recursive=recursive, maxdepth=maxdepth)
        return await super()._put(sources, targets, recursive, callback, batch_size, maxdepth, **kwargs)

    async def _mv(
        self,
        path1: expansion.Paths,
        path2: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Move objects, or with ``recursive`` folders; see :func:`tierlake.connector.objects.move.move`."""
        await move.move(self, path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)

    mv = sync_wrapper(_mv)

    async def _mv_file(self, path1: str, path2: str) -> None:
        await move.move(self, [path1], [path2], recursive=False, maxdepth=None)

    async def _bulk_delete(self, pathlist: list[str], **_kwargs: Any) -> list[str]:
        return await delete.delete_paths(self, pathlist)

    async def _rm(self, path: str | list[str], recursive: bool = False, **kwargs: Any) -> list[str]:  # noqa: FBT001, FBT002 -- fsspec's order
        whole_bucket = isinstance(path, str) and "/" not in self._strip_protocol(path)
        if recursive and not whole_bucket:
            return await delete.remove(self, path, maxdepth=kwargs.get("maxdepth"))
        deleted: list[str] = await super()._rm(path, recursive=recursive, **kwargs)
        return deleted

    # -- tables --------------------------------------------------------------------------------------

    def invalidate_view(self, root: str) -> None:
        """A commit was made to the table at ``root``: look again before the next answer, in this process."""
        path = self._strip_protocol(root).strip("/")
        self.views.invalidate(path)
        self.invalidate_cache(path)

    # -- objects -----------------------------------------------------------------------------------

    async def _head_object(self, path: str, version_id: str | None = None) -> dict[str, Any]:
        """HEAD of an object as botocore answers it; see :func:`tierlake.connector.objects.metadata.head`."""
        return await object_metadata.head(self, path, version_id)

    async def _server_time(self, path: str) -> datetime:
        """The server's clock, in UTC; see :func:`tierlake.connector.objects.metadata.server_time`."""
        return await object_metadata.server_time(self, path)

    async def _put_if(
        self,
        path: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """A conditional write, its new ETag; see :func:`tierlake.connector.objects.metadata.put_if`."""
        return await object_metadata.put_if(
            self, path, data, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )

    async def _put_file_if(
        self,
        local: str,
        path: str,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """A conditional write of a local file; see :func:`tierlake.connector.transfer.upload.put_file_if`."""
        return await upload.put_file_if(
            self, local, path, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )

    async def _read_with_etag(self, path: str) -> tuple[bytes, str]:
        """An object's bytes and their ETag, from one GET; see :func:`connector.objects.metadata.read_with_etag`."""
        return await object_metadata.read_with_etag(self, path)

    async def _encryption_faults(self, paths: Iterable[str]) -> dict[str, str]:
        """Objects not encrypted as the write policy says; see :func:`connector.objects.audit.encryption_faults`."""
        return await audit.encryption_faults(self, paths)

    async def _first_keys(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """The first keys that begin with a prefix, from one LIST; see :func:`connector.objects.metadata.first_keys`."""
        return await object_metadata.first_keys(self, prefix, limit=limit)

    async def _object_versions(self, prefix: str) -> list[object_metadata.ObjectVersion]:
        """Versions and delete markers below a prefix; see :func:`connector.objects.metadata.object_versions`."""
        return await object_metadata.object_versions(self, prefix)

    async def _delete_versions(self, path: str, version_ids: Iterable[str]) -> None:
        """Delete versions of a key for good; see :func:`tierlake.connector.objects.delete.delete_versions`."""
        await delete.delete_versions(self, path, version_ids)

    async def _delete_seen(self, objects: Iterable[delete.SeenObject]) -> list[delete.SeenObject]:
        """Delete objects and versions as they were seen; see :func:`tierlake.connector.objects.delete.delete_seen`."""
        return await delete.delete_seen(self, objects)

    async def _hide(self, path: str, *, etag: str, version_id: str | None = None) -> versions.Hidden:
        """Delete an object if it is the one that was seen; see :func:`tierlake.connector.objects.versions.hide`."""
        return await versions.hide(self, path, etag=etag, version_id=version_id)

    async def _unhide(self, path: str, *, version_id: str) -> None:
        """Bring back what delete markers hide; see :func:`tierlake.connector.objects.versions.unhide`."""
        await versions.unhide(self, path, version_id=version_id)

    async def _bring_back(self, path: str, *, version_id: str, etag: str) -> str:
        """Make an older version the newest; see :func:`tierlake.connector.objects.versions.bring_back`."""
        return await versions.bring_back(self, path, version_id=version_id, etag=etag)

    async def _is_versioned(self, bucket: str) -> bool:
        """Whether a bucket keeps versions; see :func:`tierlake.connector.objects.metadata.is_versioned`."""
        return await object_metadata.is_versioned(self, bucket)

    async def _has_versions(self, bucket: str) -> bool:
        """Whether older versions may be in a bucket; see :func:`tierlake.connector.objects.metadata.has_versions`."""
        return await object_metadata.has_versions(self, bucket)

    async def _has_object_lock(self, bucket: str) -> bool:
        """Whether objects of a bucket can be locked; see :func:`connector.objects.object_lock.has_object_lock`."""
        return await object_lock.has_object_lock(self, bucket)

    async def _set_legal_hold(self, versions: Iterable[tuple[str, str]], *, held: bool) -> None:
        """Keep versions from being deleted, or no more; see :func:`connector.objects.object_lock.set_legal_hold`."""
        await object_lock.set_legal_hold(self, versions, held=held)

    async def _transition(
        self, path: str, *, storage_class: str, if_match: str | None = None, exclusive: bool = False
    ) -> TransitionResult:
        """Move an object to another storage class; see :func:`tierlake.connector.objects.transition.transition`."""
        return await transitions.transition(self, path, storage_class, if_match=if_match, exclusive=exclusive)

    async def _reencrypt(self, path: str, *, if_match: str | None = None) -> TransitionResult:
        """Encrypt an object as the write policy says; see :func:`tierlake.connector.objects.transition.reencrypt`."""
        return await transitions.reencrypt(self, path, if_match=if_match)

    async def _tag_tier(
        self,
        path: str,
        tier: str,
        *,
        at_once: bool = False,
        wait_seconds: float = 0.0,
        if_match: str | None = None,
    ) -> TransitionResult:
        """Move an object to a remote tier by its tag; see :func:`tierlake.connector.objects.transition.tag_tier`."""
        return await transitions.tag_tier(
            self, path, tier, at_once=at_once, wait_seconds=wait_seconds, if_match=if_match
        )

    async def _restore(self, path: str, *, days: int = 1, speed: str = "bulk") -> RestoreStatus:
        """Ask for an archived object back; see :func:`tierlake.connector.objects.restore.restore`."""
        return await restore.restore(self, path, days=days, speed=speed)

    async def _restore_status(self, path: str) -> RestoreStatus:
        """Whether an archived object can be read; see :func:`tierlake.connector.objects.restore.restore_status`."""
        return await restore.restore_status(self, path)

    async def _abort_incomplete_uploads(
        self, path: str, *, older_than: str | timedelta, dry_run: bool = False
    ) -> list[IncompleteUpload]:
        """Abort old uploads; see :func:`tierlake.connector.objects.multipart.abort_incomplete_uploads`."""
        return await multipart.abort_incomplete_uploads(self, path, older_than=older_than, dry_run=dry_run)

    async def _abort_uploads(self, uploads: Iterable[IncompleteUpload]) -> None:
        """Abort just these uploads; see :func:`tierlake.connector.objects.multipart.abort_uploads`."""
        await multipart.abort_uploads(self, uploads)

    async def _presign(
        self, /, path: str, *, expires: float | timedelta = 3600, method: str = "GET", **options: Any
    ) -> str:
        """A URL for one request without credentials; see :func:`tierlake.connector.objects.presign.presign`."""
        return await presigning.presign(self, path, expires=expires, method=method, **options)

    async def _presign_post(
        self, path: str, *, expires: float | timedelta = 3600, **conditions: Unpack[PresignConditions]
    ) -> PresignedPost:
        """A form for one upload without credentials; see :func:`tierlake.connector.objects.presign.presign_post`."""
        return await presigning.presign_post(self, path, expires=expires, **conditions)

    head_object = _synced(_head_object)
    server_time = _synced(_server_time)
    put_if = _synced(_put_if)
    put_file_if = _synced(_put_file_if)
    read_with_etag = _synced(_read_with_etag)
    encryption_faults = _synced(_encryption_faults)
    first_keys = _synced(_first_keys)
    object_versions = _synced(_object_versions)
    delete_versions = _synced(_delete_versions)
    delete_seen = _synced(_delete_seen)
    hide = _synced(_hide)
    unhide = _synced(_unhide)
    bring_back = _synced(_bring_back)
    is_versioned = _synced(_is_versioned)
    has_versions = _synced(_has_versions)
    has_object_lock = _synced(_has_object_lock)
    set_legal_hold = _synced(_set_legal_hold)
    transition = _synced(_transition)
    reencrypt = _synced(_reencrypt)
    tag_tier = _synced(_tag_tier)
    restore = _synced(_restore)
    restore_status = _synced(_restore_status)
    abort_incomplete_uploads = _synced(_abort_incomplete_uploads)
    abort_uploads = _synced(_abort_uploads)
    presign = _synced(_presign)
    presign_post = _synced(_presign_post)

    async def _url(self, path: str, expires: float = 3600, client_method: str = "get_object", **kwargs: Any) -> str:
        method = presigning.presigned_method(client_method)
        return await presigning.presign(self, path, expires=expires, method=method, **kwargs)

    url = sync_wrapper(_url)
