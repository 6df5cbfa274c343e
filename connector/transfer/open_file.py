"""Opening a file: s3fs's options, and which file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.transfer.part_sizes import PART_BYTES
from tierlake.connector.transfer.reading_file import ReadingFile, ReadOptions
from tierlake.connector.transfer.writing_file import WritingFile

if TYPE_CHECKING:
    from s3fs import S3FileSystem

    from tierlake.connector.client.store import Store
    from tierlake.connector.transfer.contents import Contents

_FILE_OPTIONS = ("autocommit", "cache_options", "size")
_S3FS_BLOCK_BYTES = 50 * 2**20


def open_file(
    fs: S3FileSystem, store: Store, path: str, mode: str, options: dict[str, Any], contents: Contents
) -> ReadingFile | WritingFile:
    """Open a file as s3fs does.

    Args:
        fs: The filesystem, which s3fs's files call.
        store: Its store.
        path: The object.
        mode: `rb`, `wb`, `ab` or `xb`.
        options: s3fs's options of `open`. Other options are passed to the requests.
        contents: What is known of objects before they are opened.

    Raises:
        ValueError: A version is requested, but the filesystem is not aware of versions.
    """
    rest = dict(options)
    version_id = rest.pop("version_id", None)
    if version_id and not fs.version_aware:
        raise ValueError("version_id cannot be specified if the filesystem is not version aware")
    extra = fs.s3_additional_kwargs
    spelt_otherwise = rest.pop("blocksize", None)  # the files' own name for it
    payer, fill = rest.pop("requester_pays", None), rest.pop("fill_cache", None)
    block_size = rest.pop("block_size", None) or spelt_otherwise
    acl = rest.pop("acl", False) or extra.get("ACL", False) or extra.get("acl", False)
    arguments = {
        "block_size": block_size or _default_block_size(fs, mode),
        "version_id": version_id,
        "fill_cache": fs.default_fill_cache if fill is None else fill,
        "cache_type": rest.pop("cache_type", None) or fs.default_cache_type,
        "requester_pays": fs.requester_pays if payer is None else payer,
        **{name: rest.pop(name) for name in _FILE_OPTIONS if name in rest},
    }
    if mode == "rb":
        if block_size or _is_chosen(fs):
            arguments["first_bytes"] = arguments["block_size"]
        return ReadingFile(fs, store, path, ReadOptions(**arguments, parameters={**extra, **rest}), contents)
    return WritingFile(fs, path, mode, store=store, acl=acl, s3_additional_kwargs={**extra, **rest}, **arguments)


def _default_block_size(fs: S3FileSystem, mode: str) -> int:
    """What the user chose for all files; otherwise parts of the usual size, and s3fs's read-ahead."""
    chosen: int = fs.default_block_size
    return chosen if mode == "rb" or _is_chosen(fs) or fs.fixed_upload_size else PART_BYTES


def _is_chosen(fs: S3FileSystem) -> bool:
    """Whether the block size is not s3fs's own: users set it as an argument, or as an attribute of the class."""
    return bool(fs.default_block_size != _S3FS_BLOCK_BYTES)
