"""The same store for other libraries, as methods of a filesystem: one line into a module each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.client.credentials import are_renewed
from tierlake.connector.interop.arrow import arrow_filesystem
from tierlake.connector.interop.boto3 import boto3_client
from tierlake.connector.interop.dask import dask_options
from tierlake.connector.interop.duckdb import duckdb_secret
from tierlake.connector.interop.object_store import delta_options
from tierlake.connector.interop.obstore import s3_store
from tierlake.connector.interop.polars import polars_options
from tierlake.connector.interop.spark import spark_conf

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store


class InteropVerbs:
    """Options and clients of other libraries."""

    store: Store
    storage_options: dict[str, Any]

    def arrow_filesystem(self) -> Any:
        """Arrow's own S3 client, for reading; see `tierlake.connector.interop.arrow`."""
        return arrow_filesystem(self.store)

    def boto3_client(self) -> Any:
        """A boto3 client under the write policy; see `tierlake.connector.interop.boto3`."""
        return boto3_client(self.store)

    def dask_options(self) -> dict[str, Any]:
        """`storage_options` for Dask's workers; see `tierlake.connector.interop.dask`."""
        return dask_options(self.store, self.storage_options)

    def delta_options(self) -> dict[str, str]:
        """Storage options for `deltalake`: endpoint, credentials, encryption, bounded time.

        Raises:
            BadCredentials: There are no credentials.
        """
        return delta_options(self.store)

    @property
    def credentials_are_renewed(self) -> bool:
        """Whether the credentials in `delta_options` and the like expire, so that these are valid for a while only."""
        return are_renewed(self.store)

    def duckdb_secret(self, name: str = "tierlake", *, scope: str | None = None) -> str:
        """A `CREATE SECRET` statement; see `tierlake.connector.interop.duckdb`."""
        return duckdb_secret(self.store, name, scope=scope)

    def obstore(self, bucket: str, *, prefix: str | None = None) -> Any:
        """A bucket for the package obstore; see `tierlake.connector.interop.obstore`."""
        return s3_store(self.store, bucket, prefix=prefix)

    def polars_options(self) -> dict[str, Any]:
        """`storage_options` for polars; see `tierlake.connector.interop.polars`."""
        return polars_options(self.store)

    def spark_conf(self) -> dict[str, Any]:
        """Spark's configuration of `s3a://`; see `tierlake.connector.interop.spark`."""
        return spark_conf(self.store)
