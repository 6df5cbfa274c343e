"""Bulk bytes: download, upload, open files."""
