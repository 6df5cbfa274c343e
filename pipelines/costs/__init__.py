"""What files cost where they are stored, and whether moving them pays."""
