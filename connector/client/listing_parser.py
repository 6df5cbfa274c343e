"""Listings as botocore parses them, in a fiftieth of the time.

A page of a listing is one element a thousand times. Botocore looks up the model of each field of each of them, and
leaves each time to a parser for any form of date: 100,000 keys take 15 s. Here the first element becomes a regular
expression that the elements after it match. Elements of another structure get expressions of their own. What is around
the elements, and every page with something unexpected in it, is left to botocore, so the values are the same.

Others' own parts that are named in this module: the methods `_timestamp_parser` and `_parse_xml_string_to_dom` of
botocore's parsers, `_defaults` of their factory, and the handler `_handle_200_error`, which parses each answer once
more.
"""

from __future__ import annotations

import asyncio
import functools
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiobotocore.parsers import AioResponseParserFactory, AioRestXMLParser
from botocore import handlers
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiobotocore.session import AioSession
    from botocore.model import OperationModel, Shape

LISTINGS = {
    "ListObjectVersions": "ListObjectVersionsOutput",
    "ListObjectsV2": "ListObjectsV2Output",
    "ListParts": "ListPartsOutput",
}
"""Operations, and the shapes of their answers."""
_SHAPES = frozenset(LISTINGS.values())
_LISTED = _SHAPES | {"ListBucketsOutput", "ListObjectsOutput", "ListMultipartUploadsOutput"}
_BEGINNING_BYTES = 1024
_ROOTS = (b"Result", b"<Error")
"""The names of the root element of a listing end with the first. Botocore takes any other document for an empty one."""
_LARGE_BYTES = 2**17
"""From this size on a page is parsed in a thread."""
_STRUCTURES_MAX = 64
"""The largest number of structures in one page; in practice there are one or two."""
NOT_UNDERSTOOD = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What botocore raises for values that are none of their type: numbers, times, elements."""
_SCALARS = frozenset({"boolean", "integer", "long", "string", "timestamp"})
_UTC = parse_timestamp("1970-01-01T00:00:00Z").tzinfo
"""Botocore's own, which is another object than `datetime.UTC`."""

_TAG = re.compile(r"<(/?)(\w+)>([^<]*)")
_OPENING, _EMPTY = re.compile(r"<[^/?!]"), re.compile(r"<[^<>?]*/>")
_NOT_XML = bytes({*range(32)} - {9, 10})
"""Bytes that XML refuses, and the carriage return, which a parser of XML changes."""
_REFUSED = (b"]]>", "\ufffe".encode(), "\uffff".encode())
_REFERENCE = re.compile("&([^;&\x00]*);?")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_NUMBER = re.compile(r"#(?:x([0-9a-fA-F]+)|([0-9]+))")
_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3,6})?Z", re.ASCII)


class _UnexpectedError(Exception):
    """The page has something that is left to botocore."""


@dataclass(frozen=True)
class _Field:
    """A field of an element.

    Args:
        path: Where its value goes: a member's name, or those of a structure and its member.
        kind: Botocore's name of its type.
        is_list: Whether it may be repeated.
    """

    path: tuple[str, ...]
    kind: str
    is_list: bool = False


@dataclass(frozen=True)
class _Element:
    """A repeated element of an answer.

    Args:
        member: The name of the list in the parsed answer.
        fields: The fields by the tags that lead to them.
    """

    member: str
    fields: dict[tuple[str, ...], _Field]


@dataclass(frozen=True)
class _Structure:
    """All elements with the same fields in the same order.

    Args:
        run: Matches any number of them.
        one: Matches one, its groups are the values.
        fields: The field of each group.
    """

    run: re.Pattern[str]
    one: re.Pattern[str]
    fields: tuple[_Field, ...]


class ListingParser(AioRestXMLParser):  # type: ignore[misc]  # aiobotocore ships no types
    """Aiobotocore's parser with another way for listings."""

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Parse an answer.

        Args:
            response: Its `body`, `headers`, `status_code` and `context`.
            shape: The model of the answer.
        """
        if shape is None or shape.name not in _SHAPES or response["status_code"] >= 300:  # noqa: PLR2004
            return await super().parse(response, shape)
        if len(response["body"]) < _LARGE_BYTES:
            page = self._page(response, shape)
        else:
            page = await asyncio.to_thread(self._page, response, shape)
        if page is None:
            if response["status_code"] == 200:  # noqa: PLR2004 -- what botocore's handler would have done
                handlers._handle_200_error(_Answer(shape), response)  # noqa: SLF001 -- see above
            return await super().parse(response, shape)
        around, entries = page
        parsed = await super().parse({**response, "body": around}, shape)
        parsed.update(entries)
        return parsed

    def _page(self, response: dict[str, Any], shape: Shape) -> tuple[bytes, dict[str, list[Any]]] | None:
        """What is around the elements, and the elements; None if all of it is left to botocore."""
        try:
            body = response["body"]
            if len(body.translate(None, _NOT_XML)) < len(body) or any(one in body for one in _REFUSED):
                return None
            around, found = _split(body.decode(), shape)
            around_bytes = around.encode()
            if _is_error(self, around_bytes):
                return None
            entries: dict[str, list[Any]] = {}
            for element, structure, values in found:
                entries.setdefault(element.member, []).extend(self._built(structure, values))
        except (_UnexpectedError, ResponseParserError, UnicodeError, ValueError, OverflowError, RuntimeError):
            return None
        return around_bytes, entries

    def _built(self, structure: _Structure, values: list[Any]) -> Iterator[dict[str, Any]]:
        """The elements of one structure, converted field by field."""
        rows = values if len(structure.fields) > 1 else [(value,) for value in values]
        columns = [
            self._converted(field.kind, list(column))
            for field, column in zip(structure.fields, zip(*rows, strict=True), strict=True)
        ]
        names = [field.path[0] for field in structure.fields]
        if len(set(names)) == len(names) and not any(
            field.is_list or len(field.path) > 1 for field in structure.fields
        ):
            return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return (_nested(structure.fields, row) for row in zip(*columns, strict=True))

    def _converted(self, kind: str, texts: list[str]) -> list[Any]:
        plain = _without_references(texts)
        if kind == "timestamp":
            times = {text: self._time(text) for text in set(plain)}
            return [times[text] for text in plain]
        if kind in {"integer", "long"}:
            return list(map(int, plain))
        return [text == "true" for text in plain] if kind == "boolean" else plain

    def _time(self, text: str) -> datetime:
        if _PLAIN_TIME.fullmatch(text):
            return datetime.fromisoformat(text[:-1]).replace(tzinfo=_UTC)
        parsed: datetime = self._timestamp_parser(text)
        return parsed


class AnswerParser(ListingParser):
    """A parser with one error for all answers that make no sense, where botocore has one a kind of nonsense."""

    async def parse(self, response: dict[str, Any], shape: Any) -> Any:
        """Parse an answer.

        Args:
            response: Its `body`, `headers`, `status_code` and `context`.
            shape: The model of the answer.

        Raises:
            ResponseParserError: It is no XML, a value in it is none of its type, or it is another kind of document.
        """
        if shape is not None and shape.name in _LISTED and response["status_code"] == 200:  # noqa: PLR2004
            beginning = response["body"][:_BEGINNING_BYTES]
            if not any(root in beginning for root in _ROOTS):
                raise ResponseParserError("it is no listing, but perhaps a web page")
        try:
            return await super().parse(response, shape)
        except NOT_UNDERSTOOD as error:
            raise ResponseParserError(f"{type(error).__name__}: {error}") from error


def _is_error(parser: ListingParser, around: bytes) -> bool:
    """Whether a server answered with an error in spite of its status."""
    return bool(parser._parse_xml_string_to_dom(around).tag == "Error")  # noqa: SLF001 -- its own, inherited


def _nested(fields: tuple[_Field, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for field, value in zip(fields, row, strict=True):
        inner = entry
        for name in field.path[:-1]:
            inner = inner.setdefault(name, {})
        if field.is_list:
            inner.setdefault(field.path[-1], []).append(value)
        else:
            inner[field.path[-1]] = value
    return entry


@functools.lru_cache(maxsize=16)
def _elements(shape: Shape) -> dict[str, _Element]:
    """The repeated elements of an answer, by their tags."""
    elements = {}
    for name, member in shape.members.items():
        if member.type_name == "list" and member.serialization.get("flattened"):
            tag = member.member.serialization.get("name") or member.serialization.get("name") or name
            if member.member.type_name == "structure":
                elements[tag] = _Element(name, dict(_fields(member.member, (), ())))
    return elements


def _fields(shape: Shape, tags: tuple[str, ...], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Field]]:
    for name, member in shape.members.items():
        inner = member.member if member.type_name == "list" else member
        tag = (inner.serialization.get("name") if inner is not member else None) or member.serialization.get("name")
        where, here = (*tags, tag or name), (*path, name)
        if member.type_name == "structure" and not tags:
            yield from _fields(member, where, here)
        elif inner.type_name in _SCALARS and (inner is member or member.serialization.get("flattened")):
            yield where, _Field(here, inner.type_name, is_list=inner is not member)


def _split(text: str, shape: Shape) -> tuple[str, list[tuple[_Element, _Structure, list[Any]]]]:
    """What is around the elements of a page, and their values.

    Args:
        text: The page.
        shape: The model of the answer.

    Raises:
        _UnexpectedError: The page has something that is left to botocore.
    """
    elements = _elements(shape)
    tags = "|".join(map(re.escape, elements))
    openings = re.compile(f"<({tags})>")
    first = openings.search(text)
    if first is None:
        raise _UnexpectedError
    head = text[: first.start()]
    if "<!" in head or len(_OPENING.findall(head)) - head.count("</") - len(_EMPTY.findall(head)) != 1:
        raise _UnexpectedError  # they are in a comment, or in another element
    position, found = first.start(), []
    structures: dict[tuple[str, str], _Structure] = {}
    while (opening := openings.match(text, position)) is not None:
        tag = opening[1]
        end = text.find(f"</{tag}>", position)
        signature = re.sub(">[^<]*</", "></", text[position : end + len(tag) + 3])
        if (tag, signature) not in structures and len(structures) == _STRUCTURES_MAX:
            raise _UnexpectedError
        structure = structures.setdefault((tag, signature), _structure(shape, tag, signature))
        stop = _end(structure.run, text, position)
        found.append((elements[tag], structure, structure.one.findall(text, position, stop)))
        position = stop
    if re.search(rf"<({tags})[\s/>]", head + text[position:]):
        raise _UnexpectedError  # elements in two places, or an empty one
    return head + text[position:], found


def _end(run: re.Pattern[str], text: str, position: int) -> int:
    match = run.match(text, position)
    if match is None or match.end() == position:
        raise _UnexpectedError
    return match.end()


@functools.lru_cache(maxsize=4 * _STRUCTURES_MAX)
def _structure(shape: Shape, element: str, signature: str) -> _Structure:
    """The expressions for a structure.

    Args:
        shape: The model of the answer.
        element: The tag of the elements.
        signature: One of them without its values.

    Raises:
        _UnexpectedError: It has something else than plain tags, or an unknown field with more in it.
    """
    known = _elements(shape)[element].fields
    pieces, fields, within, position = [], [], list[str](), 0
    names: set[tuple[str, ...]] = set()
    tags = list(_TAG.finditer(signature))
    for number, tag in enumerate(tags):
        if tag.start() != position or tag[3].strip(" \n\t"):
            raise _UnexpectedError
        position = tag.end()
        is_closing, name, space = tag[1], tag[2], tag[3]
        following = tags[number + 1] if number + 1 < len(tags) else None
        if is_closing:
            if not within or within.pop() != name:
                raise _UnexpectedError
            pieces.append(re.escape(f"</{name}>{space}"))
            continue
        within.append(name)
        is_leaf = following is not None and following[1] == "/"
        pieces.append(f"<{name}>" + ("" if is_leaf else re.escape(space)))
        where = tuple(within[1:])
        if is_leaf:
            field = known.get(where)
            pieces.append("([^<]*)" if field else "[^<&]*")
            fields += [field] if field else []
            if field and not field.is_list and where in names:
                raise _UnexpectedError  # a value twice
            names.add(where)
        elif (where and not any(path[:-1] == where for path in known)) or where in names:
            raise _UnexpectedError
        else:
            names.add(where)
    if within or position != len(signature) or not fields:
        raise _UnexpectedError
    one = "".join(pieces) + r"[ \n\t]*"
    return _Structure(re.compile(f"(?:{one.replace('([', '(?:[')})*+"), re.compile(one), tuple(fields))


def _without_references(texts: list[str]) -> list[str]:
    """Texts of XML in which references such as `&amp;` are replaced by what they stand for.

    Raises:
        _UnexpectedError: There is another reference.
    """
    joined = "\x00".join(texts)
    if "&" not in joined:
        return texts
    joined = joined.replace("&#34;", '"').replace("&quot;", '"')
    return (_REFERENCE.sub(_referenced, joined) if "&" in joined else joined).split("\x00")


def _referenced(reference: re.Match[str]) -> str:
    character = _ENTITIES.get(reference[1])
    if character is None:
        number = _NUMBER.fullmatch(reference[1])
        code = -1 if number is None else int(number[1], 16) if number[1] else int(number[2])
        is_xml = code in {9, 10, 13} or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000  # noqa: PLR2004
        if not is_xml:
            raise _UnexpectedError
        character = chr(code)
    if not reference[0].endswith(";"):
        raise _UnexpectedError
    return character


@dataclass(frozen=True)
class _Answer:
    """What botocore's handler asks of the model of an operation."""

    output_shape: Any
    has_event_stream_output: bool = False


class _Factory(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore ships no types
    """Makes parsers."""

    def create_parser(self, protocol_name: str) -> Any:
        """A parser for a protocol."""
        return AnswerParser(**self._defaults) if protocol_name == "rest-xml" else super().create_parser(protocol_name)


def _unless_listing(operation_model: OperationModel, response_dict: dict[str, Any], **kwargs: Any) -> None:
    """Botocore's look for an error in an answer of status 200; a listing's parser looks itself."""
    if operation_model.name not in LISTINGS:
        handlers._handle_200_error(operation_model, response_dict, **kwargs)  # noqa: SLF001 -- see above


def parse_listings_fast(session: AioSession) -> None:
    """Make a session's clients parse listings in the fast way.

    Args:
        session: The session, before it makes a client.
    """
    session.register_component("response_parser_factory", _Factory())
    session.unregister("before-parse.s3.*", handlers._handle_200_error)  # noqa: SLF001 -- see above
    session.get_component("event_emitter").register_first("before-parse.s3.*", _unless_listing)
