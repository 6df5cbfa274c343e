"""The write policy: encryption, rules, and the request parameters that carry them."""
