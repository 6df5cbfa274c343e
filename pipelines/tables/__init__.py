"""Table formats: one protocol (`protocol.py`), one file for each format.

`delta` is the default; `parquet` is a plain Hive-partitioned prefix. What stands above is written against the protocol.
"""
