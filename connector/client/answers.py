"""Answers that are what they should be: a server's, and not those of whatever else answers at its address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from botocore.parsers import ResponseParserError

from tierlake.connector.client.listing_parser import NOT_UNDERSTOOD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["has_requested_bytes", "understood"]

_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "copy_object": ("CopyObjectResult", "ETag"),
    "create_multipart_upload": ("UploadId",),
    "head_object": ("ContentLength",),
    "put_object": ("ETag",),
    "upload_part": ("ETag",),
    "upload_part_copy": ("CopyPartResult", "ETag"),
}
"""The member of an answer, with those around it, that the work after it rests on."""
_REQUIRED_OF_BODIES: Final = ("ContentLength", "ETag")
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_AFTER_PARSING: Final = frozenset({"botocore.handlers", "botocore.utils", "aiobotocore.utils"})


async def understood(operation: str, make: Callable[[], Awaitable[Any]]) -> Any:
    """Make a request by aiobotocore; its answer has what the caller rests on.

    Args:
        operation: Botocore's name of the operation.
        make: Makes the request.

    Raises:
        ResponseParserError: The answer makes no sense, or lacks a part.
    """
    try:
        response = await make()
    except NOT_UNDERSTOOD as error:
        if not isinstance(error, RecursionError) and not _is_of_the_answer(error):  # it follows redirects for ever
            raise
        raise ResponseParserError(f"{type(error).__name__}: {error}") from error
    missing = _missing(operation, response)
    if missing:
        if operation == "get_object":
            response["Body"].close()
        raise ResponseParserError(f"it has no {missing}")
    return response


def has_requested_bytes(request: Mapping[str, Any], response: Mapping[str, Any]) -> bool:
    """Whether the body of a `get_object` is the requested range: the bytes of another one would be taken for it.

    Args:
        request: The request's parameters.
        response: The response, by either engine.
    """
    asked = _RANGE.fullmatch(request.get("Range", ""))
    if asked is None:
        return True
    begin, end, suffix = (None if text is None else int(text) for text in asked.groups())
    length = int(response["ContentLength"])
    span = _CONTENT_RANGE.fullmatch(str(response.get("ContentRange") or ""))
    if span is None:  # the server knows no ranges: all of a short object
        return begin == 0 and (end is None or length <= end + 1)
    first, last, size = map(int, span.groups())
    expected = begin if begin is not None else max(0, size - (suffix or 0))
    return first == expected and first + length == last + 1 <= size and (end is None or last <= end)


def _missing(operation: str, response: Any) -> str | None:
    if operation == "get_object":
        return next((name for name in _REQUIRED_OF_BODIES if name not in response), None)
    part = response
    for name in _REQUIRED.get(operation, ()):
        part = part.get(name)
        if part is None or part == "":
            return name
    return None


def _is_of_the_answer(error: BaseException) -> bool:
    """Whether botocore failed at what it does with a parsed answer: keys of listings, regions of redirects."""
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return module in _AFTER_PARSING
