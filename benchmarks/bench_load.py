"""Load: 64 readers and 16 writers, threads of one process and of four, tierlake beside s3fs.

    python benchmarks/bench_load.py [--seconds 120] [--turns 4] [--readers 64] [--writers 16] [--processes 1 4]

Each library has its processes, which live through all its turns; the libraries take turns, so that what a noisy machine
does to one it does to the other. A reader makes one blocking call after the other on the filesystem that all threads of
its process share, for objects of 4 KiB to 4 MiB: half of them whole, a quarter a range, a quarter by `open`. A writer
writes such an object and reads it back. All bytes are compared. Times are from a call to its result. The first five
seconds do not count, but for the memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.harness import serving
from benchmarks.load import objects, tables
from benchmarks.load.crew import Crew
from benchmarks.load.traffic import Load
from benchmarks.load.worker import FILESYSTEMS

if TYPE_CHECKING:
    from benchmarks.load.crew import Watched


WARM_UP_SECONDS = 5.0


def main() -> None:
    """Measure, print."""
    requested = parser().parse_args()
    versions = ", ".join(clients.versions("aiobotocore", "obstore", "s3fs"))
    print(f"{requested.server}, {os.cpu_count()} cores; {requested.turns} turns of each; {versions}")
    for processes in requested.processes:
        each = Load(requested.readers, requested.writers, requested.seconds / requested.turns)
        watched = measured(requested.server, each, processes, requested.turns)
        among = "one process" if processes == 1 else f"{processes} processes together"
        print(f"\n{each.readers} readers and {each.writers} writers in {among}, {requested.seconds:g} s")
        print(tables.text(watched))


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    of = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    of.add_argument("--seconds", type=float, default=120, help="for each library [default: 120]")
    of.add_argument("--turns", type=int, default=4, help="in so many parts [default: 4]")
    of.add_argument("--readers", type=int, default=64)
    of.add_argument("--writers", type=int, default=16)
    of.add_argument("--processes", type=int, nargs="+", default=[1, 4], help="to share them [default: 1, then 4]")
    of.add_argument("--server", choices=["seaweedfs", "minio"], default="seaweedfs")
    return of


def measured(server: str, load: Load, processes: int, turns: int) -> dict[str, Watched]:
    """All contenders on a server of their own, each under the load in each turn."""
    with tempfile.TemporaryDirectory(prefix="tierlake-load-") as folder, ExitStack() as stack:
        place = stack.enter_context(serving(server, Path(folder)))
        objects.put(clients.boto3(place), place.bucket)
        crews = [stack.enter_context(Crew(name, place, processes)) for name in FILESYSTEMS]
        for crew in crews:
            crew.warm_up(replace(load, seconds=min(WARM_UP_SECONDS, load.seconds)))
        for turn in range(turns):
            first = turn % len(crews)
            for crew in crews[first:] + crews[:first]:
                crew.run(load)
                calls = crew.watched.outcome.calls
                print(
                    f"load: {processes} x {crew.contender:8} turn {turn + 1}: {calls:,} calls so far", file=sys.stderr
                )
        return {crew.contender: crew.watched for crew in crews}


if __name__ == "__main__":
    main()
