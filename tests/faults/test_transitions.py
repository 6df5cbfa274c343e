"""A thousand transitions and a kill somewhere: each object is wholly before or after, and a second run ends it."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from fsspec.asyn import sync

from tests.faults.kills import fork_server
from tierlake.connector import LakeFileSystem
from tierlake.connector.objects.copied_version import COPIED_FROM

OBJECTS = 1000
AT_ONCE = 16
DEADLINE_SECONDS = 120
TO = {"seaweedfs": "STANDARD_IA", "minio": "REDUCED_REDUNDANCY"}
KEPT = ("ContentLength", "ContentType", "CacheControl", "Metadata", "ServerSideEncryption")


def key_of(number):
    return f"date=2013-01-{number % 28 + 1:02}/{number:04}.parquet"


def written(number):
    """What the object is, and stays."""
    return {
        "Body": f"bytes of {number} ".encode() * (number % 50 + 1),
        "ContentType": "application/vnd.apache.parquet",
        "CacheControl": f"max-age={number}",
        "Metadata": {"number": str(number)},
        "ServerSideEncryption": "AES256",
        "Tagging": f"number={number}&team=air",
    }


def for_all(function):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, range(OBJECTS)))


def _work(options, bucket, storage_class, done):
    """Moves all objects, several at once, and tells of each."""
    fs = LakeFileSystem(**options)

    async def move(number, limit):
        async with limit:
            await fs._transition(f"{bucket}/{key_of(number)}", storage_class=storage_class)
            done.send(number)

    async def move_all():
        limit = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(move(number, limit) for number in range(OBJECTS)))

    sync(fs.loop, move_all)


def run(server, bucket, kill_after=None):
    """The work in a process of its own, killed when so many are done; others are somewhere in the middle then."""
    context = fork_server()
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(server.storage_options, bucket, TO[server.name], writing))
    child.start()
    writing.close()
    finished = 0
    try:
        while finished != kill_after and reading.poll(DEADLINE_SECONDS):
            reading.recv()
            finished += 1
        child.kill()
    except EOFError:
        pass
    child.join(DEADLINE_SECONDS)
    assert (child.exitcode == 0) is (kill_after is None), child.exitcode
    return finished


@pytest.mark.soak
@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_a_killed_transition_is_before_or_after(server, make_bucket, versioned):
    bucket = make_bucket(versioned=versioned)
    admin = server.admin
    for_all(lambda number: admin.put_object(Bucket=bucket, Key=key_of(number), **written(number)))

    def state(number, *, was_killed=False):
        """The class, after everything else has been compared."""
        said = written(number)
        found = admin.get_object(Bucket=bucket, Key=key_of(number))
        assert found["Body"].read() == said["Body"]
        expected = {**said, "ContentLength": len(said["Body"])}
        assert {name: found[name] for name in KEPT} == {name: expected[name] for name in KEPT}
        tags = admin.get_object_tagging(Bucket=bucket, Key=key_of(number))["TagSet"]
        named = {tag["Key"]: tag["Value"] for tag in tags}
        if was_killed:  # between the deletion of what it was copied from and that of the name of that
            named.pop(COPIED_FROM, None)
        assert named == {"number": str(number), "team": "air"}
        return found.get("StorageClass", "STANDARD")

    limit = random.SystemRandom().randrange(1, OBJECTS - AT_ONCE)
    run(server, bucket, kill_after=limit)
    classes = for_all(partial(state, was_killed=True))
    assert set(classes) == {"STANDARD", TO[server.name]}, f"killed after {limit}"
    assert limit <= classes.count(TO[server.name]) < OBJECTS

    assert run(server, bucket) == OBJECTS
    assert set(for_all(state)) == {TO[server.name]}
    if versioned:
        pages = admin.get_paginator("list_object_versions").paginate(Bucket=bucket)
        assert not [version for page in pages for version in page["Versions"] if not version["IsLatest"]]
        assert not [page for page in pages if page.get("DeleteMarkers")]
