"""Shared by all work: the clock, conflicts, the fork guard, progress, formatting."""
