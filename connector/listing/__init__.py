"""What a folder holds: listings of the store, and tables that answer in their place."""
