"""A client of each library for a place: made once, with the library's own defaults but for address and credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.model import Place


def versions(*packages: str) -> list[str]:
    """Packages of this environment with their versions."""
    return [f"{name} {metadata.version(name)}" for name in packages]


def lake_options(place: Place) -> dict[str, Any]:
    """`storage_options` of `lake://`."""
    return {
        "endpoint_url": place.endpoint_url,
        "key": place.key,
        "secret": place.secret,
        "profile": place.profile,
        "client_kwargs": {"region_name": place.region},
    }


def lake(place: Place) -> Any:
    """The filesystem of tierlake."""
    import fsspec

    return fsspec.filesystem("lake", **lake_options(place))


def s3fs_options(place: Place) -> dict[str, Any]:
    """`storage_options` of s3fs."""
    options = lake_options(place)
    del options["profile"]
    return options


def s3fs(place: Place) -> Any:
    """s3fs's filesystem."""
    from s3fs import S3FileSystem

    return S3FileSystem(**s3fs_options(place))


def object_store_options(place: Place) -> dict[str, str]:
    """What the Rust crate object_store is configured with: obstore, polars, deltalake."""
    return {
        "aws_access_key_id": place.key,
        "aws_secret_access_key": place.secret,
        "aws_region": place.region,
        "aws_endpoint_url": place.endpoint_url,
        "aws_virtual_hosted_style_request": "false",
        "aws_allow_http": "true",
    }


def delta_options(place: Place) -> dict[str, str]:
    """`storage_options` of deltalake."""
    return {**object_store_options(place), "aws_conditional_put": "etag"}


def obstore(place: Place) -> Any:
    """A bucket as obstore's own store."""
    from obstore.store import S3Store

    options: Any = object_store_options(place)
    del options["aws_allow_http"]
    return S3Store(place.bucket, config=options, client_options={"allow_http": True})


def obstore_fsspec(place: Place) -> Any:
    """The filesystem for fsspec of obstore."""
    from obstore.fsspec import FsspecStore

    options: Any = object_store_options(place)
    del options["aws_allow_http"]
    return FsspecStore("s3", config=options, client_options={"allow_http": True})


def arrow(place: Place) -> Any:
    """Arrow's own client, in C++."""
    from pyarrow.fs import S3FileSystem

    return S3FileSystem(
        access_key=place.key,
        secret_key=place.secret,
        region=place.region,
        scheme="http",
        endpoint_override=place.host,
    )


def boto3_session(place: Place) -> Any:
    """A session of boto3."""
    import boto3

    return boto3.Session(aws_access_key_id=place.key, aws_secret_access_key=place.secret, region_name=place.region)


def boto3(place: Place) -> Any:
    """boto3's client."""
    from botocore.config import Config

    path_style = Config(s3={"addressing_style": "path"})
    return boto3_session(place).client("s3", endpoint_url=place.endpoint_url, config=path_style)


def duckdb(place: Place) -> Any:
    """A connection of DuckDB with its extension httpfs."""
    import duckdb as package
    import duckdb_extension_httpfs

    (extension,) = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
    connection = package.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute("SET enable_external_file_cache = false")  # the bytes of the round before
    secret = {"KEY_ID": place.key, "SECRET": place.secret, "REGION": place.region, "ENDPOINT": place.host}
    options = ", ".join(f"{name} '{value}'" for name, value in secret.items())
    connection.execute(f"CREATE SECRET (TYPE s3, {options}, URL_STYLE 'path', USE_SSL false)")
    return connection


def daft_config(place: Place) -> Any:
    """Daft's settings of input and output."""
    from daft.io import IOConfig, S3Config

    return IOConfig(
        s3=S3Config(
            endpoint_url=place.endpoint_url,
            region_name=place.region,
            key_id=place.key,
            access_key=place.secret,
            use_ssl=False,
        )
    )


def awswrangler(place: Place) -> tuple[Any, Any]:
    """The package, set to the endpoint, and the session that its functions take."""
    import awswrangler as package

    package.config.s3_endpoint_url = place.endpoint_url
    return package, boto3_session(place)


def s5cmd(place: Place, *arguments: str) -> bytes:
    """Run s5cmd, which is a program.

    Returns:
        What it printed.
    """
    beside = str(Path(sys.executable).parent)
    program = shutil.which("s5cmd", path=beside) or shutil.which("s5cmd") or "s5cmd"
    environ = os.environ | {
        "AWS_ACCESS_KEY_ID": place.key,
        "AWS_SECRET_ACCESS_KEY": place.secret,
        "AWS_REGION": place.region,
        "S3_ENDPOINT_URL": place.endpoint_url,
    }
    return subprocess.run([program, *arguments], env=environ, check=True, stdout=subprocess.PIPE).stdout
