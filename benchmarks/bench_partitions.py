"""A table of very many partitions: the CPU of listing them, of explanations and of plans.

    python benchmarks/bench_partitions.py [--partitions 50000] [--origins 167] [--rounds 3]

Each partition is a day and an origin, and one small object. Tiers and retention are those of a usual description. Each
act opens the dataset anew, as a command does. At 50,000 partitions each takes at most 2 s of the process's CPU, all
threads together; the server's own is not counted. An act that needs storage classes lists the store, 1,000 objects a
request: the last column is what remains without the CPU of a listing alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from click.testing import CliRunner
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from tierlake import Dataset, DatasetSpec
from tierlake.connector import LakeFileSystem
from tierlake.connector.local_server.servers import EmbeddedServer
from tierlake.pipelines.cli.app import cli
from tierlake.pipelines.runtime.listing import listed

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = date(2013, 1, 1)
BUCKET, TABLE = "partitions", "flights"
URI = f"lake://{BUCKET}/{TABLE}"
ROWS = 24
CONTENT = b"PAR1" * 256
"""Nobody reads it: plans go by names, sizes and classes."""
AT_ONCE = 32
SPEC = DatasetSpec(
    uri=URI,
    partition={
        "time": {"column": "time_hour", "every": "day", "timezone": "America/New_York", "key": "date"},
        "by": ["origin"],
    },
    columns={"time_hour": "timestamp[us, tz=UTC]", "carrier": "string", "origin": "string"},
    tiers=[{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
    retention={"expire_after": "300d", "grace": "7d"},
)


def add_action(number: int, origins: int) -> AddAction:
    """The file of a partition, as the log names it."""
    day, origin = (FIRST + timedelta(days=number // origins)).isoformat(), f"A{number % origins:03d}"
    start = f"{day}T05:00:00.000Z"
    stats = {
        "numRecords": ROWS,
        "minValues": {"time_hour": start, "carrier": "9E"},
        "maxValues": {"time_hour": start, "carrier": "YV"},
        "nullCount": {"time_hour": 0, "carrier": 0},
    }
    path = f"date={day}/origin={origin}/part-{number:08d}-00000.zstd.parquet"
    values = {"date": day, "origin": origin}
    return AddAction(path, len(CONTENT), values, int(time.time() * 1000), data_change=True, stats=json.dumps(stats))


def fill(fs: LakeFileSystem, partitions: int, origins: int) -> None:
    """Create the table, put its objects, and commit them at once."""
    dataset = Dataset.create(SPEC, fs=fs)
    adds = [add_action(number, origins) for number in range(partitions)]
    asyncio.run(_put(fs, [f"{TABLE}/{add.path}" for add in adds]))
    table = DeltaTable(f"s3://{BUCKET}/{TABLE}", storage_options=fs.delta_options())
    table.create_write_transaction(adds, "append", table.schema(), list(dataset.spec.partition.columns))
    DeltaTable(f"s3://{BUCKET}/{TABLE}", storage_options=fs.delta_options()).create_checkpoint()


async def _put(fs: LakeFileSystem, keys: list[str]) -> None:
    store, waiting = fs.obstore(BUCKET), iter(keys)

    async def worker() -> None:
        for key in waiting:
            await obstore.put_async(store, key, CONTENT)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def command(*arguments: str) -> None:
    """A command of ours, in this process: starting Python is not counted."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output


def acts(partitions: int, origins: int) -> dict[str, tuple[Callable[[], object], bool]]:
    """What is measured, and whether it lists the whole store. Nearly all partitions move, and later all expire."""
    key = f"date={FIRST}/origin=A000"
    days = -(-partitions // origins)
    half = (FIRST + timedelta(days=days)).isoformat()
    late = (FIRST + timedelta(days=days + 301)).isoformat()
    return {
        "open and snapshot": (lambda: Dataset.open(URI).version, False),
        "explain one": (lambda: Dataset.open(URI).explain(key, as_of=half), False),
        "partitions": (lambda: Dataset.open(URI).partitions(as_of=half), True),
        "plan tiering": (lambda: Dataset.open(URI).plan_tiering(as_of=half), True),
        "plan expiry": (lambda: Dataset.open(URI).plan_expiry(as_of=late), True),
        "tierlake ls": (lambda: command("ls", URI, "--as-of", half), True),
        "tierlake explain": (lambda: command("explain", URI, "--as-of", half), True),
        "tierlake plan tiering": (lambda: command("plan", "tiering", URI, "--as-of", half), True),
        "tierlake plan expiry": (lambda: command("plan", "expiry", URI, "--as-of", late), True),
    }


def measured(act: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of CPU and of the wall clock, medians of the rounds."""
    cpu, wall = [], []
    for _ in range(rounds):
        busy, began = time.process_time(), time.perf_counter()
        act()
        cpu.append(time.process_time() - busy)
        wall.append(time.perf_counter() - began)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    """Fill, look, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partitions", type=int, default=50_000)
    options.add_argument("--origins", type=int, default=167, help="values of the second partition column")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()

    with tempfile.TemporaryDirectory() as home, EmbeddedServer(Path(home)) as server:
        os.environ.update(server.environ())
        fs = LakeFileSystem()
        fs.mkdir(BUCKET)
        fill(fs, given.partitions, given.origins)
        print(f"{given.partitions:,} partitions at {datetime.now(UTC):%Y-%m-%d %H:%M}; medians of {given.rounds}")
        print(f"{'':24}{'CPU s':>8}{'wall s':>8}{'without listing':>17}")
        inside = Dataset.open(URI).fs
        listing, wall = measured(lambda: listed(inside, f"{BUCKET}/{TABLE}"), given.rounds)
        print(f"{'the listing alone':24}{listing:8.2f}{wall:8.2f}")
        for name, (act, lists) in acts(given.partitions, given.origins).items():
            cpu, wall = measured(act, given.rounds)
            print(f"{name:24}{cpu:8.2f}{wall:8.2f}{cpu - listing if lists else cpu:17.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
