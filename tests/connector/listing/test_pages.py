"""Long listings come in several parts at once, and are those of the serial chain."""

from __future__ import annotations

import asyncio
from bisect import bisect_right

import pytest
from fsspec.asyn import sync
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector import LakeFileSystem
from tierlake.connector.listing import pages
from tierlake.connector.listing.pages import PARTS_MAX, Listing

KEYS = tuple(f"t/d={day:03}/part-{part}" for day in range(40) for part in range(5))


class Server:
    """A store's listings; pages of ten keys, unless said otherwise."""

    def __init__(self, keys, *, per_page=10, by_entry=False, ignores_start=False):
        order = (lambda key: key.split("/")) if by_entry else (lambda key: key)
        self.keys, self.order = sorted(keys, key=order), order
        self.per_page, self.ignores_start = per_page, ignores_start
        self.requests, self.at_once, self.most = [], 0, 0

    async def call(self, operation, **parameters):
        assert operation == "list_objects_v2"
        self.requests.append(parameters)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        prefix, delimiter = parameters["Prefix"], parameters["Delimiter"]
        keys = [key for key in self.keys if key.startswith(prefix)]
        if (token := parameters.get("ContinuationToken")) is not None:
            keys = keys[int(token) :]
        elif (start := parameters.get("StartAfter")) and not self.ignores_start:
            keys = keys[bisect_right(keys, self.order(start), key=self.order) :]
        passed = int(token) if token is not None else len([k for k in self.keys if k.startswith(prefix)]) - len(keys)
        if delimiter:
            below = {(*key[len(prefix) :].partition("/")[::2], key) for key in keys}
            folders = sorted({f"{prefix}{name}/" for name, rest, key in below if key[len(prefix) + len(name) :]})
            files = [key for key in keys if "/" not in key[len(prefix) :]]
            return {
                "Contents": [{"Key": k, "Size": 1} for k in files],
                "CommonPrefixes": [{"Prefix": f} for f in folders],
            }
        page = keys[: self.per_page]
        more = {"NextContinuationToken": str(passed + len(page))} if len(page) < len(keys) else {}
        return {"Contents": [{"Key": key, "Size": 1} for key in page], "IsTruncated": bool(more), **more}


def listed(server, prefix="t/"):
    entries = asyncio.run(Listing(server.call, "bkt", prefix, "").entries())
    return [entry["name"].removeprefix("bkt/") for entry in entries]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr(pages, "_PAGE_KEYS", 10)


def test_a_short_listing_takes_no_other_requests():
    for count in (0, 1, 10, 20):
        server = Server(KEYS[:count])
        assert listed(server) == list(KEYS[:count])
        assert len(server.requests) == max(1, -(-count // 10))
        assert not any(request["Delimiter"] for request in server.requests)


@pytest.mark.parametrize("size", [1, 2])
def test_a_long_listing_takes_a_tenth_more_requests(size):
    keys = [f"t/d={day:04}/part-{part:02}" for day in range(365 * size) for part in range(27)]
    server, count = Server(keys, per_page=100), -(-len(keys) // 100)
    pages._PAGE_KEYS = 100
    assert listed(server) == keys
    assert len(server.requests) <= 1.1 * count
    assert PARTS_MAX - 2 <= server.most <= PARTS_MAX


@pytest.mark.parametrize(
    "keys",
    [
        KEYS,
        [f"t/year=2013/{key}" for key in KEYS],
        [*KEYS, *(f"t/d={day:03}/" for day in range(40))],
        [*KEYS, "t/d=020", "t/d=020.txt", "t/d=020-", "t/z", "t/d=0200/x"],
        [f"t/{number:04}" for number in range(300)],
        [*KEYS, *(f"t/d=030/{number:04}" for number in range(300))],
        [f"t/{c}/x{n}" for c in "aàéèz€😀\uffff~!" for n in range(40)],
        [*(f"t/e{day:03}/" for day in range(60)), *(f"t/d/{n:03}" for n in range(60))],
    ],
    ids=["days", "years", "marked folders", "names around the slash", "flat", "uneven", "not ascii", "empty folders"],
)
@pytest.mark.parametrize("how", [{}, {"by_entry": True}, {"ignores_start": True}], ids=["S3", "by entry", "no start"])
def test_the_keys_are_those_of_the_serial_chain(keys, how):
    assert listed(Server(keys, **how)) == sorted(keys)


names = st.text("ab-/!0", min_size=1, max_size=4)


@given(
    st.sets(st.lists(names, min_size=1, max_size=3).map(lambda parts: "t/" + "/".join(parts)), max_size=60),
    st.booleans(),
)
def test_any_keys_are_those_of_the_serial_chain(keys, by_entry):
    pages._PAGE_KEYS = 2
    assert listed(Server(keys, per_page=2, by_entry=by_entry)) == sorted(keys)


@pytest.fixture(params=["seaweedfs", "minio", "moto"])
def rig(request):
    return request.getfixturevalue(request.param)


@pytest.mark.each_value
def test_real_servers_begin_where_a_part_begins(rig, monkeypatch):
    """Pages of 7 keys stand for pages of 1000."""
    monkeypatch.setattr(pages, "_PAGE_KEYS", 7)
    fs, bucket = LakeFileSystem(**rig.storage_options, skip_instance_cache=True), rig.make_bucket()
    keys = [*(f"t/d={day:02}/x/{n}" for day in range(24) for n in range(6)), "t/d=05/", "t/d=05/y", "t/d=05/x/", "t/z"]
    try:
        for key in keys:
            rig.admin.put_object(Bucket=bucket, Key=key, Body=b"")
        call, starts = fs._call_s3, []

        async def few(operation, **parameters):
            starts.append(parameters.get("StartAfter"))
            return await call(operation, **parameters, **({} if parameters["Delimiter"] else {"MaxKeys": 7}))

        async def listing():
            return await Listing(few, bucket, "t/", "").entries()

        entries = sync(fs.loop, listing)
        assert [entry["name"] for entry in entries] == sorted(f"{bucket}/{key}" for key in keys)
        assert len([start for start in starts if start]) >= 3
        assert len(starts) <= -(-len(keys) // 7) + 1 + PARTS_MAX
    finally:
        rig.drop_bucket(bucket)


def test_no_prefix_is_none_at_all(fs, bucket):
    for name in ("a", "b/c"):
        fs.pipe_file(f"{bucket}/t/{name}", b"1")
    assert fs.find(f"{bucket}/t", prefix=None) == fs.find(f"{bucket}/t") == [f"{bucket}/t/a", f"{bucket}/t/b/c"]
    assert fs.find(f"{bucket}/t", prefix=None, maxdepth=1) == [f"{bucket}/t/a"]
