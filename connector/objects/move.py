"""Moves of objects and folders: obstacles are checked first, and nothing is deleted before everything is copied.

fsspec copies until something fails and then deletes all sources, copied or not: it left folders in both places, deleted
objects below `maxdepth` without a copy, and lost an object that was moved onto itself.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fsspec.asyn import trailing_sep
from fsspec.utils import other_paths

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import InvalidSetting, ObjectNotFound
from tierlake.connector.objects.copy import copy_file
from tierlake.connector.objects.delete import delete_keys
from tierlake.connector.objects.expansion import is_name, objects_of
from tierlake.connector.objects.metadata import where_to_look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.client.store import Store
    from tierlake.connector.objects.expansion import Paths

_AT_ONCE = 64


async def move(
    store: Store,
    source: Paths,
    target: Paths,
    *,
    recursive: bool,
    maxdepth: int | None,
    batch_size: int | None = None,
    **options: Any,
) -> None:
    """Move objects: copy them, then delete exactly what was copied.

    Args:
        store: The store.
        source: A path, a pattern, or a list of these.
        target: The destination, or a list with one for each source.
        recursive: Move folders with all that is in them.
        maxdepth: How many levels to descend; None is all. Deeper objects stay.
        batch_size: How many objects are copied at once; None takes the default.
        **options: Options of the copies.

    Raises:
        ObjectNotFound: There is nothing to move.
        InvalidSetting: A folder without `recursive`, or objects would overwrite each other; nothing was copied.
        TableWriteRefused: An object is in a table; nothing was copied.
        DeletionFailed: All is copied, but some sources were not deleted, such as those replaced meanwhile.
    """
    etags, places = await _etags_and_places(store, source, target, recursive, maxdepth)
    pairs = {path: place for path in etags if (place := places[path]) != path}
    if not pairs:
        return
    _check(pairs)
    await store.refuse_writes(pairs)
    await store.refuse_writes(pairs.values(), creating=True)
    profile = await store.profile()

    async def copy(path: str) -> None:
        unchanged: dict[str, Any] = {"CopySourceIfMatch": etags[path]} if profile.copy_source_if_match else {}
        await copy_file(store, path, pairs[path], **unchanged, **options)

    first = dict.fromkeys(_with_others_below(pairs))
    await in_order(copy, first, at_once=1)
    rest = [path for path in pairs if path not in first]
    await in_order(copy, rest, at_once=batch_size if batch_size and batch_size > 0 else _AT_ONCE)
    doomed: dict[str, list[dict[str, str]]] = {}
    for path in pairs:
        bucket, key, _ = store.split_path(path)
        doomed.setdefault(bucket, []).append({"Key": key, **({"ETag": etags[path]} if profile.delete_if_match else {})})
    for bucket, objects in doomed.items():
        await delete_keys(store, bucket, objects)
    for path in pairs:
        store.invalidate(path)


def _with_others_below(pairs: Mapping[str, str]) -> list[str]:
    """Paths whose copies get others below them, outermost first: SeaweedFS loses some that are made at once."""
    folders: set[str] = set()
    for place in pairs.values():
        folder = place.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted((path for path, place in pairs.items() if place in folders), key=pairs.__getitem__)


def _check(pairs: Mapping[str, str]) -> None:
    """Refuse a move that would leave fewer objects."""
    (most, times), *_ = Counter(pairs.values()).most_common(1)
    if times > 1:
        raise InvalidSetting(f"{times} objects would be moved to {most}, and one is left", hint="Move them one by one")
    both = pairs.keys() & set(pairs.values())
    if both:
        raise InvalidSetting(
            f"{min(both)} would be moved, and be replaced by another that is moved",
            hint="Move them one after the other",
        )


async def _etags_and_places(
    store: Store,
    source: Paths,
    target: Paths,
    recursive: bool,  # noqa: FBT001 -- as of `move`
    maxdepth: int | None,
) -> tuple[dict[str, str], dict[str, str]]:
    """The ETag of every object to move, and its destination, by path."""
    sources = [source] if isinstance(source, str) else list(source)
    if isinstance(target, list):
        starts = names = [store.namespace.strip(path) for path in sources]
        places = [store.namespace.strip(path) for path in target]
    else:
        starts = await store.namespace.expand(sources)
        names = await store.namespace.expand(sources, recursive=recursive, maxdepth=maxdepth) if recursive else starts
        places = await _laid_out(store, source, names, target)
    etags: dict[str, str] = {}
    for name in starts:
        objects = await objects_of(store, name, recursive=recursive, maxdepth=maxdepth)
        if not objects and (recursive or not await store.namespace.isdir(name)):
            raise ObjectNotFound(f"There is nothing to move at {name}", hint=where_to_look(name))
        if not objects and (len(starts) == 1 or isinstance(target, list)):
            raise InvalidSetting(f"{name} is a folder", hint="recursive=True moves it with all that is in it")
        etags |= objects
    to = dict(zip(names, places, strict=True))
    # A listing has the folder "d", and an object "d/" may stand for it.
    return etags, {one: to[one] if one in to else f"{to[one.rstrip('/')]}/" for one in etags}


async def _laid_out(store: Store, source: Paths, names: list[str], target: str) -> list[str]:
    """The destinations that a copy would choose."""
    place = store.namespace.strip(target)
    if not isinstance(source, str):
        return list(other_paths(names, place, flatten=True))
    if await is_name(store, store.namespace.strip(source)):
        into = (trailing_sep(target) or await store.namespace.isdir(target)) and not trailing_sep(source)
    else:
        into = len(names) == 1
    return list(other_paths(names, place, exists=into))
