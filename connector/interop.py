"""One configuration, many libraries: this filesystem's endpoint, credentials and encryption in others' dialects.

::

    pq.read_table("warehouse/a.parquet", filesystem=fs.arrow_filesystem())
    pl.scan_parquet("s3://warehouse/*.parquet", storage_options=fs.polars_options())
    dd.read_parquet("lake://warehouse/a", storage_options=fs.dask_options())
    duckdb.execute(fs.duckdb_secret())              # or duckdb.register_filesystem(fs), and lake:// paths
    SparkConf().setAll(fs.spark_conf().items())

Libraries are imported when they are asked for. What holds secrets has a repr without them. Each of these clients has
the default encryption of the write policy, as far as it can ask for one; glob rules, table views and the guard of a
table's files are this filesystem's own, and none of theirs.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from pydantic import SecretStr

from tierlake.connector.client.arguments import plain_options
from tierlake.connector.errors import BadCredentials, UnsupportedByServer
from tierlake.connector.policy.encryption import SseC, SseKms, SseS3
from tierlake.connector.policy.parameters import applied, copy_source
from tierlake.connector.policy.rules import STANDARD
from tierlake.connector.redact import redact
from tierlake.connector.settings import DEFAULT_REGION, environment_token, is_aws

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.policy.encryption import Encryption
    from tierlake.connector.settings import LakeSettings

_SECRET = re.compile(r"secret|token|password|customer_key|encryption\.key|sse-c:", re.IGNORECASE)
_CREATES = {"PutObject": "put_object", "CreateMultipartUpload": "create_multipart_upload", "CopyObject": "copy_object"}
_READS = ("GetObject", "HeadObject", "UploadPart", "UploadPartCopy")
_S3A = "spark.hadoop.fs.s3a"
_S3A_PROVIDERS = "org.apache.hadoop.fs.s3a"


class Options(dict[str, Any]):
    """Options for a library, whose repr hides the secrets among them."""

    def __repr__(self) -> str:
        return repr({n: "<hidden>" if _SECRET.search(n) or _SECRET.search(str(v)) else v for n, v in self.items()})


class Statement(str):
    """An SQL statement that holds a secret: the text is whole, the repr is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self.partition('(')[0]!r} (<hidden>)"


def settled(fs: LakeFileSystem) -> LakeSettings:
    """The settings with the credentials in them that are valid now, wherever they come from.

    Raises:
        BadCredentials: There are none, or they cannot be renewed.
    """
    settings = fs.settings
    if settings.key or fs.anon:
        return settings
    try:
        found = _chain(fs.kwargs.get("profile"), environment_token())
        if not isinstance(found, RefreshableCredentials):
            _chain.cache_clear()  # a file may have others next time
        frozen = found.get_frozen_credentials() if found is not None else None
    except BotoCoreError as error:
        raise BadCredentials(f"The AWS chain gave no credentials: {redact(str(error))}") from error
    if frozen is None:
        raise BadCredentials(
            "There are no credentials: no key is set and the AWS chain has none",
            hint="Set TIERLAKE_KEY and TIERLAKE_SECRET, or AWS_PROFILE, or pass key= and secret=",
        )
    wanted = {"key": frozen.access_key, "secret": SecretStr(frozen.secret_key)}
    if frozen.token:
        wanted["token"] = SecretStr(frozen.token)
    return settings.model_copy(update=wanted)


def are_renewed(fs: LakeFileSystem) -> bool:
    """Whether the credentials end, and others come from the AWS chain: what was given once is no good for ever."""
    if fs.settings.key or fs.anon:
        return False
    return isinstance(_chain(fs.kwargs.get("profile"), environment_token()), RefreshableCredentials)


@functools.lru_cache(maxsize=8)
def _chain(aws_profile: str | None, _environment: str) -> Any:
    """Credentials that renew themselves before they end are kept: asking anew may be a request, or a program."""
    return botocore.session.Session(profile=aws_profile).get_credentials()


def region(fs: LakeFileSystem) -> str:
    """The region that clients must name."""
    said: str | None = fs.settings.region
    if said is None and (fs.endpoint is None or is_aws(fs.endpoint)):
        said = botocore.session.Session(profile=fs.kwargs.get("profile")).get_config_variable("region")
    return said or DEFAULT_REGION


def default_encryption(fs: LakeFileSystem) -> Encryption:
    """What the write policy says where no rule matches, or at the root of the table that this instance writes."""
    bucket, _, prefix = (fs.table_root or "").partition("/")
    return fs.policy.for_key(bucket, f"{prefix}/_delta_log/").encryption if fs.table_root else fs.settings.encryption


def delta_options(fs: LakeFileSystem) -> Options:
    """Storage options for ``deltalake``; see :meth:`LakeFileSystem.delta_options`."""
    return _object_store_options(fs, default_encryption(fs))


def _object_store_options(fs: LakeFileSystem, encryption: Encryption) -> Options:
    if not fs.anon:
        return Options(settled(fs).delta_options(encryption), aws_region=region(fs))
    nobody = fs.settings.model_copy(update={"key": "nobody", "secret": SecretStr("nothing"), "token": None})
    options = Options(nobody.delta_options(encryption), aws_region=region(fs), aws_skip_signature="true")
    return Options({n: v for n, v in options.items() if n not in {"aws_access_key_id", "aws_secret_access_key"}})


def polars_options(fs: LakeFileSystem) -> Options:
    """``storage_options`` of polars' scan, read and write functions, on ``s3://`` paths."""
    options = delta_options(fs)
    options.pop("aws_conditional_put")
    # These two are polars' own, and numbers.
    options["max_retries"] = fs.settings.max_retries
    options["retry_timeout_ms"] = int(1000 * fs.settings.retry_seconds)
    del options["retry_timeout"]
    return options


def obstore(fs: LakeFileSystem, bucket: str, *, prefix: str | None = None) -> Any:
    """A store of the package ``obstore`` on one bucket.

    Args:
        fs: The filesystem.
        bucket: The bucket.
        prefix: All paths are below it.

    Returns:
        An :class:`obstore.store.S3Store`, whose writes are encrypted as the policy says.
    """
    from datetime import timedelta

    from obstore.store import S3Store

    settings = fs.settings
    policy = fs.policy.for_key(bucket, f"{prefix or ''}/")
    options = _object_store_options(fs, policy.encryption)
    config: Any = {name: value for name, value in options.items() if name.startswith("aws_")}
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options={
            "allow_http": _plain_http(fs),
            "connect_timeout": timedelta(seconds=settings.connect_timeout),
            "timeout": timedelta(seconds=max(settings.read_timeout, settings.connect_timeout)),
        },
        retry_config={
            "max_retries": settings.max_retries,
            "retry_timeout": timedelta(seconds=settings.retry_seconds),
        },
    )


def arrow_filesystem(fs: LakeFileSystem) -> Any:
    """Arrow's own S3 client, in C++: for reading what is not encrypted with a customer's key.

    It cannot ask for an encryption: what it writes gets the bucket's default. To write by the policy, give this
    filesystem itself to pyarrow.

    Returns:
        A :class:`pyarrow.fs.S3FileSystem`.

    Raises:
        UnsupportedByServer: The policy's default is SSE-C.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    if isinstance(default_encryption(fs), SseC):
        raise UnsupportedByServer("pyarrow", "SSE-C", "filesystem=fs, which pyarrow takes as it is")
    settings = settled(fs)
    place = urlsplit(fs.endpoint or "https://")
    return S3FileSystem(
        access_key=settings.key,
        secret_key=settings.secret_of("secret"),
        session_token=settings.secret_of("token"),
        anonymous=bool(fs.anon),
        region=region(fs),
        scheme=place.scheme,
        endpoint_override=place.netloc or None,
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.read_timeout,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=settings.max_retries + 1),
    )


def duckdb_secret(fs: LakeFileSystem, name: str = "tierlake", *, scope: str | None = None) -> Statement:
    """A ``CREATE SECRET`` for DuckDB's extension ``httpfs``, for ``s3://`` paths.

    DuckDB asks for SSE-KMS with a key, and for no other encryption: what it writes gets the bucket's default else.

    Args:
        fs: The filesystem.
        name: The secret's name; one of that name is replaced.
        scope: Paths that the secret is for, such as ``s3://warehouse``; None is all.

    Returns:
        The statement.

    Raises:
        UnsupportedByServer: The policy's default is SSE-C.
    """
    encryption = default_encryption(fs)
    if isinstance(encryption, SseC):
        raise UnsupportedByServer("DuckDB", "SSE-C", "duckdb.register_filesystem(fs) and lake:// paths")
    settings = settled(fs)
    place = urlsplit(fs.endpoint or "")
    said: dict[str, str | None] = {
        "KEY_ID": settings.key,
        "SECRET": settings.secret_of("secret"),
        "SESSION_TOKEN": settings.secret_of("token"),
        "REGION": region(fs),
        "ENDPOINT": place.netloc + place.path.rstrip("/"),
        "URL_STYLE": "path" if fs.endpoint else None,
        "KMS_KEY_ID": encryption.key_id if isinstance(encryption, SseKms) else None,
        "SCOPE": scope,
    }
    parts = ["TYPE s3", *(f"{option} {_quoted(value)}" for option, value in said.items() if value)]
    if fs.endpoint:
        parts.append(f"USE_SSL {str(place.scheme == 'https').lower()}")
    identifier = '"' + name.replace('"', '""') + '"'
    return Statement(f"CREATE OR REPLACE SECRET {identifier} ({', '.join(parts)})")


def spark_conf(fs: LakeFileSystem) -> Options:
    """Spark's configuration of ``s3a://``: endpoint, credentials, encryption, storage class.

    Names from https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/index.html and ``encryption.html``
    beside it.
    """
    settings = settled(fs)
    options = Options({f"{_S3A}.endpoint.region": region(fs)})
    if fs.anon:
        options[f"{_S3A}.aws.credentials.provider"] = f"{_S3A_PROVIDERS}.AnonymousAWSCredentialsProvider"
    else:
        kind = "Temporary" if settings.token else "Simple"
        options[f"{_S3A}.aws.credentials.provider"] = f"{_S3A_PROVIDERS}.{kind}AWSCredentialsProvider"
        options[f"{_S3A}.access.key"] = settings.key
        options[f"{_S3A}.secret.key"] = settings.secret_of("secret")
    if settings.token:
        options[f"{_S3A}.session.token"] = settings.secret_of("token")
    if fs.endpoint:
        options[f"{_S3A}.endpoint"] = fs.endpoint
        options[f"{_S3A}.path.style.access"] = "true"
        options[f"{_S3A}.connection.ssl.enabled"] = str(not _plain_http(fs)).lower()
    options.update({f"{_S3A}.encryption.{part}": value for part, value in _s3a_encryption(fs).items()})
    if settings.storage_class != STANDARD:
        options[f"{_S3A}.create.storage.class"] = settings.storage_class.lower()
    return options


def _s3a_encryption(fs: LakeFileSystem) -> dict[str, str]:
    encryption = default_encryption(fs)
    if isinstance(encryption, SseS3):
        return {"algorithm": "AES256"}
    if isinstance(encryption, SseC):
        return {"algorithm": "SSE-C", "key": base64.b64encode(encryption.key).decode()}
    if isinstance(encryption, SseKms):
        key = {"key": encryption.key_id} if encryption.key_id else {}
        return {"algorithm": "DSSE-KMS" if encryption.dsse else "SSE-KMS", **key}
    return {}


def dask_options(fs: LakeFileSystem) -> Options:
    """``storage_options`` for ``lake://`` paths that mean the same on a worker with another environment."""
    # What is said in the constructor is as plain as what comes from the environment; equal options, equal instance.
    options = plain_options({"settings": settled(fs)}, include_secrets=True)
    asked = plain_options(fs.storage_options, include_secrets=True)
    left = {"asynchronous", "loop", "skip_instance_cache", "settings"}
    return Options({**options, **{name: value for name, value in asked.items() if name not in left}})


def boto3_client(fs: LakeFileSystem) -> Any:
    """A boto3 client for S3 whose writes get the encryption, class and tags of the write policy."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    settings = fs.settings
    kwargs = settings.boto3_kwargs()
    config = kwargs["config"].merge(Config(signature_version=UNSIGNED if fs.anon else "s3v4"))
    session = boto3.session.Session(profile_name=None if settings.key else fs.kwargs.get("profile"))
    client = session.client("s3", **{**kwargs, "config": config, "region_name": region(fs)})
    for operation in _CREATES:
        client.meta.events.register(f"provide-client-params.s3.{operation}", _Policed(fs))
    for operation in _READS:
        client.meta.events.register(f"provide-client-params.s3.{operation}", _keyed(fs))
    return client


class _Policed:
    """Puts the policy's say into a boto3 request that creates an object."""

    def __init__(self, fs: LakeFileSystem) -> None:
        self._fs = fs

    def __call__(self, params: dict[str, Any], model: Any, **_said: Any) -> dict[str, Any]:
        if not {"Bucket", "Key"} <= params.keys():
            return params  # boto3 names what is missing
        policy = self._fs.policy.for_key(params["Bucket"], params["Key"])
        request = applied(_CREATES[model.name], params, policy)
        if not self._fs.profile.kms_bucket_key:
            request.pop("BucketKeyEnabled", None)
        return {**_source_key(self._fs, request), **request}


def _keyed(fs: LakeFileSystem) -> Any:
    def with_customer_key(params: dict[str, Any], model: Any, **_said: Any) -> dict[str, Any]:
        if not {"Bucket", "Key"} <= params.keys():
            return params
        held = fs.policy.for_key(params["Bucket"], params["Key"]).encryption
        own = held.headers() if isinstance(held, SseC) else {}
        source = _source_key(fs, params) if model.name == "UploadPartCopy" else {}
        return {**own, **source, **params}

    return with_customer_key


def _source_key(fs: LakeFileSystem, params: dict[str, Any]) -> dict[str, Any]:
    source = copy_source(params)
    held = fs.policy.for_key(*source).encryption if source is not None else None
    return held.source_headers() if isinstance(held, SseC) else {}


def _plain_http(fs: LakeFileSystem) -> bool:
    return bool(fs.endpoint) and urlsplit(fs.endpoint).scheme == "http"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
