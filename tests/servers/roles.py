"""Identities with a role's rights and no more, on servers that enforce policies."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.rig import Rig
from tierlake.connector.iam import policy_document

_ANY = "the-bucket"


def with_role(server: Rig, role: str, folder: Path, bucket: str | None = None, prefix: str = "") -> Rig:
    """The same server, for somebody with a role.

    Args:
        server: A real server.
        role: `reader`, `writer` or `operator`.
        folder: Where a file may lie for a moment.
        bucket: The rights end there; None means the buckets of all tests.
        prefix: Only objects below it.
    """
    document = policy_document(role, bucket or _ANY, prefix)
    if bucket is None:  # no policy of ours holds a wildcard
        document = json.loads(json.dumps(document).replace(_ANY, "t-*"))
    return with_policy(server, document, folder, role)


def with_policy(server: Rig, document: dict[str, Any], folder: Path, name: str = "user") -> Rig:
    """The same server, for somebody whose rights a policy document says."""
    name, secret = f"{name}{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    {"minio": _on_minio, "seaweedfs": _on_seaweedfs}[server.name](server, name, secret, document, folder)
    return replace(server, user=(name, secret))


def _on_minio(server: Rig, name: str, secret: str, document: dict[str, Any], _folder: Path) -> None:
    from minio import MinioAdmin
    from minio.credentials import StaticProvider

    place = urlsplit(server.endpoint_url).netloc
    admin = MinioAdmin(endpoint=place, credentials=StaticProvider(server.key, server.secret), secure=False)
    admin.user_add(name, secret)
    admin.policy_add(name, policy=document)
    admin.attach_policy([name], user=name)


def _on_seaweedfs(server: Rig, name: str, secret: str, document: dict[str, Any], folder: Path) -> None:
    assert server.shell is not None
    file = folder / f"{name}.json"
    file.write_text(json.dumps(document))
    server.shell(
        f"s3.user.create -name {name} -access_key {name} -secret_key {secret}\n"
        f"s3.policy -put -name={name} -file={file}\n"
        f"s3.policy.attach -policy {name} -user {name}"
    )
