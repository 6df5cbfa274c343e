"""The sizes of an upload's parts: S3 takes 10,000 parts of 5 MiB to 5 GiB, and objects of up to 5 TiB.

The numbers: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

from typing import Final

_MIB: Final = 1 << 20
_PART_BYTES_MIN: Final = 5 * _MIB
PART_BYTES_MAX: Final = 5 << 30
"""S3's limit for a part, and for an object that is written by one request."""
PARTS_MAX: Final = 10_000
PART_BYTES: Final = 8 * _MIB
"""The usual size, which is boto3's too: larger parts only hold more memory."""
PARTS_BESIDE_OTHERS: Final = 2
"""How many parts are in progress, and in memory, of an upload that is one of several: enough to read one meanwhile."""
_GROWS_AFTER: Final = 960
"""Parts of 5 MiB that double after each 960 hold 6.6 TiB together."""


def part_bytes(size: int, chosen: int | None = None) -> int:
    """The size of all parts but the last, for an upload of known size.

    Args:
        size: The size of the object in bytes.
        chosen: The smallest size of a part; None is `PART_BYTES`.
    """
    return max(chosen or PART_BYTES, -(-size // PARTS_MAX))


def next_part_bytes(number: int, least: int) -> int:
    """The size of one part of an upload whose size is not known yet: parts grow as the upload gets longer.

    Args:
        number: The part's number, from 1.
        least: The size of the first part.
    """
    return min(PART_BYTES_MAX, max(least, _PART_BYTES_MIN << (number - 1) // _GROWS_AFTER))
