"""A process under load: it makes its filesystem, and lets its threads call for as long as each line says."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import child, clients
from benchmarks.load.traffic import Load, Traffic
from benchmarks.model import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILESYSTEMS: Mapping[str, Callable[[Place], Any]] = {"tierlake": clients.lake, "s3fs": clients.s3fs}
"""The contenders: one filesystem for all threads, with its library's defaults."""


def main() -> None:
    """Start, then reply to each load with what came of it."""
    replies = child.replies()
    start = json.loads(sys.stdin.readline())
    place = Place(**start["place"])
    traffic = Traffic(FILESYSTEMS[start["contender"]](place), place.bucket, start["name"])
    print(json.dumps("started"), file=replies)
    for line in sys.stdin:
        print(json.dumps(traffic.run(Load(**json.loads(line))).values()), file=replies)


if __name__ == "__main__":
    main()
