"""A process that writes and reads an object again and again, as a user's program would, until it is killed."""

from __future__ import annotations

import sys

import fsspec


def work(path: str) -> None:
    """Work on one object for ever."""
    fs = fsspec.filesystem("lake", use_listings_cache=False)
    while True:
        fs.pipe_file(path, b"x" * 1000)
        assert fs.cat_file(path) == b"x" * 1000


if __name__ == "__main__":
    work(sys.argv[1])
