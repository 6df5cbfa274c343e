"""Probes of the connection: signatures, checksums, the clock, TLS, the region. See `connector.doctor.probes`."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from tierlake.connector.doctor.place import NO, YES

if TYPE_CHECKING:
    from tierlake.connector.doctor.place import Place

LARGEST_SKEW_SECONDS = 300
"""AWS refuses 15 minutes; https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed"""


async def presign(place: Place) -> str:
    """Whether a presigned URL is served without credentials, and one for another key is refused."""
    key = await place.put()
    url = await place.presigned(key)
    session = URLLib3Session(timeout=10)
    with contextlib.closing(session):
        good, other = (
            session.send(AWSRequest(method="GET", url=address).prepare()).status_code
            for address in (url, url.replace(key.rpartition("/")[2] + "?", "other?"))
        )
    return YES if (good, other) == (200, 403) else f"{NO}: {good}, another key {other}"


async def checksums(place: Place) -> str:
    """Which of the newer checksums a PUT may carry."""
    offered = ["CRC32", "SHA1", "SHA256"]  # CRC32C and CRC64NVME need the package awscrt
    taken = [
        name for name in offered if await place.takes("put_object", Key=place.key(), ChecksumAlgorithm=name) == YES
    ]
    return YES if taken == offered else f"{NO}: only {', '.join(taken) or 'none'}"


async def clock(place: Place) -> str:
    """Whether both clocks agree."""
    answer = await place.ask("head_bucket")
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not date:
        return "no Date header"
    seconds = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    return YES if abs(seconds) < LARGEST_SKEW_SECONDS else f"{NO}: the server is {seconds:+.0f} s from here"


async def tls(place: Place) -> str:
    """Whether requests travel over TLS."""
    return YES if urlsplit(place.endpoint).scheme == "https" else NO


async def region(place: Place) -> str:
    """Whether the bucket is in the region that requests are signed for."""
    location = (await place.ask("get_bucket_location")).get("LocationConstraint") or "us-east-1"
    return YES if location in {place.region, "auto"} else f"{NO}: the bucket is in {location}"
