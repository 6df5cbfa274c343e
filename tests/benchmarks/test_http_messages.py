"""Messages are found wherever the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.http_messages import HEAD_MAX, UNTIL_CLOSE, Messages, body_length, fields


@st.composite
def messages(draw) -> tuple[bytes, int]:
    """A message, and the bytes of its body."""
    body = draw(st.binary(max_size=300))
    if not draw(st.booleans()):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), len(body)
    size = draw(st.integers(1, 100))
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x;any=thing\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    trailer = draw(st.sampled_from([b"", b"x-amz-checksum: 1\r\n"]))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (chunks, trailer), len(body)


@given(st.lists(messages(), max_size=4), st.data())
def test_messages_are_found_however_they_are_cut(sent, data):
    stream = b"".join(message for message, _ in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    heads: list[str] = []

    def on_head(head: bytes) -> int:
        first, names = fields(head)
        heads.append(first)
        return body_length(names, UNTIL_CLOSE)

    found, begins = Messages(on_head), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        begins += [start + offset for offset in found.feed(memoryview(stream)[start:end])]
    expected, position = [], 0
    for message, _ in sent:
        expected.append(position)
        position += len(message)
    assert begins == expected
    assert heads == ["HTTP/1.1 200 OK"] * len(sent)
    assert found.body_bytes == sum(length for _, length in sent)


def test_a_body_without_a_length_goes_on_until_the_connection_ends():
    found = Messages(lambda _: UNTIL_CLOSE)
    assert found.feed(memoryview(b"HTTP/1.0 200 OK\r\n\r\nab")) == [0]
    assert found.feed(memoryview(b"HTTP/1.1 200 OK\r\n\r\n")) == []
    assert found.body_bytes == 21


def test_what_is_not_http_is_refused():
    with pytest.raises(ValueError, match="no end of an HTTP head"):
        Messages(lambda _: 0).feed(memoryview(bytes(HEAD_MAX)))
