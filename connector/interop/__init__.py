"""One configuration, many libraries: a store's endpoint, credentials and encryption in the dialect of each.

::

    pq.read_table("warehouse/a.parquet", filesystem=fs.arrow_filesystem())
    pl.scan_parquet("s3://warehouse/*.parquet", storage_options=fs.polars_options())
    dd.read_parquet("lake://warehouse/a", storage_options=fs.dask_options())
    duckdb.execute(fs.duckdb_secret())              # or duckdb.register_filesystem(fs), and lake:// paths
    SparkConf().setAll(fs.spark_conf().items())

A library is imported when its options or client are first needed. Values that hold secrets have a repr without them.
These clients use the default encryption of the write policy, as far as they can request one. Only the filesystem has
glob rules, table views and the guard of a table's files.
"""

from tierlake.connector.interop.options import Options, Statement

__all__ = ["Options", "Statement"]
