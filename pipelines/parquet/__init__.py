"""Parquet files: footers, statistics, row groups, and which files a filter can leave out."""
