"""Look-ups in the caches of the connector are counted."""

from __future__ import annotations

from collections import Counter

from tests.observed import recording
from tierlake.connector.observe import Count


def lookups(recorder):
    counted = Counter()
    for one in recorder.events:
        if isinstance(one, Count) and one.name == "cache_count":
            counted[one.labels["cache"], one.labels["result"]] += one.amount
    return counted


def test_listings(fs, bucket):
    fs.pipe_file(f"{bucket}/folder/a", b"1")
    with recording() as recorder:
        fs.ls(f"{bucket}/folder")
        fs.ls(f"{bucket}/folder")
    assert lookups(recorder) == {("listing", "miss"): 1, ("listing", "hit"): 1}


def test_open_files(fs, bucket):
    fs.pipe_file(f"{bucket}/large", bytes(4 << 20))
    with recording() as recorder, fs.open(f"{bucket}/large", "rb") as file:
        file.read(10)  # came when it was opened
        file.seek(3 << 20)
        file.read(10)
        file.close()
    assert lookups(recorder) == {("parquet", "hit"): 1, ("parquet", "miss"): 1}
