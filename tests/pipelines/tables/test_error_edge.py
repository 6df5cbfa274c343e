"""What Rust says, in our words: the same sentence as from the other two clients, in one line, with a hint."""

import deltalake
import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError

from tests.readable import assert_readable
from tierlake.connector import LakeFileSystem
from tierlake.connector.client.rust_errors import from_rust, plain_text
from tierlake.connector.errors import (
    AccessDenied,
    BadCredentials,
    BucketNotFound,
    EndpointUnreachable,
    LakeError,
    ObjectNotFound,
    RequestRefused,
    ServerError,
    Throttled,
)
from tierlake.pipelines.tables.error_edge import in_words_of_ours

ARROW = "\n   \x1b[31m↳\x1b[0m "
PERFORMED = (
    f"Kernel error -> Generic S3 error{ARROW}Error performing GET http://h:1/b/t/0.json in 102.65ms, after 1 "
    f"retries, max_retries{ARROW}1, retry_timeout{ARROW}1s  - "
)


def answered(status, code="", message="no", more=""):
    body = (
        f'{ARROW}<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
    )
    body += "<RequestId>r-1</RequestId></Error>"
    return f"{PERFORMED}Server returned non-2xx status code{ARROW}{status}{body if code else ''}\n"


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (f"{PERFORMED}HTTP error{ARROW}error sending request{ARROW}Connection refused (os error 111)\n", 0, "listens"),
        (f"{PERFORMED}HTTP error{ARROW}error sending request{ARROW}dns error{ARROW}failed\n", 0, "no such host"),
        (f"{PERFORMED}HTTP error{ARROW}error sending request{ARROW}InvalidContentType\n", 0, "does not speak TLS"),
        (f"{PERFORMED}HTTP error{ARROW}operation timed out\n", 0, "no answer came in time"),
        (f"{PERFORMED}HTTP error{ARROW}error decoding response body\n", 0, "closed before the answer was whole"),
        (
            answered("403 Forbidden", "SignatureDoesNotMatch", "the &quot;signature&quot;"),
            BadCredentials,
            '"signature"',
        ),
        (answered("403 Forbidden", "AccessDenied"), AccessDenied, "GET by deltalake: no"),
        (answered("404 Not Found", "NoSuchBucket"), BucketNotFound, "does not exist: 'b'"),
        (answered("503 Service Unavailable", "SlowDown"), Throttled, "no"),
        (answered("500 Internal Server Error", "InternalError"), ServerError, "no"),
        (answered("502 Bad Gateway"), ServerError, "Bad Gateway"),
        (answered("400 Bad Request", "AuthorizationHeaderMalformed", "x", "<Region>r1</Region>"), RequestRefused, "x"),
        (
            f"Kernel error -> Generic S3 error{ARROW}Content-Length Header missing from response\n",
            ServerError,
            "no sense",
        ),
        ("Generic S3 error: Received redirect, an incorrectly configured region", RequestRefused, "redirect"),
        (f"Object at location t/x{ARROW}not found", ObjectNotFound, "Object at location"),
        ("Kernel error -> something new", ServerError, "a request by deltalake: something new"),
    ],
)
def test_what_rust_says(text, kind, says):
    told = from_rust(OSError(text), "b")
    assert_readable(told)
    assert type(told) is (kind or EndpointUnreachable)
    assert says in told.message
    for layer in ("Kernel error", "Generic S3", "max_retries", "ms,"):
        assert layer not in str(told)


def test_what_else_deltalake_says():
    told = from_rust(DeltaError("Invalid table\nversion: { \x1b[1m7 }"), "b")
    assert isinstance(told, LakeError)
    assert "\n" not in str(told)
    assert "\x1b" not in str(told)
    assert plain_text("a type list<item: string> of \x1b[31m<?xml?><a/>") == "a type list<item: string> of"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"endpoint_url": "http://127.0.0.1:1"}, EndpointUnreachable),
        ({"endpoint_url": "https://nosuch.invalid"}, EndpointUnreachable),
        ({"endpoint_url": "https"}, EndpointUnreachable),
        ({"secret": "wrong"}, BadCredentials),
        ({"key": "nobody"}, BadCredentials),
    ],
    ids=["refused", "unknown host", "no TLS", "secret", "key"],
)
def test_three_clients_agree(server, bucket, options, kind):
    if options.get("endpoint_url") == "https":
        options = {"endpoint_url": server.endpoint_url.replace("http://", "https://")}
    told = []
    for engine in ("native", "s3fs"):
        where = {**server.storage_options, **options, "engine": engine, "max_retries": 0}
        fs = LakeFileSystem(**where, skip_instance_cache=True)
        with pytest.raises(kind) as raised:
            fs.cat_file(f"{bucket}/t/_delta_log/_last_checkpoint")
        told.append(raised.value)
    quick = {"max_retries": "0", "retry_timeout": "1s"}
    with pytest.raises(kind) as raised, in_words_of_ours(f"{bucket}/t"):
        deltalake.DeltaTable(f"s3://{bucket}/t", storage_options={**fs.delta_options(), **quick})
    told.append(raised.value)
    for error in told:
        assert_readable(error)
        assert error.bucket == bucket
    assert len({error.hint for error in told}) == 1
    assert len({error.message.partition(": ")[2] for error in told}) == 1
    assert len({error.server_code for error in told}) == 1


def test_arrow_is_named():
    with pytest.raises(LakeError) as raised, in_words_of_ours("b/t"):
        raise pa.ArrowInvalid("two\nlines")
    assert_readable(raised.value)
    assert raised.value.message == "pyarrow: ArrowInvalid: two lines"
