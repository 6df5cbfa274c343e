"""A server profile: what one kind of S3 server can do. Data only; each figure has its source beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from tierlake.connector.errors import UnsupportedByServer
from tierlake.connector.nearest import nearest
from tierlake.connector.observe.edges import reporting

if TYPE_CHECKING:
    from collections.abc import Mapping

AWS_STORAGE_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
    "FSX_ONTAP",
)
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, x-amz-storage-class"""

AWS_TIERS: Mapping[str, str] = {
    "hot": "STANDARD",
    "warm": "STANDARD_IA",
    "cold": "GLACIER_IR",
    "archive": "DEEP_ARCHIVE",
}


_ALTERNATIVES: Mapping[str, str] = MappingProxyType(
    {
        "default_encryption": "the write policy: each write of ours asks for its encryption",
        "lifecycle_transitions": "the mover 'copy': `tierlake tier` copies objects onto themselves in another class",
        "remote_tiers": "its own storage classes: leave `remote_tiers` out",
        "kms_bucket_key": "nothing is needed: a bucket key only saves requests to AWS's KMS",
        "bucket_policy": "the policies of its users (`tierlake iam-policy`), and a server that speaks TLS alone",
        "public_access_block": "its own settings, and no policy that lets everybody in",
        "ownership_controls": "its own settings for ACLs",
        "bucket_cors": "its own settings, or a proxy that answers for it",
        "complete_if_match": "`format: delta` (`tierlake adopt`), or smaller partitions",
        "delete_if_match": "a bucket that keeps versions, or `format: delta` (`tierlake adopt`)",
        "versions": "nothing: what is overwritten or deleted is gone",
        "abort_uploads_rule": "`tierlake uploads abort`",
    }
)
"""Used if a profile names nothing better."""


@dataclass(frozen=True)
class Profile:
    """What a server can do. The defaults are what AWS documents; a profile says where it differs.

    Args:
        name: The profile's name, as users type it.
        server_headers: Beginnings of the `Server` response header by which the server is known.
        storage_classes: Classes that a write may ask for.
        archived_classes: Of these, the ones that need a restore before they can be read.
        tier_classes: Tier name to the class that objects of that tier report.
        mover: How an object changes its tier: `copy` is a self-copy with another class, `tag` sets
            the tag `tier` and a lifecycle rule of the bucket moves the object.
        price_list: The price list that fits, unless a dataset names another.
        encryptions: Modes that a write may ask for (see `tierlake.connector.policy.encryption`).
        encryption_alternatives: What to use where a mode is missing.
        sse_c_over_http: SSE-C is taken over plain HTTP too.
        sse_c_part_copies: Parts can be copied from and to objects with a customer's key.
        kms_bucket_key: S3 bucket keys exist.
        self_copy_directive: The `MetadataDirective` that a self-copy to another class needs.
        etag_survives_self_copy: A multipart object keeps its ETag through a self-copy.
        copy_source_if_match: A copy honours the source's ETag as a precondition.
        copy_if_none_match: A copy honours `If-None-Match` on the destination.
        copy_if_match: A copy honours `If-Match` on the destination.
        copy_if_match_holds: And no other write comes between that look and the copy.
        get_if_match: A GET honours `If-Match`.
        delete_if_match: A DELETE honours `If-Match`.
        put_creates_bucket: A PUT into a bucket that does not exist creates it.
        form_tags_in_xml: A POST form has its tags in the field `tagging`, as XML; else as a header has them.
        objects_hide_folders: Keys below that of an object are missing from listings.
        uploads_by_prefix: Incomplete uploads are listed by prefix.
        abort_uploads_rule: Lifecycle can abort incomplete uploads.
        lifecycle_transitions: Lifecycle moves objects: to classes, or to remote tiers.
        remote_tiers: Tiers are other servers, set up by an admin API.
        restore: Objects can be restored from archived classes.
        public_access_block: Public access block exists.
        ownership_controls: Object ownership can be enforced.
        bucket_cors: CORS rules belong to a bucket.
        bucket_policy: A bucket can have a policy.
        policy_binds: Whom a bucket's policy denies something: `everybody`, or `anonymous` requests alone.
        default_encryption: A bucket can have a default encryption.
        empty_prefixes_stay: A prefix whose last object is deleted stays in listings.
        repeated_delete_adds_marker: Deleting a deleted key of a versioned bucket adds a marker.
        keys_below_objects_hidden: A key below an existing object is missing from listings.
        backslashes: A key may hold a backslash, which is not taken for a slash.
        self_copy_keeps_encryption: A self-copy that names no encryption keeps SSE-S3.
        self_copy_keeps_tags: A self-copy with `REPLACE` keeps the tags.
        copy_keeps_encryption: A copy to another key that names no encryption keeps SSE-S3.
        copy_keeps_class: A copy to another key that names no class keeps the source's.
        put_if_none_match: A PUT honours `If-None-Match`.
        put_if_match: A PUT honours `If-Match`.
        put_if_match_missing: The status of a PUT with `If-Match` where there is no object.
        complete_if_none_match: The end of a multipart upload honours `If-None-Match`.
        complete_if_match: And `If-Match`.
        complete_again: Finishing a finished upload again succeeds for a while.
        expiration_date_rule: Lifecycle rules expire objects at a date.
        versions: Buckets keep versions: delete markers, GET by version, undo by deleting the marker.
        refuses_full_buckets: A bucket that is not empty is not deleted.
        newer_checksums: A PUT may carry CRC32, SHA-1 or SHA-256 (`x-amz-checksum-*`).
        alternatives: What this server offers in place of something that it lacks, by the name of the field above.
    """

    name: str
    server_headers: tuple[str, ...] = ()
    storage_classes: tuple[str, ...] = AWS_STORAGE_CLASSES
    archived_classes: tuple[str, ...] = ("GLACIER", "DEEP_ARCHIVE")
    tier_classes: Mapping[str, str] = field(default_factory=lambda: dict(AWS_TIERS), hash=False)
    mover: Literal["copy", "tag"] = "copy"
    price_list: str = "aws_us_east_1"
    encryptions: tuple[str, ...] = ("sse-s3", "sse-kms", "dsse-kms", "sse-c", "none")
    encryption_alternatives: Mapping[str, str] = field(default_factory=dict, hash=False)
    sse_c_over_http: bool = False
    sse_c_part_copies: bool = True
    kms_bucket_key: bool = True
    self_copy_directive: Literal["COPY", "REPLACE"] = "COPY"
    etag_survives_self_copy: bool = False
    copy_source_if_match: bool = True
    copy_if_none_match: bool = True
    copy_if_match: bool = True
    copy_if_match_holds: bool = True
    get_if_match: bool = True
    delete_if_match: bool = True
    put_creates_bucket: bool = False
    objects_hide_folders: bool = False
    form_tags_in_xml: bool = True
    uploads_by_prefix: bool = True
    abort_uploads_rule: bool = True
    lifecycle_transitions: bool = True
    remote_tiers: bool = False
    restore: bool = True
    public_access_block: bool = True
    ownership_controls: bool = True
    bucket_cors: bool = True
    bucket_policy: bool = True
    policy_binds: Literal["everybody", "anonymous"] = "everybody"
    default_encryption: bool = True
    empty_prefixes_stay: bool = False
    repeated_delete_adds_marker: bool = True
    keys_below_objects_hidden: bool = False
    backslashes: bool = True
    # Encrypted with the bucket's default, which is SSE-S3 at least, and of class STANDARD, unless the request says
    # otherwise: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    self_copy_keeps_encryption: bool = True
    copy_keeps_encryption: bool = True
    copy_keeps_class: bool = False
    # The same page, x-amz-tagging-directive: COPY is the default.
    self_copy_keeps_tags: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    put_if_none_match: bool = True
    put_if_match: bool = True
    put_if_match_missing: int = 404
    complete_if_none_match: bool = True
    complete_if_match: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    complete_again: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleExpiration.html, Date
    expiration_date_rule: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html
    versions: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    newer_checksums: bool = True
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html
    refuses_full_buckets: bool = True
    alternatives: Mapping[str, str] = field(default_factory=dict, hash=False)

    @reporting
    def check_class(self, storage_class: str, *, key: str | None = None) -> None:
        """Refuse a storage class that a write to this server cannot request.

        Args:
            storage_class: The class's name.
            key: Only for the error.

        Raises:
            UnsupportedByServer: The server lacks the class; the hint has its nearest one.
        """
        if storage_class in self.storage_classes:
            return
        near = nearest(storage_class, self.storage_classes)
        if near is not None:
            alternative = near
        elif storage_class in self.tier_classes.values() or self.mover == "tag":
            alternative = f"the tag tier=<tier>, which a lifecycle rule acts on ({self._classes()})"
        else:
            alternative = self._classes()
        raise UnsupportedByServer(self.name, f"writing the storage class {storage_class!r}", alternative, key=key)

    @reporting
    def check_encryption(self, mode: str, *, key: str | None = None) -> None:
        """Refuse an encryption mode that this server refuses, ignores or fails on.

        Args:
            mode: `sse-s3`, `sse-kms`, `dsse-kms`, `sse-c` or `none`.
            key: Only for the error.

        Raises:
            UnsupportedByServer: The server lacks the mode; the hint has the one to use instead.
        """
        if mode in self.encryptions:
            return
        alternative = self.encryption_alternatives.get(mode) or next(iter(self.encryptions))
        raise UnsupportedByServer(self.name, f"the encryption {mode!r}", alternative, key=key)

    def alternative(self, name: str) -> str:
        """What this server offers instead of an ability that a field says it lacks."""
        return self.alternatives.get(name) or _ALTERNATIVES.get(name, "")

    def _classes(self) -> str:
        return "one of " + ", ".join(self.storage_classes)
