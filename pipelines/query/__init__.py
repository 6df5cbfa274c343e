"""Reading a dataset: rows, filters, frames, the catalog, and where files are stored."""
