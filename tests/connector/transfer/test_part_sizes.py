"""Whatever its size, an object has 10,000 parts at the most, none of which is too small or too large."""

from __future__ import annotations

import itertools

import pytest

from tierlake.connector.transfer.part_sizes import (
    PART_BYTES,
    PART_BYTES_MAX,
    PARTS_MAX,
    next_part_bytes,
    part_bytes,
)

MIB, TIB = 1 << 20, 1 << 40


@pytest.mark.parametrize("chosen", [None, 5 * MIB, 50 * MIB])
@pytest.mark.parametrize("size", [0, 1, 80_000 * MIB, 80_000 * MIB + 1, 100 << 30, 5 * TIB])
def test_parts_of_a_known_size(size, chosen):
    part = part_bytes(size, chosen)
    assert -(-size // part) <= PARTS_MAX
    assert (chosen or PART_BYTES) <= part <= PART_BYTES_MAX
    if size <= 80_000 * MIB and chosen is None:
        assert part == PART_BYTES


@pytest.mark.parametrize("least", [5 * MIB, PART_BYTES, 50 * MIB, 5 << 30])
def test_parts_of_an_unknown_size_grow(least):
    sizes = [next_part_bytes(number, least) for number in range(1, PARTS_MAX + 1)]
    assert sizes[0] == least
    assert max(sizes) <= PART_BYTES_MAX
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(sizes))
    assert sum(sizes) >= 5 * TIB


def test_parts_stay_small_as_long_as_they_can():
    assert next_part_bytes(960, PART_BYTES) == PART_BYTES
    total = itertools.accumulate(next_part_bytes(number, PART_BYTES) for number in itertools.count(1))
    assert next(number for number, bytes_ in enumerate(total, 1) if bytes_ >= 100 << 30) < PARTS_MAX // 2
