"""Parts of objects: what s3fs gives, at the end and behind it too, but never the whole where nothing is asked for."""

from __future__ import annotations

import errno

import pytest
import s3fs

pytestmark = pytest.mark.each_value

DATA = b"0123456789"
STARTS = (None, 0, 3, 9, 10, 12, -1, -10, -12)
ENDS = (None, 0, 3, 9, 10, 12, -1, -10, -12)


@pytest.fixture
def s3(server):
    options = {"endpoint_url": server.endpoint_url, "key": server.key, "secret": server.secret}
    return s3fs.S3FileSystem(**options, skip_instance_cache=True)


def outcome(fs, path, start, end):
    try:
        return fs.cat_file(path, start=start, end=end)
    except OSError as error:
        return error.errno


@pytest.mark.parametrize("size", [0, 10])
def test_ranges(fs, s3, bucket, size):
    data = DATA[:size]
    fs.pipe_file(f"{bucket}/x", data)
    refused = set()
    for start in STARTS:
        for end in ENDS:
            found = outcome(fs, f"{bucket}/x", start, end)
            if found == errno.EINVAL:
                refused.add((start, end))
                assert outcome(s3, f"{bucket}/x", start, end) == errno.EINVAL, (start, end)
            else:
                assert found == data[start:end], (start, end)
    behind = {(start, end) for start in (10, 12) for end in (None, 12) if end is None or end > start}
    assert behind <= refused
    assert all((start or 0) >= size or size == 0 for start, _ in refused)


def test_a_range_of_nothing_needs_an_object(fs, bucket):
    for start, end in ((0, 0), (3, 3), (5, 3), (-3, -5)):
        with pytest.raises(FileNotFoundError):
            fs.cat_file(f"{bucket}/nothing", start=start, end=end)


def test_many_ranges(fs, bucket):
    fs.pipe_file(f"{bucket}/x", DATA)
    path = f"{bucket}/x"
    found = fs.cat_ranges([path] * 4, [0, 5, 8, 12], [0, 8, 20, 20])
    assert found[:3] == [b"", b"567", b"89"]
    assert isinstance(found[3], OSError)
