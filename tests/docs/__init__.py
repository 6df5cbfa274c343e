"""The documentation is true: its blocks run, its links lead somewhere, its reference is complete."""
