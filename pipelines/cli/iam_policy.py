"""What a role must be allowed: iam-policy."""

from __future__ import annotations

import json

import click

from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.options import Session, with_session

__all__ = ["iam_policy"]


@click.command("iam-policy")
@click.option("--role", type=Choice(["reader", "writer", "operator"]), required=True, help="Whose policy.")
@click.option("--bucket", metavar="NAME", required=True, help="The bucket.")
@click.option("--prefix", metavar="PREFIX", default="", help="Only below it, listing too.")
@click.option("--kms-key", metavar="ARN", help="The key, where objects are encrypted with SSE-KMS.")
@with_session
def iam_policy(session: Session, *, role: str, bucket: str, prefix: str, kms_key: str | None) -> None:
    """Print the least privilege that a role needs. It is an IAM policy for AWS or MinIO.

    A reader reads. A writer also ingests, and does whatever else is a commit to a Delta table's log: compact, expire,
    undo, hold, apply, drop; no byte is deleted. An operator also deletes: it vacuums, tiers, restores, erases, and
    expires or drops plain tables; without --prefix it sets buckets up as well.

    With --prefix neighbours can be neither listed, read nor written. `uploads abort` then needs another's rights: no
    policy confines the listing of uploads.
    """
    from tierlake.connector.iam import policy_document

    document = policy_document(role, bucket, prefix, kms_key=kms_key)
    session.out.emit(document, json.dumps(document, indent=2))
