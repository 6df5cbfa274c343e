"""What all work needs: the clock, conflicts, the fork guard, progress, formatting."""
