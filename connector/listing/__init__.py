"""Listings of folders: those of the store, and those of tables in their place."""
