"""A bucket with what a lake needs: versioning and a default encryption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

from connector import objects
from connector.encryption import Encryption, SseC, SseKms, Unencrypted, parse_encryption
from connector.errors import AlreadyExists, InvalidSetting, ObjectNotFound, UnsupportedByServer
from connector.names import check_new_bucket

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem


@dataclass(frozen=True)
class BucketChange:
    """What was done to a bucket.

    Args:
        bucket: The bucket's name.
        created: It did not exist before.
        changed: What was set: ``versioning``, ``default encryption``.
        lacking: What this server cannot do, one sentence each.
    """

    bucket: str
    created: bool = False
    changed: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was done."""
        return self.created or bool(self.changed)


def ensure_bucket(
    fs: LakeFileSystem,
    name: str,
    *,
    versioning: bool | None = None,
    encryption: str | Encryption | None = "sse-s3",
) -> BucketChange:
    """Create a bucket if it is missing, and set what differs.

    Args:
        fs: The filesystem.
        name: The bucket's name.
        versioning: Keep versions, or suspend that; None leaves it.
        encryption: Default encryption for whoever writes without saying one; None leaves it.

    Returns:
        What was done. What the server lacks is named in ``lacking``.

    Raises:
        InvalidName: It is no bucket name.
        AlreadyExists: Somebody else owns a bucket of that name.
        InvalidSetting: The encryption cannot be a bucket's default.
    """
    change: BucketChange = sync(fs.loop, _ensure_bucket, fs, name, versioning=versioning, encryption=encryption)
    return change


async def _ensure_bucket(
    fs: LakeFileSystem, name: str, *, versioning: bool | None, encryption: str | Encryption | None
) -> BucketChange:
    check_new_bucket(name)
    default = None if encryption is None else _default_rule(parse_encryption(encryption))
    created = await _create(fs, name)
    changed, lacking = [], []
    for what, do in (
        ("versioning", _versioning(fs, name, wanted=versioning)),
        ("default encryption", _default_encryption(fs, name, default)),
    ):
        try:
            if await do:
                changed.append(what)
        except UnsupportedByServer as error:
            lacking.append(str(error))
    return BucketChange(name, created, tuple(changed), tuple(lacking))


async def _create(fs: LakeFileSystem, name: str) -> bool:
    if await objects.bucket_exists(fs, name):
        return False
    try:
        await fs.seam.call("create_bucket", Bucket=name)
    except AlreadyExists as error:
        if error.server_code == "BucketAlreadyOwnedByYou":
            return False
        raise
    finally:
        fs.invalidate_cache("")
    return True


async def _versioning(fs: LakeFileSystem, name: str, *, wanted: bool | None) -> bool:
    if wanted is None:
        return False
    status = (await fs.seam.send("get_bucket_versioning", Bucket=name)).get("Status")
    if (status == "Enabled") == wanted:
        return False
    target = {"Status": "Enabled" if wanted else "Suspended"}
    await fs.seam.send("put_bucket_versioning", Bucket=name, VersioningConfiguration=target)
    return True


def _default_rule(encryption: Encryption) -> dict[str, Any] | None:
    if isinstance(encryption, SseC):
        raise InvalidSetting("A bucket's default cannot be a key that only the caller has (SSE-C)")
    if isinstance(encryption, Unencrypted):
        return None
    default = {"SSEAlgorithm": encryption.headers()["ServerSideEncryption"]}
    rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": default}
    if isinstance(encryption, SseKms):
        if encryption.key_id:
            default["KMSMasterKeyID"] = encryption.key_id
        if encryption.bucket_key and not encryption.dsse:
            rule["BucketKeyEnabled"] = True
    return rule


async def _default_encryption(fs: LakeFileSystem, name: str, wanted: dict[str, Any] | None) -> bool:
    if wanted is None:
        return False
    profile = await fs.seam.profile()
    if not profile.default_encryption:
        raise UnsupportedByServer(profile.name, "a bucket's default encryption", "the write policy", bucket=name)
    if not profile.kms_bucket_key:
        wanted = {field: value for field, value in wanted.items() if field != "BucketKeyEnabled"}
    if await _current_default(fs, name) == {"BucketKeyEnabled": False, **wanted}:
        return False
    await fs.seam.send("put_bucket_encryption", Bucket=name, ServerSideEncryptionConfiguration={"Rules": [wanted]})
    return True


async def _current_default(fs: LakeFileSystem, name: str) -> dict[str, Any]:
    try:
        response = await fs.seam.send("get_bucket_encryption", Bucket=name)
    except ObjectNotFound:
        return {}
    rules = response["ServerSideEncryptionConfiguration"].get("Rules") or [{}]
    rule = rules[0]
    # Servers fill in fields that nobody set.
    default = {field: value for field, value in rule.get("ApplyServerSideEncryptionByDefault", {}).items() if value}
    return {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": bool(rule.get("BucketKeyEnabled"))}
