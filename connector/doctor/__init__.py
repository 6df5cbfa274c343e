"""A live server against its profile."""
