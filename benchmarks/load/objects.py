"""What is in the store under load: objects of mixed sizes, whose bytes are known without keeping them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

KIB = 1024
SHARES = {4: 32, 16: 26, 64: 20, 256: 14, 1024: 6, 4096: 2}
"""Sizes in KiB, and how many of a hundred calls are for such an object."""
OBJECTS_OF_A_SIZE = 16
_STEP = 4099  # a prime: no two objects begin at the same place of a page
_NOISE = random.Random(7).randbytes(8 << 20)  # noqa: S311 - content, not a secret


@dataclass(frozen=True)
class Content:
    """The bytes of an object: a piece of the same noise for all.

    Attributes:
        number: Another one gives other bytes.
        size: In bytes.
    """

    number: int
    size: int

    @property
    def _begin(self) -> int:
        return self.number * _STEP % (len(_NOISE) - self.size)

    def __bytes__(self) -> bytes:
        return _NOISE[self._begin : self._begin + self.size]

    def has(self, data: bytes, begin: int, end: int) -> bool:
        """Whether a range of it is just these bytes; compares in place, as the reader's time is not to be ours."""
        return len(data) == end - begin and _NOISE.startswith(data, self._begin + begin)


def some_size(choice: random.Random) -> int:
    """A size in bytes, as often as it has its share."""
    return choice.choices(list(SHARES), list(SHARES.values()))[0] * KIB


@dataclass(frozen=True)
class Stored:
    """An object that is read.

    Attributes:
        key: In the bucket.
    """

    key: str
    content: Content


def stored() -> dict[int, list[Stored]]:
    """All objects that are read, by their size in bytes."""
    return {
        kib * KIB: [
            Stored(f"read/{kib:04}-kib/{one:03}.bin", Content(1 + line * OBJECTS_OF_A_SIZE + one, kib * KIB))
            for one in range(OBJECTS_OF_A_SIZE)
        ]
        for line, kib in enumerate(SHARES)
    }


def put(client: Any, bucket: str) -> None:
    """Put them there by a client of boto3."""
    for objects in stored().values():
        for one in objects:
            client.put_object(Bucket=bucket, Key=one.key, Body=bytes(one.content))
