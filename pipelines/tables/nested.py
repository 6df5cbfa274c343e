"""Tables inside tables: which table the files below a root belong to.

A folder with a Delta log or a description of its own is another dataset, whoever made it. The outer table neither reads
nor deletes the files below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["DESCRIPTION", "LOG", "enclosing_root", "first_objects", "is_nested", "nested_roots", "outside_nested"]

LOG: Final = "_delta_log/"
DESCRIPTION: Final = "_lake/dataset.json"
_OWN: Final = (LOG, "_lake/")
_PAGE: Final = 1000
"""The most keys in one answer."""

T = TypeVar("T")


def nested_roots(paths: Iterable[str]) -> frozenset[str]:
    """The folders that are tables of their own, only the outermost ones.

    Args:
        paths: The paths of objects, below the root.
    """
    roots: set[str] = set()
    for path in paths:
        if path.startswith(_OWN):
            continue
        folder, is_log, _ = path.partition(f"/{LOG}")
        if is_log:
            roots.add(folder)
        elif path.endswith(f"/{DESCRIPTION}"):
            roots.add(path.removesuffix(f"/{DESCRIPTION}"))
    return frozenset(root for root in roots if not is_nested(root, roots))


def is_nested(path: str, roots: Collection[str]) -> bool:
    """Whether a path lies below one of these folders."""
    if not roots:
        return False
    folder = path.rpartition("/")[0]
    while folder:
        if folder in roots:
            return True
        folder = folder.rpartition("/")[0]
    return False


def outside_nested(objects: Mapping[str, T], keep: Collection[str] = ()) -> dict[str, T]:
    """The objects of a listing that lie in no nested table.

    Args:
        objects: All objects of a listing by path below the root: a nested table is recognised by its log.
        keep: Paths that stay wherever they lie, since the outer table names them.
    """
    roots = nested_roots(objects)
    return {path: one for path, one in objects.items() if not is_nested(path, roots) or path in keep}


def first_objects(fs: LakeFileSystem, root: str) -> list[str]:
    """The first objects below a root, `bucket/key`, without folder markers; none where it is empty.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
    """
    keys = fs.first_keys(f"{root}/", limit=_PAGE)
    objects = [path for path in keys if not path.endswith("/")]
    return objects or (keys if len(keys) == _PAGE else [])  # after a full page of folder markers there may be objects


def enclosing_root(fs: LakeFileSystem, root: str) -> str | None:
    """The nearest table around a prefix, `bucket/prefix`; None where there is none, or none that may be seen.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
    """
    parts = root.split("/")
    above = ["/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]
    marks = [(folder, mark) for folder in above for mark in (LOG, DESCRIPTION)]
    answers = fs.first_keys_many([f"{folder}/{mark}" for folder, mark in marks], limit=1)
    places = zip(marks, answers, strict=True)
    return next((folder for (folder, mark), first in places if _is_there(f"{folder}/{mark}", first)), None)


def _is_there(mark: str, first: list[str] | Failure) -> bool:
    if isinstance(first, PermissionError):  # a user who may list only below the prefix cannot know
        return False
    if isinstance(first, Exception):
        raise first
    return bool(first) and (mark.endswith(LOG) or first[0] == mark)
