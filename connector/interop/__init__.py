"""One configuration, many libraries: a store's endpoint, credentials and encryption in the dialect of each.

::

    pq.read_table("warehouse/a.parquet", filesystem=fs.arrow_filesystem())
    pl.scan_parquet("s3://warehouse/*.parquet", storage_options=fs.polars_options())
    dd.read_parquet("lake://warehouse/a", storage_options=fs.dask_options())
    duckdb.execute(fs.duckdb_secret())              # or duckdb.register_filesystem(fs), and lake:// paths
    SparkConf().setAll(fs.spark_conf().items())

A library is imported when its options or client are first needed. What holds secrets has a repr without them. Each of
these clients has the default encryption of the write policy, as far as it can ask for one; glob rules, table views and
the guard of a table's files are the filesystem's own, and none of theirs.
"""

from tierlake.connector.interop.options import Options, Statement

__all__ = ["Options", "Statement"]
