"""From any source into partitions of the table, as one commit."""
