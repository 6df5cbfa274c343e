"""Whatever is in a key or a message: one line, in ASCII or in what a terminal shows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.observe.lines import Line
from tierlake.connector.observe.rendering import JsonLines, TextLines

ODD = st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "L", "P", "So")), max_size=20)


def line(message: str = "Request failed", **fields: object) -> Line:
    return Line(40, message, 1767604364.018233, fields)


@given(key=ODD, message=ODD)
def test_json_is_one_line_of_ascii_that_each_parser_reads(key: str, message: str) -> None:
    text = JsonLines()(line(message, key=key))
    assert text.isascii()
    assert text.isprintable()
    document = json.loads(text)
    expected = key.encode("utf-8", "backslashreplace").decode()
    assert document["key"] == expected
    document["key"].encode()  # no half of a surrogate pair


@given(key=ODD, message=ODD)
def test_text_is_one_line_that_a_terminal_only_shows(key: str, message: str) -> None:
    assert TextLines()(line(message, key=key)).isprintable()


@pytest.mark.parametrize(
    "key", ["a\nb", "a\r\nb", "\x1b[31mred", "a\u2028b", "\x9b31m", "\udc80", "\u202egnp.exe", "\0"]
)
def test_what_is_dangerous_is_spelled_out(key: str) -> None:
    spelled = repr(key)[1:-1]
    assert spelled in TextLines()(line(key, key=key))
    assert json.loads(JsonLines()(line(key, key=key)))["message"] == key.encode("utf-8", "backslashreplace").decode()


def test_the_fields_come_in_the_order_of_the_line() -> None:
    document = json.loads(JsonLines()(line(request_id="R1", operation="get_object")))
    assert list(document) == ["timestamp", "level", "message", "request_id", "operation"]
    assert document["timestamp"] == "2026-01-05T09:12:44.018233Z"
    assert datetime.fromisoformat(document["timestamp"]).utcoffset() == timedelta(0)
    assert document["level"] == "error"


def test_text_has_no_colours_where_nobody_sees_them() -> None:
    text = TextLines()(line(request_id="R1", key="a b"))
    assert text == "2026-01-05T09:12:44.018233Z [error    ] Request failed request_id=R1 key='a b'"
