"""A server's answers are understood as they are, or refused: what stands at an endpoint may be no S3 server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.case import SECRET, SOAK_EXAMPLES, check_error
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.one_answer import OneAnswer
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import LakeError, ServerError

OBJECT = "bucket/d/x"
HEADERS = {
    "Date": "Fri, 02 Jan 2026 03:04:05 GMT",
    "Server": "AmazonS3",
    "x-amz-request-id": "request",
    "ETag": '"abc"',
    "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT",
    "Content-Range": "bytes 0-4/5",
    "x-amz-version-id": "version",
    "x-amz-storage-class": "GLACIER",
    "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 23 Dec 2026 00:00:00 GMT"',
    "x-amz-object-lock-retain-until-date": "2026-01-02T03:04:05Z",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-mp-parts-count": "3",
    "Location": "/x",
}
VALUES = (
    *("", "x", "-1", "NaN", "1e9", "9" * 20, "9" * 5000, "bytes 0-99999999999/99999999999", "bytes */*", "bytes 5-0/5"),
    *("bytes 0-4/*", "bytes 3-4/5", "bytes 0-9/5", "٣", "Fri, 99 Foo 99999 99:99:99 XXX", "Thu, 01 Jan 1970 00:00:00"),
    *("\x01\x1b[2J", "é", "2026-13-45T00:00:00Z", "0001-01-01T00:00:00+23:59", "gzip", '"', "true"),
)
STATUS = (
    *("200 OK", "200 OK", "200 OK", "206 Partial Content", "206 Partial Content", "204 No Content", "300 Choices"),
    *("301 Moved", "304 Not Modified", "307 Redirect", "400 Bad", "403 Forbidden", "404 Not Found", "412 Failed"),
    *("416 Range", "500 Failed", "503 Slow Down"),
)
ENTRY = "<LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;abc&quot;</ETag>"
LISTING = (
    "<ListBucketResult><Name>bucket</Name><Prefix>d/</Prefix><IsTruncated>false</IsTruncated>"
    f"<EncodingType>url</EncodingType><Contents><Key>d/x</Key>{ENTRY}<Size>5</Size></Contents>"
    "<CommonPrefixes><Prefix>d/e/</Prefix></CommonPrefixes></ListBucketResult>"
)
VERSIONS = (
    "<ListVersionsResult><Name>bucket</Name><IsTruncated>false</IsTruncated><Version><Key>d/x</Key>"
    f"<VersionId>v</VersionId><IsLatest>true</IsLatest>{ENTRY}<Size>5</Size></Version></ListVersionsResult>"
)
DELETED = "<DeleteResult><Error><Key>d/x</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
COPIED = f"<CopyObjectResult>{ENTRY}</CopyObjectResult>"
REFUSED = "<Error><Code>NoSuchKey</Code><Message>gone</Message><RequestId>r</RequestId></Error>"
VERSIONING = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
BUCKETS = "<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>"

VERBS: dict[str, tuple[str, Callable[[LakeFileSystem], Any]]] = {
    "ls": (LISTING, lambda fs: fs.ls("bucket/d", refresh=True)),
    "find": (LISTING, lambda fs: fs.find("bucket/d", refresh=True)),
    "info": ("", lambda fs: fs.info(OBJECT, refresh=True)),
    "cat_file": ("hello", lambda fs: fs.cat_file(OBJECT)),
    "a range": ("hello", lambda fs: fs.cat_file(OBJECT, start=0, end=5)),
    "read_with_etag": ("hello", lambda fs: fs.read_with_etag(OBJECT)),
    "open": ("hello", lambda fs: fs.open(OBJECT, "rb").read()),
    "server_time": ("", lambda fs: fs.server_time("bucket")),
    "restore_status": ("", lambda fs: fs.restore_status(OBJECT)),
    "object_versions": (VERSIONS, lambda fs: fs.object_versions("bucket/d/")),
    "rm": (DELETED, lambda fs: fs.rm([OBJECT, f"{OBJECT}2"])),
    "copy": (COPIED, lambda fs: fs.copy(OBJECT, "bucket/d/z")),
    "transition": (COPIED, lambda fs: fs.transition(OBJECT, storage_class="STANDARD_IA")),
    "pipe_file": ("", lambda fs: fs.pipe_file(OBJECT, b"1")),
    "put_if": ("", lambda fs: fs.put_if(OBJECT, b"1", if_none_match=True)),
    "has_versions": (VERSIONING, lambda fs: fs.has_versions("bucket")),
    "exists": (REFUSED, lambda fs: fs.exists(OBJECT)),
    "buckets": (BUCKETS, lambda fs: fs.ls("", refresh=True)),
}


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes]:
    """A verb, and an answer to all of its requests: a real one with something wrong."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    status = draw(st.sampled_from(STATUS))
    body = (VERBS[verb][0] if status.startswith("2") else REFUSED).encode()
    headers = dict(HEADERS)
    for name in draw(st.sets(st.sampled_from(sorted(HEADERS)), max_size=6)):
        del headers[name]
    if headers and draw(st.booleans()):
        headers[draw(st.sampled_from(sorted(headers)))] = draw(st.sampled_from(VALUES))
    if draw(st.booleans()):
        body = draw(mutated_bytes(body)) if body else draw(st.binary(max_size=20))
    length = draw(st.sampled_from([str(len(body))] * 5 + ["", "-1", "x", "3"]))
    if length:
        headers["Content-Length"] = length
    whole = answer(status, headers, b"" if verb in {"info", "server_time", "restore_status"} else body)
    return verb, draw(mutated_bytes(whole)) if draw(st.integers(0, 9)) == 0 else whole


def answer(status: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n".encode() + body


@pytest.fixture
def server() -> Iterator[OneAnswer]:
    with OneAnswer() as server:
        yield server


@pytest.fixture
def fs(server: OneAnswer) -> LakeFileSystem:
    patience = {"max_retries": 0, "retry_seconds": 0, "read_timeout": 2, "view_freshness": 0}
    secret = {"key": "AKIAEXAMPLE", "secret": SECRET, "profile": "aws"}
    return fsspec.filesystem("lake", skip_instance_cache=True, endpoint_url=server.url, **secret, **patience)


def check(server: OneAnswer, fs: LakeFileSystem, examples: int, *, same: bool) -> None:
    @settings(
        max_examples=examples, derandomize=same, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(answers())
    def one(given_answer: tuple[str, bytes]) -> None:
        verb, server.answer = given_answer
        try:
            VERBS[verb][1](fs)
        except LakeError as error:
            check_error(error, "")

    one()


@pytest.mark.filterwarnings("ignore:Unclosed")  # aiohttp's, of connections whose answer it could not read
def test_an_answer_is_understood_or_refused(server, fs):
    check(server, fs, 60, same=True)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:Unclosed")
def test_an_answer_is_understood_or_refused_for_long(server, fs):
    check(server, fs, SOAK_EXAMPLES, same=False)


@pytest.mark.parametrize("span", ["bytes 3-7/9", "bytes 0-9/10", "bytes 0-4/4", "bytes 0-3/9"])
def test_other_bytes_than_the_requested_ones_are_no_answer(server, fs, span):
    server.answer = answer("206 Partial Content", HEADERS | {"Content-Range": span, "Content-Length": "5"}, b"hello")
    with pytest.raises(ServerError, match="the answer has"):
        fs.cat_file(OBJECT, start=0, end=5)


def test_a_page_of_a_proxy_is_no_listing(server, fs):
    page = b"<!doctype html><html><body>Please sign in</body>"
    server.answer = answer("200 OK", {"Content-Length": str(len(page))}, page)
    with pytest.raises(ServerError) as caught:
        fs.ls("bucket/d", refresh=True)
    assert caught.value.bucket == "bucket"


def test_a_time_that_is_none_is_no_value(server, fs):
    server.answer = answer("200 OK", HEADERS | {"Last-Modified": "yesterday", "Content-Length": "5"})
    with pytest.raises(ServerError, match="makes no sense.*may be no S3 server") as caught:  # noqa: RUF043 - a pattern
        fs.info(OBJECT, refresh=True)
    assert (caught.value.bucket, caught.value.key) == ("bucket", "d/x")


def test_a_redirect_onto_itself_ends(server, fs):
    server.answer = answer("307 Temporary Redirect", HEADERS | {"Location": f"{server.url}/{OBJECT}"})
    with pytest.raises(LakeError):
        fs.info(OBJECT, refresh=True)


@pytest.mark.parametrize("date", ["yesterday", "Fri, 99 Foo 99999 99:99:99 XXX"])
def test_the_clock_is_not_guessed(server, fs, date):
    server.answer = answer("200 OK", HEADERS | {"Date": date, "Content-Length": "0"})
    with pytest.raises(ServerError, match="no date"):
        fs.server_time("bucket")
