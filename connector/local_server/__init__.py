"""SeaweedFS and MinIO as child processes, for trying things out and for tests."""
