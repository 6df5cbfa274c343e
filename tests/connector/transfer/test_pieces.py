"""Pieces of many objects: many at once, no more bytes than there is room for, and an end whatever happens."""

import threading

import pytest

from tierlake.connector.errors import ObjectNotFound
from tierlake.connector.transfer import pieces as module
from tierlake.connector.transfer.pieces import Group, Pieces, Span

KIB = 1 << 10


@pytest.fixture
def names(fs, bucket):
    paths = [f"{bucket}/{number}" for number in range(20)]
    for number, path in enumerate(paths):
        fs.pipe_file(path, bytes([number]) * KIB)
    return paths


def all_of(pieces):
    taken = {}
    while (one := pieces.take()) is not None:
        taken[one.number] = one
        pieces.release(one)
    return taken


def test_groups_come_whole(fs, names):
    groups = [Group((Span(path), Span(path, 10, 30), Span(path, -5)), 3 * KIB) for path in names]
    with Pieces(fs.store, groups, memory_bytes=100 * KIB) as pieces:
        taken = all_of(pieces)
    for number, path in enumerate(names):
        content = fs.cat_file(path)
        assert [bytes(piece.data) for piece in taken[number].pieces] == [content, content[10:30], content[-5:]]
        assert {piece.size for piece in taken[number].pieces} == {KIB}


@pytest.mark.parametrize(("room", "most"), [(4, 4), (0, 1)])
def test_bytes_that_wait_are_bounded(fs, names, monkeypatch, room, most):
    begun, released, peaks = 0, 0, []
    fetch = module.fetch

    async def counted(*args, **options):
        nonlocal begun
        begun += 1
        peaks.append(begun - released)
        return await fetch(*args, **options)

    monkeypatch.setattr(module, "fetch", counted)
    groups = [Group((Span(path),), KIB) for path in names]
    with Pieces(fs.store, groups, memory_bytes=room * KIB) as pieces:
        while (one := pieces.take()) is not None:
            released += 1
            pieces.release(one)
    assert released == len(names)
    assert max(peaks) <= most


def test_so_many_requests_are_under_way(fs, names, monkeypatch):
    under_way, peaks = 0, []
    fetch = module.fetch

    async def counted(*args, **options):
        nonlocal under_way
        under_way += 1
        peaks.append(under_way)
        try:
            return await fetch(*args, **options)
        finally:
            under_way -= 1

    monkeypatch.setattr(module, "fetch", counted)
    groups = [Group((Span(path), Span(path, 5)), KIB) for path in names]
    with Pieces(fs.store, groups, memory_bytes=100 * KIB, at_once=3) as pieces:
        assert len(all_of(pieces)) == len(names)
    assert max(peaks) == 3


def test_a_failure_is_of_its_group(fs, names):
    missing = Group((Span(names[0]), Span(f"{names[0]}-not")), KIB)
    with Pieces(fs.store, [missing, Group((Span(names[1]),), KIB)], memory_bytes=KIB) as pieces:
        taken = all_of(pieces)
    assert isinstance(taken[0].failure.error, ObjectNotFound)
    assert (taken[0].failure.span.path, taken[0].pieces) == (f"{names[0]}-not", ())
    assert bytes(taken[1].pieces[0].data) == fs.cat_file(names[1])


def test_it_ends_while_others_wait(fs, names):
    groups = [Group((Span(path),), KIB) for path in names]
    seen = []
    with Pieces(fs.store, groups, memory_bytes=KIB) as pieces:  # nothing is released: the second is never begun
        readers = [threading.Thread(target=lambda: seen.append(pieces.take())) for _ in range(3)]
        for reader in readers:
            reader.start()
        while not seen:
            pass
        pieces.stop()
        for reader in readers:
            reader.join(10)
            assert not reader.is_alive()
    assert sum(one is not None for one in seen) == 1
    assert pieces.take() is None


def test_no_groups(fs):
    with Pieces(fs.store, [], memory_bytes=KIB) as pieces:
        assert pieces.take() is None


def test_an_end_before_the_beginning(fs, names):
    for _ in range(20):
        with Pieces(fs.store, [Group((Span(names[0]),), KIB)], memory_bytes=KIB):
            pass


def test_an_asynchronous_filesystem_has_no_blocking_reads(server):
    import fsspec

    other = fsspec.filesystem("lake", skip_instance_cache=True, asynchronous=True, **server.storage_options)
    with pytest.raises(RuntimeError, match="asynchronous"):
        Pieces(other.store, [], memory_bytes=0)
