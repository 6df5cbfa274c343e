"""The objects that a path means: the one of that name if it exists, or else all that match it as a pattern.

Keys may hold `*`, `?` and `[`, but fsspec takes each path with one of them for a pattern: `rm("a[1].txt")` would
delete `a1.txt`. Only `glob` takes its argument for a pattern in any case.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from fsspec.asyn import has_magic, trailing_sep
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.utils import check_contained, other_paths

from tierlake.connector.errors import ObjectNotFound

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store

Paths: TypeAlias = Any
"""An argument of fsspec's verbs: a path, a pattern, or a list of these."""


async def is_name(store: Store, path: str) -> bool:
    """Whether a path is a name: it has no pattern, or an object or a folder of that name exists in the store.

    Args:
        store: The store.
        path: `bucket/key` without protocol.
    """
    if not has_magic(path):
        return True
    try:
        await store.namespace.info(path, refresh=True)
    except FileNotFoundError:
        return False
    return True


async def copy_pairs(
    store: Store, source: Paths, target: Paths, *, recursive: bool, maxdepth: int | None
) -> tuple[Paths, Paths]:
    """Source and destination of a copy, object by object if the source's name looks like a pattern.

    Args:
        store: The store.
        source: The source.
        target: The destination.
        recursive: Include everything below it.
        maxdepth: How many levels to descend; None is all.

    Returns:
        Two lists, or the arguments as they are if fsspec expands them correctly.
    """
    if not await _is_name_like_a_pattern(store, source):
        return source, target
    sources = await _expanded(store, source, recursive=recursive, maxdepth=maxdepth)
    into = (trailing_sep(target) or await store.namespace.isdir(target)) and not trailing_sep(source)
    return sources, other_paths(sources, store.namespace.strip(target), exists=into)


async def download_pairs(
    store: Store, source: Paths, target: Paths, *, recursive: bool, maxdepth: int | None
) -> tuple[Paths, Paths]:
    """Like `copy_pairs`, to local files.

    Raises:
        ValueError: A key leads out of the destination.
    """
    if not await _is_name_like_a_pattern(store, source):
        return source, target
    sources = await _expanded(store, source, recursive=recursive, maxdepth=maxdepth)
    folder = make_path_posix(target)
    into = (trailing_sep(folder) or LocalFileSystem().isdir(folder)) and not trailing_sep(source)
    targets = other_paths(sources, folder, exists=into)
    check_contained(folder, targets)
    return sources, targets


async def upload_pairs(
    store: Store, source: Paths, target: Paths, *, recursive: bool, maxdepth: int | None
) -> tuple[Paths, Paths]:
    """Like `copy_pairs`, from local files, whose names may look like patterns too."""
    local = LocalFileSystem()
    is_one = isinstance(source, str | os.PathLike)
    paths = [local._strip_protocol(path) for path in ([source] if is_one else source)]  # noqa: SLF001
    names = [path for path in paths if has_magic(path) and local.lexists(path)]
    if not names or isinstance(target, list):
        return source, target
    matches = set(local.expand_path(names, recursive=recursive, maxdepth=maxdepth, assume_literal=True))
    others = [path for path in paths if path not in names]
    matches.update(local.expand_path(others, recursive=recursive, maxdepth=maxdepth) if others else ())
    sources = sorted(matches)
    if is_one and not (recursive and maxdepth is None):
        sources = [path for path in sources if not local.isdir(path)]
    into = (
        is_one and not trailing_sep(os.fspath(source)) and (trailing_sep(target) or await store.namespace.isdir(target))
    )
    return sources, other_paths(sources, store.namespace.strip(target), exists=into, flatten=not is_one)


async def objects_of(store: Store, name: str, *, recursive: bool, maxdepth: int | None = None) -> dict[str, str]:
    """The ETags of the object of a name and of those below it, by path, from the store.

    Args:
        store: The store.
        name: `bucket/key` or a bucket.
        recursive: Include everything below it, with objects that stand for folders.
        maxdepth: How many levels to descend; None is all.
    """
    bucket, key, _ = store.split_path(name)
    etags: dict[str, str] = {}
    if key:
        with suppress(ObjectNotFound):
            etags[name] = (await store.send("head_object", Bucket=bucket, Key=key))["ETag"]
    if recursive:
        depth = len(name.rstrip("/")) + 1
        below = {entry["name"]: entry["ETag"] for entry in await store.namespace.stored_below(name)}
        etags |= {
            one: e for one, e in below.items() if maxdepth is None or one.rstrip("/").count("/", depth) < maxdepth
        }
    return etags


async def _is_name_like_a_pattern(store: Store, path: Paths) -> bool:
    if not isinstance(path, str) or not has_magic(path):
        return False
    return await is_name(store, store.namespace.strip(path))


async def _expanded(store: Store, name: str, *, recursive: bool, maxdepth: int | None) -> list[str]:
    """A name and all paths below it; without the folders if not all of their contents are copied."""
    expanded: list[str] = await store.namespace.expand([name], recursive=recursive, maxdepth=maxdepth)
    if recursive and maxdepth is None:
        return expanded
    return [path for path in expanded if not (trailing_sep(path) or await store.namespace.isdir(path))]
