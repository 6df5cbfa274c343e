"""`lake://`: an S3 store as an fsspec filesystem, a facade over this package's modules.

>>> fs = LakeFileSystem(encryption="sse-s3", storage_class="STANDARD")      # doctest: +SKIP
>>> pd.read_parquet("lake://warehouse/flights")                             # doctest: +SKIP

s3fs's own parts that are named in this module: `S3FileSystem._call_s3`, through which it makes its requests,
`kwargs` (the session's arguments), `req_kw`, `SSEParams`, and the methods of fsspec's that it overrides.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fsspec.asyn import sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import stringify_path
from s3fs import S3FileSystem
from s3fs.utils import SSEParams

from tierlake.connector.client.arguments import SETTINGS_OPTIONS, LakeOptions, take_aws_profile, take_settings
from tierlake.connector.client.concurrency import blocking
from tierlake.connector.client.connection import Connection, ConnectionAttribute, is_shared
from tierlake.connector.client.listing_cache import ListingCache
from tierlake.connector.client.plain_values import plain_options
from tierlake.connector.client.recent import Recent
from tierlake.connector.client.store import Namespace, Store
from tierlake.connector.client.transport import whole_responses
from tierlake.connector.client.weak_cache import WeakCache
from tierlake.connector.errors import ObjectNotFound
from tierlake.connector.interop.verbs import InteropVerbs
from tierlake.connector.listing import tables
from tierlake.connector.listing.directories import FOLDERS_MAX, TableListings
from tierlake.connector.listing.tables import Views
from tierlake.connector.objects import buckets, copy, delete, expansion, move
from tierlake.connector.objects import presign as presigning
from tierlake.connector.objects.bulk import BulkVerbs
from tierlake.connector.objects.metadata import where_to_look
from tierlake.connector.objects.observed import observed_verbs
from tierlake.connector.objects.page_streams import PageStreams
from tierlake.connector.objects.verbs import ObjectVerbs, synced
from tierlake.connector.observe.configuration import configure
from tierlake.connector.profiles import profile_names
from tierlake.connector.redact import guard_logs
from tierlake.connector.settings import environment_token
from tierlake.connector.transfer import conditional_upload, download, in_memory, local_file
from tierlake.connector.transfer.ahead import Ahead
from tierlake.connector.transfer.compressed_file import compressed
from tierlake.connector.transfer.contents import Contents
from tierlake.connector.transfer.open_file import open_file
from tierlake.connector.transfer.parquet_cache import AutomaticCache
from tierlake.connector.transfer.sender import ObjectSender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.policy.rules import WritePolicy
    from tierlake.connector.profiles import Profile
    from tierlake.connector.settings import LakeSettings
    from tierlake.connector.transfer.reading_file import ReadingFile
    from tierlake.connector.transfer.writing_file import WritingFile

_OPEN_ARGUMENTS = ("anon", "endpoint_url", "key")
_RECENT_TABLES = 64


def _remade(
    kind: type[LakeFileSystem],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    table: tuple[str, str | None, str | None],
) -> LakeFileSystem:
    """Make a table's filesystem from a pickle."""
    root, encryption, storage_class = table
    return kind(*arguments, **options).for_table(root, encryption=encryption, storage_class=storage_class)


class _EnvironmentToken:
    """A class attribute for fsspec's instance cache: another environment gives another instance."""

    def __get__(self, instance: object, owner: type) -> str:
        return environment_token(os.environ)


@observed_verbs
class LakeFileSystem(BulkVerbs, ObjectVerbs, PageStreams, InteropVerbs, TableListings):
    """S3, MinIO or any S3 server, with a write policy for every path and tables that show committed files only.

    Args:
        anon: Use no credentials.
        endpoint_url: The endpoint; None is AWS.
        key: Access key id; None leaves credentials to the AWS chain.
        secret: Secret access key.
        token: Session token.
        **options: `LakeOptions`, and every further argument of `s3fs.S3FileSystem`. Missing
            ones are taken from `settings` or, without it, from the environment (`TIERLAKE_*`).
            `table_root`: the only table below whose root this instance may write. `raw`: never answer
            from a table, always from the store. `aws_profile`: a profile of the AWS configuration files.

    Attributes:
        store: The store, which mechanisms take instead of the filesystem.
        views: The tables that this filesystem knows.
        contents: What is known of objects before they are opened.
        ahead: What is fetched ahead of a scan.
        raw: Never answer from a table.
        table_of: For a table's filesystem, the arguments of its parent, and those of the table.

    Raises:
        InvalidSetting: An argument's value is invalid.
        InsecureEndpoint: Plain HTTP to a host that is not loopback.
        UnknownOption: There is no such argument.
    """

    protocol = ("lake", "s3", "s3a")  # the first is its own name; the others replace s3fs's
    _extra_tokenize_attributes = ("default_block_size", "environment")
    environment = _EnvironmentToken()
    table_of: tuple[tuple[Any, ...], dict[str, Any], tuple[str, str | None, str | None]] | None = None
    _s3 = ConnectionAttribute()
    _s3creator = ConnectionAttribute()
    session = ConnectionAttribute()
    cache_regions = ConnectionAttribute()

    def __init__(
        self,
        anon: bool = False,  # noqa: FBT001, FBT002 -- s3fs's order
        endpoint_url: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        **options: Unpack[LakeOptions],
    ) -> None:
        guard_logs()
        profile_names()  # reads the entry points of all distributions once, and not in the thread of the requests
        rest: dict[str, Any] = dict(options)
        self.raw: bool = bool(rest.pop("raw", False))
        root = rest.pop("table_root", None)
        aws_profile = take_aws_profile(rest)
        settings = take_settings(rest, anon=anon, endpoint_url=endpoint_url, key=key, secret=secret, token=token)
        configure(settings.observing)
        rendered = settings.s3fs_kwargs()
        rest["config_kwargs"] = {**rendered.pop("config_kwargs"), **(rest.get("config_kwargs") or {})}
        rest.setdefault("listings_expiry_time", settings.view_freshness)
        rest.setdefault("default_cache_type", AutomaticCache.name)
        if aws_profile is not None:
            rest["profile"] = aws_profile
        super().__init__(anon=anon, **rendered, **rest)
        self.dircache = ListingCache(
            use_listings_cache=rest.get("use_listings_cache", True),
            listings_expiry_time=rest["listings_expiry_time"],
            max_paths=rest.get("max_paths"),
        )
        self._folders = Recent(FOLDERS_MAX)
        self.store = Store(
            settings,
            Connection.of({"anon": anon, **rendered, **rest, "loop": self.loop}),
            Namespace(
                strip=self._strip_protocol,
                split=self.split_path,
                info=self._info,
                isdir=self._isdir,
                expand=self._expand_path,
                stored_below=self._stored_below,
            ),
            self.dircache,
            loop=self.loop,
            options=self.s3_additional_kwargs,
            payer=self.req_kw,
            table_root=self._strip_protocol(root).strip("/") if root else None,
            anon=anon,
            aws_profile=aws_profile,
        )
        self.ahead = Ahead(self.store)
        self.contents = Contents(self._kept_tail)
        self.contents.add(self.ahead)
        self.dircache.forgotten = self.ahead.forget
        self.views = Views(self.store, self.for_table, raw=self.raw)
        self.store.gateway.guard = self.views
        self._tables = WeakCache(self._table_filesystem, _RECENT_TABLES)

    @property
    def settings(self) -> LakeSettings:
        """The settings: endpoint, credentials and write policy."""
        return self.store.settings

    @property
    def policy(self) -> WritePolicy:
        """The write policy."""
        return self.store.policy

    @property
    def endpoint(self) -> str | None:
        """The endpoint; None is AWS."""
        return self.store.endpoint

    @property
    def table_root(self) -> str | None:
        """The only table below whose root this instance may write."""
        return self.store.table_root

    @property
    def profile(self) -> Profile:
        """The server's profile; makes one request if nothing else tells it."""
        return self.store.profile_sync()

    # -- identity ----------------------------------------------------------------------------------

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Bucket, key and version of a path; a version is recognised only if the filesystem is aware of versions."""
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
            include_password: Include secrets; settings of the environment are never included.
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
        """A filesystem that may write below a table's root, and lists the store as it is.

        Args:
            root: The table's root, with or without protocol.
            encryption: The encryption of the table's files; by default this filesystem's own.
            storage_class: The class of the table's data files, likewise; its log stays in the hot class.

        Returns:
            A blocking filesystem with the same settings and the same connections, one for each root.
        """
        return self._tables.get((self._strip_protocol(root).strip("/"), encryption, storage_class))

    def _table_filesystem(self, table: tuple[str, str | None, str | None]) -> LakeFileSystem:
        root, encryption, storage_class = table
        policy = {"encryption": encryption, "storage_class": storage_class}
        options = {n: v for n, v in self.storage_options.items() if n not in {"asynchronous", "loop"}}
        own: Any = {"raw": True, "table_root": root, **{n: v for n, v in policy.items() if v is not None}}
        inherited: Any = {n: v for n, v in options.items() if n not in SETTINGS_OPTIONS}
        whole = {"anon": self.anon, "settings": self.settings, "aws_profile": self.store.aws_profile}
        made = type(self)(**{**inherited, **whole, **own, "skip_instance_cache": True})
        # Settings from the environment are not pickled: a worker has its own environment.
        made.storage_args, made.storage_options = self.storage_args, {**options, **own}
        made.table_of = (self.storage_args, options, table)
        return made

    def __reduce__(self) -> Any:
        """Pickle a table's filesystem as its parent and the table, so that both share connections on a worker too."""
        return super().__reduce__() if self.table_of is None else (_remade, (type(self), *self.table_of))

    async def _profile(self) -> Profile:
        return await self.store.profile()

    # -- requests ------------------------------------------------------------------------------------

    @staticmethod
    def close_session(loop: Any, s3: Any) -> None:
        """Close a client that no other filesystem uses; a shared one is closed with the last filesystem that has it."""
        if not is_shared(s3):
            S3FileSystem.close_session(loop, s3)

    async def set_session(self, refresh: bool = False, **_kwargs: Any) -> Any:  # noqa: FBT001, FBT002 -- s3fs's order
        """The client, made on first use; `refresh` makes a new one, with new credentials."""
        return await self.store.connection.client(refresh=refresh)

    _connect = set_session  # s3fs's older name
    connect = sync_wrapper(set_session)

    async def get_s3(self, bucket: str | None = None) -> Any:
        """The client for a bucket."""
        return await self.store.client(bucket)

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        # s3fs adds its session's arguments to a HEAD
        defaults = (some for some in akwarglist if some is not self.kwargs)
        plain = (some.to_kwargs() if isinstance(some, SSEParams) else some for some in defaults)
        return await self.store.call(method, *plain, **kwargs)

    async def _call_s3_whole(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        with whole_responses() if method == "get_object" else contextlib.nullcontext():
            return await self._call_s3(method, *akwarglist, **kwargs)

    call_s3 = sync_wrapper(_call_s3_whole)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file; a written object is visible after `close`, and never if its `with` block fails."""
        owned = compression if "b" in mode and "r" not in mode else None
        file = super().open(path, mode, block_size, cache_options, None if owned else compression, **kwargs)
        return compressed(file, path, mode, owned) if owned else file

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> ReadingFile | WritingFile:
        if mode == "rb" and tables.is_sidecar(path):
            self.info(path)  # raises for one inside a table
        return open_file(self, self.store, path, mode, kwargs, self.contents)

    def _kept_tail(self, path: str) -> tuple[bytes, int] | None:
        return blocking(self.loop, self.views.tail(path))

    async def _cat_file(self, path: str, version_id: str | None = None, **options: Any) -> bytes:
        return await download.cat_file(self.store, path, self._ranges, version_id=version_id, **options)

    async def _get_file(self, rpath: str, lpath: str, callback: Any = DEFAULT_CALLBACK, **options: Any) -> None:
        await download.get_file(self.store, rpath, lpath, callback, self._ranges, **options)

    @property
    def _ranges(self) -> download.Ranges:
        return download.Ranges(self.default_block_size, self.max_concurrency)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **options: Any,
    ) -> None:
        bucket, key, _ = self.split_path(rpath)
        await local_file.put_file(
            self._call_s3,
            Path(lpath),
            {"Bucket": bucket, "Key": key},
            callback,
            chunksize=chunksize,
            max_concurrency=max_concurrency or self.max_concurrency,
            absent=await self._profile() if mode == "create" else None,
            **options,
        )

    async def _pipe_file(
        self,
        path: str,
        data: Any,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
        mode: str = "overwrite",
        **options: Any,
    ) -> dict[str, Any]:
        bucket, key, _ = self.split_path(path)
        return await in_memory.put_bytes(
            self._call_s3,
            data,
            {"Bucket": bucket, "Key": key},
            chunksize=chunksize,
            max_concurrency=max_concurrency or self.max_concurrency,
            absent=await self._profile() if mode == "create" else None,
            **options,
        )

    async def _cp_file(
        self,
        path1: str,
        path2: str,
        preserve_etag: bool | None = None,  # noqa: FBT001 -- s3fs's order
        **kwargs: Any,
    ) -> None:
        await copy.copy_file(self.store, path1, path2, preserve_etag=preserve_etag, **kwargs)

    async def _expand_path(
        self,
        path: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 -- fsspec's order, here and below
        maxdepth: int | None = None,
        assume_literal: bool = False,  # noqa: FBT001, FBT002
    ) -> list[str]:
        """The paths that a path, a pattern or a list of these stands for; see `connector.objects.expansion`."""
        expand = functools.partial(super()._expand_path, recursive=recursive, maxdepth=maxdepth)
        paths: set[str] = set()
        for one in [path] if isinstance(path, str) else path:
            name = self._strip_protocol(one)
            is_literal = assume_literal or await expansion.is_name(self.store, name)
            with contextlib.suppress(FileNotFoundError):
                paths.update(await expand([name], assume_literal=is_literal))
        if not paths:
            is_one = isinstance(path, str)
            hint = where_to_look(self._strip_protocol(path)) if is_one else "fs.exists(path) tells which are there"
            raise ObjectNotFound(f"There is nothing at {path}", hint=hint)
        return sorted(paths)

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
        sources, targets = await expansion.copy_pairs(self.store, path1, path2, recursive=recursive, maxdepth=maxdepth)
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
        sources, targets = await expansion.download_pairs(
            self.store, rpath, lpath, recursive=recursive, maxdepth=maxdepth
        )
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
        sources, targets = await expansion.upload_pairs(
            self.store, lpath, rpath, recursive=recursive, maxdepth=maxdepth
        )
        return await super()._put(sources, targets, recursive, callback, batch_size, maxdepth, **kwargs)

    async def _mv(
        self,
        path1: expansion.Paths,
        path2: expansion.Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Move objects, or folders with `recursive`; see `tierlake.connector.objects.move.move`."""
        await move.move(
            self.store,
            path1,
            path2,
            recursive=recursive,
            maxdepth=maxdepth,
            batch_size=self.batch_size,
            **kwargs,
        )

    mv = sync_wrapper(_mv)

    async def _mv_file(self, path1: str, path2: str) -> None:
        await move.move(self.store, [path1], [path2], recursive=False, maxdepth=None)

    async def _bulk_delete(self, pathlist: list[str], **_kwargs: Any) -> list[str]:
        return await delete.delete_paths(self.store, pathlist)

    async def _rm(self, path: str | list[str], recursive: bool = False, **kwargs: Any) -> list[str]:  # noqa: FBT001, FBT002 -- fsspec's order
        whole_bucket = isinstance(path, str) and "/" not in self._strip_protocol(path)
        if recursive and not whole_bucket:
            return await delete.remove(self.store, path, maxdepth=kwargs.get("maxdepth"))
        deleted: list[str] = await super()._rm(path, recursive=recursive, **kwargs)
        return deleted

    # -- buckets ---------------------------------------------------------------------------------------

    async def _mkdir(
        self,
        path: str,
        acl: bool | str = False,  # noqa: FBT001, FBT002 -- s3fs's order, here and below
        create_parents: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> None:
        """Make a bucket; below one there are no folders to make."""
        bucket, key, _ = self.split_path(self._strip_protocol(path).rstrip("/"))
        if not bucket:
            raise buckets.unnamed(path)
        if not key:
            await buckets.check_absent(self.store, bucket)
        await super()._mkdir(path, acl, create_parents, **kwargs)

    mkdir = sync_wrapper(_mkdir)

    async def _rmdir(self, path: str) -> None:
        """Remove an empty bucket; see `tierlake.connector.objects.buckets.check_empty`."""
        await buckets.check_empty(self.store, path)
        await super()._rmdir(self._strip_protocol(path))

    rmdir = sync_wrapper(_rmdir)

    # -- tables --------------------------------------------------------------------------------------

    def invalidate_view(self, root: str) -> None:
        """Take note of a commit to the table at `root`: this process looks again before its next answer."""
        path = self._strip_protocol(root).strip("/")
        self.views.invalidate(path)
        self.invalidate_cache(path)

    async def _put_file_if(
        self,
        local: str,
        path: str,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """A conditional write of a local file; see `tierlake.connector.transfer.conditional_upload.put_file_if`."""
        return await conditional_upload.put_file_if(
            self.store, local, path, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )

    put_file_if = synced(_put_file_if)

    def sender(self, *, at_once: int, max_bytes: int) -> ObjectSender:
        """Send small objects in the background; see `tierlake.connector.transfer.sender.ObjectSender`."""
        return ObjectSender(self.store, self.loop, at_once=at_once, max_bytes=max_bytes)

    # -- signed URLs, as fsspec calls them ------------------------------------------------------------

    async def _url(self, path: str, expires: float = 3600, client_method: str = "get_object", **kwargs: Any) -> str:
        method = presigning.presigned_method(client_method)
        return await presigning.presign(self.store, path, expires=expires, method=method, **kwargs)

    url = sync_wrapper(_url)
