"""Moves to another storage class, beside a plain loop of copies.

    python -m benchmarks.bench_transitions [--objects 1000] [--rounds 5] [--server seaweedfs|minio]

Both move the same small objects there and back, in turns within one run. The plain loop is aiobotocore's `copy_object`
alone, each object onto itself with another class, 32 at once: it looks at nothing before and checks nothing after. Ours
(`fs.transition_many`) looks at each object, copies it on condition of its ETag with metadata, tags and encryption, and
looks again. Below 1 we are faster. Requests are counted by kind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from benchmarks.relay import Relay
from tierlake.connector import LakeFileSystem
from tierlake.connector.local_server.servers import EmbeddedServer, MinioServer
from tierlake.connector.objects.bulk import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.local_server.servers import LocalServer

BUCKET = "transitions"
AT_ONCE = 32
SERVERS = {
    "seaweedfs": (EmbeddedServer, ("STANDARD_IA", "STANDARD")),
    "minio": (MinioServer, ("REDUCED_REDUNDANCY", "STANDARD")),
}
CONTENT = b"PAR1" * 256


async def put(fs: LakeFileSystem, keys: list[str]) -> None:
    """Objects to move, small as files of a busy table are."""
    store, waiting = fs.obstore(BUCKET), iter(keys)

    async def worker() -> None:
        for key in waiting:
            await obstore.put_async(store, key, CONTENT)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def plain_loop(server: LocalServer, keys: list[str], storage_class: str) -> None:
    """Copies alone."""
    session, waiting = get_session(), iter(keys)
    async with session.create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name="us-east-1",
        config=AioConfig(max_pool_connections=AT_ONCE),
    ) as client:

        async def worker() -> None:
            for key in waiting:
                await client.copy_object(
                    Bucket=BUCKET,
                    Key=key,
                    CopySource={"Bucket": BUCKET, "Key": key},
                    StorageClass=storage_class,
                    MetadataDirective="REPLACE",
                )

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def ours(fs: LakeFileSystem, keys: list[str], storage_class: str) -> None:
    """Moves, each looked at and checked."""
    moves = [Transition(f"{BUCKET}/{key}", storage_class) for key in keys]
    for move, outcome in fs.transition_many(moves):
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome.changed, move


def requests_of(server: LocalServer, keys: list[str], storage_class: str) -> Mapping[str, int]:
    """The requests of the moves, by kind, as a relay sees them."""
    with Relay(server.endpoint_url) as relay:
        ours(LakeFileSystem(endpoint_url=relay.url, encryption="none"), keys, storage_class)
        return relay.page().requests


def main() -> None:
    """Put, move there and back, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--objects", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--server", choices=sorted(SERVERS), default="seaweedfs")
    given = options.parse_args()
    kind, classes = SERVERS[given.server]

    with tempfile.TemporaryDirectory() as home, kind(Path(home)) as server:
        os.environ.update(server.environ())
        fs = LakeFileSystem(encryption="none")
        fs.mkdir(BUCKET)
        keys = [f"flights/day={number:05d}/part-00000.parquet" for number in range(given.objects)]
        asyncio.run(put(fs, keys))
        counts = requests_of(server, keys, classes[0])
        asyncio.run(plain_loop(server, keys, classes[1]))
        times: dict[str, list[tuple[float, float]]] = {"plain loop of copies": [], "ours": []}
        for _ in range(given.rounds):
            for name, act in (
                ("plain loop of copies", lambda: asyncio.run(plain_loop(server, keys, classes[0]))),
                ("ours", lambda: ours(fs, keys, classes[1])),
            ):
                began, busy = time.perf_counter(), time.process_time()
                act()
                times[name].append((time.perf_counter() - began, time.process_time() - busy))
        print(f"{given.objects:,} objects on {given.server}; medians of {given.rounds}")
        print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'ratio':>8}")
        plain = statistics.median(wall for wall, _ in times["plain loop of copies"])
        for name, rounds in times.items():
            wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{name:24}{wall:8.2f}{cpu:8.2f}{wall / plain:8.2f}")
        print("requests of ours:", ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))


if __name__ == "__main__":
    main()
