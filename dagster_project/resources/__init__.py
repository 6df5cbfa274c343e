"""The lake as a resource of Dagster, its secrets, and the failures of its steps."""
