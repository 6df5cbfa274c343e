"""Metadata kept beside a table, and how datasets are opened, adopted and deleted."""
