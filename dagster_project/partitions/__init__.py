"""Dagster's partitions and the dataset's: keys, windows, the asset, events, the wipe, lineage."""
