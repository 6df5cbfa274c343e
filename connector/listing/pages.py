"""What a store lists below a prefix: page after page, and long listings in several parts at once.

Each page names the next one, so a listing of 100 pages takes 100 round trips. Behind the second page we look at the
names of the folders, by one request, and list several ranges of keys at once. Each of them may read one page beyond
its end, so it has as many folders as fill whole pages: 100 pages take at most 110 requests, and up to two no more.

A range begins in a folder, after the key `folder/` itself, and ends with another such key. Not every server sorts as S3
does, by the bytes of whole keys: SeaweedFS lists `b/1` before `b-x`. Where the names beside each other would be
sorted in another way without their slashes, and where a range does not begin with a key in its folder, the pages are
read one after another.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.listing.committed import folder_info

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PARTS_MAX = 8
"""The largest number of parts of a listing; each needs its own requests."""
SERIAL_PAGES = 2
_PAGES_EACH = 3
"""A part is worth its last page, which may be read for nothing, if it has so many."""
_PAGE_KEYS = 1000
_SPARE = 1.07
"""How many requests more are no matter, to have more parts."""
_LEVELS_MAX = 3
"""The largest number of looks at the names of folders."""
_LARGE_ENTRIES = 10_000

by_name = itemgetter("name")


@dataclass
class Listing:
    """The keys below a prefix, in the order of their names.

    Args:
        call: Makes a request, as `Store.call`.
        bucket: The bucket.
        prefix: What the keys begin with.
        delimiter: `/` to show folders instead of what is in them; empty for all keys.
        options: Further parameters of the requests.
    """

    call: Callable[..., Awaitable[dict[str, Any]]]
    bucket: str
    prefix: str
    delimiter: str
    options: dict[str, Any] = field(default_factory=dict)

    async def entries(self) -> list[dict[str, Any]]:
        """The entries in s3fs's form, sorted by name."""
        chain = _Part(self)
        while not chain.is_over and (self.delimiter or chain.pages < SERIAL_PAGES):
            await chain.read_page()
        parts = [chain]
        if not chain.is_over:
            bounds = await self._bounds(chain)
            chain.end = bounds[0] if bounds else None
            parts += [_Part(self, start, end) for start, end in pairwise([*bounds, None])]
            await in_order(_Part.read, parts, at_once=PARTS_MAX)
            if not all(part.is_right for part in parts):  # the server has its own idea of an order, or of a beginning
                parts, chain.end = [chain], None
                await chain.read()
        entries = [entry for part in parts for entry in part.kept()]
        if len(entries) < _LARGE_ENTRIES:
            entries.sort(key=by_name)
        else:
            await asyncio.to_thread(entries.sort, key=by_name)
        return entries

    async def page(self, **parameters: Any) -> dict[str, Any]:
        """One page."""
        return await self.call("list_objects_v2", Bucket=self.bucket, **{**self.options, **parameters})

    async def _bounds(self, chain: _Part) -> list[str]:
        """The folders, behind what is listed already, in which further parts begin."""
        last = chain.last
        names: list[str] = []
        prefix, keys_each = self.prefix, 0.0
        for _ in range(_LEVELS_MAX):
            page = await self.page(Prefix=prefix, Delimiter="/")
            folders = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
            if not _is_sorted_alike([*folders, *(one["Key"] for one in page.get("Contents", ()))]):
                return []
            behind = [one for one in folders if one > last and one.endswith("/")]
            within = next((one for one in folders if last.startswith(one)), None)
            if behind:
                keys_each = self._keys_each(chain, len(folders) - len(behind), within)
            names = [*behind, *names]
            if len(names) >= PARTS_MAX or within is None:
                break
            prefix = within
        step = _step(len(names), keys_each)
        return names[step - 1 :: step] if step < len(names) else []

    def _keys_each(self, chain: _Part, passed: int, within: str | None) -> float:
        """The number of keys in a folder, of those that are listed to their end, if there are any."""
        start = f"{self.bucket}/{within}"
        whole = sum(not entry["name"].startswith(start) for entry in chain.found)
        return whole / (passed - 1) if within is not None and passed > 1 else len(chain.found) / max(passed, 1)


def _step(folders: int, keys_each: float) -> int:
    """How many folders are in a part: as many as fill whole pages, or all of them if parts are not worth it."""
    pages = folders * keys_each / _PAGE_KEYS
    count = min(PARTS_MAX - 1, int(pages / _PAGES_EACH))
    if count < 2:  # noqa: PLR2004
        return folders
    least = math.ceil(pages / count)
    full = (int(size * _PAGE_KEYS / keys_each) for size in range(least, 2 * least))
    steps = [max(step, math.ceil(folders / (PARTS_MAX - 1))) for step in full]
    requests = {step: math.ceil(folders / step) * math.ceil(step * keys_each / _PAGE_KEYS) for step in steps}
    fewest = min(steps, key=lambda step: requests[step])
    return next((step for step in steps if requests[step] <= _SPARE * pages), fewest)


def _is_sorted_alike(names: list[str]) -> bool:
    """Whether names are in the same order with and without the slashes at their ends."""
    return sorted(names) == sorted(names, key=lambda name: (name.removesuffix("/"), name))


@dataclass
class _Part:
    """A range of the keys.

    Args:
        listing: What it is a part of.
        start: The folder in which it begins, with its slash; None is the beginning.
        end: The last key that may be in it; None is the end.
    """

    listing: Listing
    start: str | None = None
    end: str | None = None
    pages: int = 0
    is_over: bool = False
    is_right: bool = True
    last: str = ""
    found: list[dict[str, Any]] = field(default_factory=list)
    _token: str | None = None

    async def read(self) -> None:
        """Read the pages to the end."""
        while not self.is_over and self.is_right and (self.end is None or self.last <= self.end):
            await self.read_page()

    async def read_page(self) -> None:
        """Read the next page."""
        listing = self.listing
        parameters = {"Prefix": listing.prefix, "Delimiter": listing.delimiter}
        if self._token is not None:
            parameters["ContinuationToken"] = self._token
        elif self.start is not None:
            parameters["StartAfter"] = self.start
        page = await listing.page(**parameters)
        contents, bucket = page.get("Contents", []), listing.bucket
        if self.pages == 0 and self.start is not None:
            first = contents[0]["Key"] if contents else ""
            self.is_right = first.startswith(self.start) and first != self.start
        if contents:
            self.last = contents[-1]["Key"]
        for entry in contents:
            entry["name"] = entry["Key"] = f"{bucket}/{entry['Key']}"
            entry["type"] = "file"
            entry["size"] = entry["Size"]
        self.found += contents
        self.found += [folder_info(f"{bucket}/{one['Prefix'][:-1]}") for one in page.get("CommonPrefixes", ())]
        self.pages += 1
        self.is_over = not page.get("IsTruncated")
        self._token = page.get("NextContinuationToken")

    def kept(self) -> list[dict[str, Any]]:
        """The entries up to the end of the range."""
        if self.end is None:
            return self.found
        end = f"{self.listing.bucket}/{self.end}"
        return [entry for entry in self.found if entry["name"] <= end]
