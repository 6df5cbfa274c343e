"""All keys below a prefix, with sizes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients
from benchmarks.model import Contender, Target, Work

if TYPE_CHECKING:
    from benchmarks.model import Act, Options, Place

PREFIX = "keys/"
FOLDERS = 100
AT_ONCE = 64


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """Put small objects into folders."""
    sizes = {f"{PREFIX}{number % FOLDERS:03}/{number:07}": number % 50 + 1 for number in range(options.keys)}
    asyncio.run(_put(clients.obstore(place), sizes))
    return {"path": f"{place.bucket}/{PREFIX}", "keys": f"{options.keys:,}", "answer": answers.listed(sizes.values())}


async def _put(store: Any, sizes: dict[str, int]) -> None:
    remaining = iter(sizes.items())

    async def put() -> None:
        for key, size in remaining:
            await store.put_async(key, b"x" * size)

    await asyncio.gather(*(put() for _ in range(AT_ONCE)))


def tierlake(place: Place) -> Act:
    """`find(detail=True)`."""
    return _find(clients.lake(place), place.facts["path"])


def s3fs(place: Place) -> Act:
    """`find(detail=True)`."""
    return _find(clients.s3fs(place), place.facts["path"])


def _find(filesystem: Any, path: str) -> Act:
    def act(_: str) -> object:
        filesystem.invalidate_cache()
        return filesystem.find(path, detail=True)

    return act


def obstore(place: Place) -> Act:
    """`obstore.list`."""
    import obstore as package

    store = clients.obstore(place)
    return lambda _: package.list(store, PREFIX).collect()


def pyarrow(place: Place) -> Act:
    """`get_file_info` of a recursive selector."""
    from pyarrow.fs import FileSelector

    filesystem = clients.arrow(place)
    selector = FileSelector(place.facts["path"].rstrip("/"), recursive=True)
    return lambda _: filesystem.get_file_info(selector)


def boto3(place: Place) -> Act:
    """A paginator."""
    client = clients.boto3(place)

    def act(_: str) -> object:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=PREFIX)
        return [entry for page in pages for entry in page["Contents"]]

    return act


def s5cmd(place: Place) -> Act:
    """`s5cmd ls`, whose lines are read."""

    def act(_: str) -> object:
        lines = clients.s5cmd(place, "--json", "ls", f"s3://{place.facts['path']}*").splitlines()
        return [json.loads(line) for line in lines]

    return act


WORK = Work(
    "listing",
    "{keys} keys with sizes",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("s3fs", s3fs, ("s3fs",)),
        Contender("obstore", obstore, ("obstore",)),
        Contender(
            "pyarrow",
            pyarrow,
            ("pyarrow",),
            lambda entries: answers.listed(entry.size for entry in entries if entry.is_file),
        ),
        Contender("boto3", boto3, ("boto3",), lambda entries: answers.listed(entry["Size"] for entry in entries)),
        Contender("s5cmd", s5cmd, ("s5cmd",)),
    ),
    (Target(1.2, ("obstore",)),),
    answer=lambda entries: answers.listed(
        entry["size"] for entry in (entries.values() if isinstance(entries, dict) else entries)
    ),
)
