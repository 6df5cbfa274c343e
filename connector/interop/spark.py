"""Spark: Hadoop's `s3a://`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tierlake.connector.client.credentials import settled
from tierlake.connector.interop.options import Options, default_encryption, is_plain_http, region
from tierlake.connector.policy.encryption import SseC, SseKms, SseS3
from tierlake.connector.policy.rules import STANDARD

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store

_S3A = "spark.hadoop.fs.s3a"
_S3A_PROVIDERS = "org.apache.hadoop.fs.s3a"


def spark_conf(store: Store) -> Options:
    """Spark's configuration of `s3a://`: endpoint, credentials, encryption, storage class.

    Names from https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/index.html and `encryption.html`
    beside it.
    """
    settings = settled(store)
    options = Options({f"{_S3A}.endpoint.region": region(store)})
    if store.anon:
        options[f"{_S3A}.aws.credentials.provider"] = f"{_S3A_PROVIDERS}.AnonymousAWSCredentialsProvider"
    else:
        kind = "Temporary" if settings.token else "Simple"
        options[f"{_S3A}.aws.credentials.provider"] = f"{_S3A_PROVIDERS}.{kind}AWSCredentialsProvider"
        options[f"{_S3A}.access.key"] = settings.key
        options[f"{_S3A}.secret.key"] = settings.secret_of("secret")
    if settings.token:
        options[f"{_S3A}.session.token"] = settings.secret_of("token")
    if store.endpoint:
        options[f"{_S3A}.endpoint"] = store.endpoint
        options[f"{_S3A}.path.style.access"] = "true"
        options[f"{_S3A}.connection.ssl.enabled"] = str(not is_plain_http(store)).lower()
    options.update({f"{_S3A}.encryption.{part}": value for part, value in _s3a_encryption(store).items()})
    if settings.storage_class != STANDARD:
        options[f"{_S3A}.create.storage.class"] = settings.storage_class.lower()
    return options


def _s3a_encryption(store: Store) -> dict[str, str]:
    encryption = default_encryption(store)
    if isinstance(encryption, SseS3):
        return {"algorithm": "AES256"}
    if isinstance(encryption, SseC):
        return {"algorithm": "SSE-C", "key": base64.b64encode(encryption.key).decode()}
    if isinstance(encryption, SseKms):
        key = {"key": encryption.key_id} if encryption.key_id else {}
        return {"algorithm": "DSSE-KMS" if encryption.dsse else "SSE-KMS", **key}
    return {}
