"""What every object gets: encryption, rules, and the request parameters that carry them."""
