"""Care of a table: compact, erase, vacuum, verify, repair."""
