"""The demo: New York's flights of 2013, from the first ingest to the last undo."""
