"""What every server looks like to a test."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tierlake.connector.local_server.servers import REGION, LocalServer, client_environ


def _of_itself() -> None:
    """Nothing is needed."""


_DEPTH_MAX = 20
"""So deep are the keys of a bucket below other keys of it."""
_LOCKABLE = "t-locks-"


@dataclass(frozen=True)
class Rig:
    """A running server.

    `admin` is a plain boto3 client: what it sees and does has not been through the code under test.
    """

    name: str
    endpoint_url: str
    key: str
    secret: str = field(repr=False)
    run_lifecycle: Callable[[], None] = field(default=_of_itself, repr=False)
    """Makes the server act on lifecycle rules now, where it does not do so by itself within seconds."""
    shell: Callable[[str], str] | None = field(default=None, repr=False)
    """Runs a command of the server's own administration, where it has one."""
    user: tuple[str, str] | None = field(default=None, repr=False)
    """Key and secret of whoever runs the code under test, where that is not the administrator."""
    certificate: Path | None = None
    """By which clients know the server, where it speaks TLS and no public authority vouches for it."""

    @classmethod
    def of(cls, server: LocalServer) -> Rig:
        run = getattr(server, "run_lifecycle", _of_itself)
        return cls(server.name, server.endpoint_url, server.key, server.secret, run, getattr(server, "shell", None))

    @cached_property
    def admin(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=REGION,
            verify=str(self.certificate) if self.certificate else None,
            config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
        )

    @property
    def storage_options(self) -> dict[str, Any]:
        """What a user passes to fsspec, pandas or `Dataset.open`."""
        key, secret = self.user or (self.key, self.secret)
        tls = {"client_kwargs": {"verify": str(self.certificate)}} if self.certificate else {}
        return {"endpoint_url": self.endpoint_url, "key": key, "secret": secret, "profile": self.profile, **tls}

    @property
    def profile(self) -> str:
        """moto plays AWS."""
        return {"moto": "aws"}.get(self.name, self.name)

    def environ(self) -> dict[str, str]:
        """What a child process needs to find this server."""
        key, secret = self.user or (self.key, self.secret)
        return client_environ(self.profile, self.endpoint_url, key, secret)

    def make_bucket(self, *, versioned: bool = False, encrypted: bool = False, lockable: bool = False) -> str:
        """A bucket that no other test has; where objects can be locked it is versioned too."""
        name = f"{_LOCKABLE if lockable else 't-'}{uuid.uuid4().hex[:20]}"
        self.admin.create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if lockable else {}))
        if versioned:
            self.admin.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if encrypted:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            self.admin.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
        return name

    def drop_bucket(self, name: str) -> None:
        """Removes it with all that is in it, versions and markers too; missing is fine."""
        try:
            for _ in range(_DEPTH_MAX):  # MinIO lists `a/b` once `a` is gone
                if not self._empty(name):
                    break
            self.admin.delete_bucket(Bucket=name)
        except self.admin.exceptions.NoSuchBucket:
            pass

    def _empty(self, name: str) -> int:
        """Deletes all that is listed; returns how much it was."""
        deleted = 0
        past_locks = {"BypassGovernanceRetention": True} if name.startswith(_LOCKABLE) else {}
        for page in self.admin.get_paginator("list_object_versions").paginate(Bucket=name):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            deleted += len(objects)
            for version in page.get("Versions", []) if past_locks else ():
                at = {"Bucket": name, "Key": version["Key"], "VersionId": version["VersionId"]}
                self.admin.put_object_legal_hold(**at, LegalHold={"Status": "OFF"})
            for odd in (one for one in objects if not one["Key"].isprintable()):  # XML has no letter for some
                self.admin.delete_object(Bucket=name, **odd, **past_locks)
            if usual := [one for one in objects if one["Key"].isprintable()]:
                answer = self.admin.delete_objects(Bucket=name, Delete={"Objects": usual, "Quiet": True}, **past_locks)
                assert not answer.get("Errors"), answer["Errors"]
        return deleted

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys, in order."""
        pages = self.admin.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def heads(self, bucket: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """What HEAD says of each object: encryption, storage class, metadata, type."""
        return {key: self.admin.head_object(Bucket=bucket, Key=key) for key in self.keys(bucket, prefix)}
