"""Fresh listings of the store below a root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["contents", "listed"]

_FEW_FOLDERS = 4  # listing this many is cheaper than listing the table


def listed(fs: LakeFileSystem, root: str, paths: Collection[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """The objects below a root, by `bucket/key`: those in the folders of some files, or all.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
        paths: Files below the root that must be in the answer if they exist; None means all.
    """
    if paths is not None and not paths:
        return {}
    folders = {f"{root}/{path}".rpartition("/")[0] for path in paths or ()}
    infos: dict[str, Mapping[str, Any]] = {}
    for folder in folders if paths is not None and len(folders) <= _FEW_FOLDERS else (root,):
        infos |= fs.list_fresh(folder)
    return infos


def contents(fs: LakeFileSystem, paths: Collection[str]) -> dict[str, bytes]:
    """The bytes of small objects, many at once; those that are gone by now are left out.

    Args:
        fs: The connector.
        paths: `bucket/key`.

    Raises:
        LakeError: One of them could not be read, so that its content is unknown.
    """
    names = list(paths)
    # `cat` would take `*` and `[` in a name for patterns
    answers = fs.cat_ranges(names, None, None, on_error="return") if names else []
    there: dict[str, bytes] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, FileNotFoundError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        there[name] = answer
    return there
