"""What policies do to partitions: tiering, expiry and its undo, holds, and why."""
