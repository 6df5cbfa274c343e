"""Where the steps of a run work."""
