"""A bucket's plan: how it differs from its spec, item by item, and how to apply the spec.

::

    plan = plan_bucket(fs, BucketSpec(bucket="warehouse", versioning=True))
    print(plan)              # what would be done, and what this server lacks
    plan.apply()             # twice is a no-op

Reading a bucket needs an administrator's rights. If an aspect cannot be read, nothing is changed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

from tierlake.connector.bucket.access import ownership, public_access
from tierlake.connector.bucket.cors import cors
from tierlake.connector.bucket.items import Item, Part, Site
from tierlake.connector.bucket.lifecycle import lifecycle
from tierlake.connector.bucket.minio_tier import remote_tier_part
from tierlake.connector.bucket.policy import denied_encryption, denied_transport
from tierlake.connector.bucket.setup import BUCKET, default_encryption, existence, versioning
from tierlake.connector.errors import (
    AccessDenied,
    AppliedInPart,
    BucketNotFound,
    LakeError,
    PreconditionFailed,
    UnsupportedByServer,
)
from tierlake.connector.objects import metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from tierlake.connector.bucket.spec import BucketSpec
    from tierlake.connector.client.store import Store
    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["Applied", "BucketPlan", "BucketResult", "apply_parts", "plan_bucket", "site_of"]

_ASPECTS = {
    "the bucket": existence,
    "public access": public_access,
    "object ownership": ownership,
    "versioning": versioning,
    "default encryption": default_encryption,
    "remote tiers": remote_tier_part,
    "lifecycle": lifecycle,
    "CORS": cors,
    "the policy": denied_encryption,
    "the policy on transport": denied_transport,
}
"""A safe order: first the bucket is closed; encryption is set before it is demanded; tiers come before the rules that
name them; the policy, which can lock its author out, comes last."""

_SETTLING_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Waits for a new bucket to be known everywhere: SeaweedFS goes on saying for a moment that there is none."""


@dataclass(frozen=True)
class BucketResult:
    """What applying a plan did.

    Args:
        bucket: The bucket's name.
        done: What was changed.
        lacking: What this server cannot do.
    """

    bucket: str
    done: tuple[Item, ...] = ()
    lacking: tuple[Item, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was changed."""
        return bool(self.done)

    def __str__(self) -> str:
        changed = ", ".join(item.aspect for item in self.done)
        return f"{self.bucket}: {changed or 'nothing'} changed" if self.done else f"{self.bucket} is as it should be"


@dataclass(frozen=True)
class BucketPlan:
    """The difference between a spec and the live bucket.

    Args:
        bucket: The bucket's name.
        server: The server's profile.
        items: The aspects in the spec, each with its present and its expected value.
        spec: The spec.
        fs: The filesystem with which the plan was made.
    """

    bucket: str
    server: str
    items: tuple[Item, ...]
    spec: BucketSpec = field(repr=False)
    fs: LakeFileSystem = field(repr=False, compare=False)

    @property
    def todo(self) -> tuple[Item, ...]:
        """The items that `apply` changes."""
        return tuple(item for item in self.items if item.is_todo)

    @property
    def lacking(self) -> tuple[Item, ...]:
        """The items that this server does not support; each names what it offers instead."""
        return tuple(item for item in self.items if item.action == "lacking")

    def apply(self) -> BucketResult:
        """Apply the spec to the bucket.

        The bucket is read again first; changes made in the meantime are skipped.

        Returns:
            What was changed; nothing the second time.

        Raises:
            AccessDenied: The credentials do not allow it; if reading was refused, nothing was changed.
            PreconditionFailed: The bucket now needs other changes than the plan lists; nothing was changed.
            AppliedInPart: Some requests succeeded and one failed; `failures` lists the changes that remain.
            LakeError: The first request failed.
        """
        result: BucketResult = sync(self.fs.loop, _apply, self)
        return result

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, without secrets."""
        return {
            "bucket": self.bucket,
            "server": self.server,
            "to_do": len(self.todo),
            "lacking": len(self.lacking),
            "items": [asdict(item) for item in self.items],
        }

    def to_json(self) -> str:
        """The plan as JSON, without secrets."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"bucket {self.bucket} on {self.server}: {len(self.todo)} to do, {len(self.lacking)} lacking"
        rows = [
            ("", "now", "wanted", "action"),
            *((i.aspect, i.current or "-", i.wanted or "-", i.action) for i in self.items),
        ]
        widths = [max(len(row[place]) for row in rows) for place in range(4)]
        notes = ("", *(item.note for item in self.items))
        for row, note in zip(rows, notes, strict=True):
            yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            if note:
                yield f"    {note}"


def plan_bucket(fs: LakeFileSystem, spec: BucketSpec) -> BucketPlan:
    """Compare a bucket with its spec, and change nothing.

    Args:
        fs: A filesystem on the server, with an administrator's credentials.
        spec: What the bucket should be.

    Returns:
        The plan.

    Raises:
        AccessDenied: An aspect may not be read; each is named.
        InvalidSetting: The spec names an unknown tier, or a remote tier that exists with another target.
    """
    plan: BucketPlan = sync(fs.loop, _plan, fs, spec)
    return plan


async def _plan(fs: LakeFileSystem, spec: BucketSpec) -> BucketPlan:
    site = await site_of(fs.store, spec.bucket)
    items = tuple(item for part in await _parts(site, spec) for item in part.items)
    return BucketPlan(spec.bucket, site.profile.name, items, spec, fs)


async def site_of(store: Store, bucket: str) -> Site:
    """Look at a bucket on the server."""
    profile = await store.profile()
    client = await store.client()
    exists = await metadata.bucket_exists(store, bucket)
    return Site(store, profile, bucket, exists, str(client.meta.endpoint_url))


async def _parts(site: Site, spec: BucketSpec) -> list[Part]:
    """All parts in the spec, read before anything is changed."""
    parts, denied = [], {}
    for aspect, look in _ASPECTS.items():
        try:
            parts.append(await look(site, spec))
        except AccessDenied as error:
            denied[aspect] = error
        except UnsupportedByServer as error:  # which its profile does not mention
            parts.append(Part((Item(aspect, "", "as in the spec", "lacking", str(error)),)))
    if denied:
        first = next(iter(denied.values()))
        raise AccessDenied(
            f"These credentials may not look at {', '.join(denied)} of {site.bucket}; nothing was changed",
            hint="Buckets are an administrator's; a spec leaves an aspect as it is with null",
            bucket=site.bucket,
            request_id=first.request_id,
            server_code=first.server_code,
        ) from first
    return parts


async def _apply(plan: BucketPlan) -> BucketResult:
    site = await site_of(plan.fs.store, plan.bucket)
    parts = await _parts(site, plan.spec)
    seen = {(item.aspect, item.wanted) for item in plan.todo}
    todo = [item for part in parts for item in part.items if item.is_todo]
    new = [item.aspect for item in todo if (item.aspect, item.wanted) not in seen]
    if new:
        raise PreconditionFailed(
            f"{plan.bucket} has changed since it was planned: {', '.join(new)}", hint="Plan again", bucket=plan.bucket
        )
    applied = await apply_parts(parts)
    if applied.failures and not applied.done:
        raise next(iter(applied.failures.values()))
    if applied.failures:
        done = {item.aspect for item in applied.done}
        left = {item.aspect: "not tried" for item in todo if item.aspect not in done}
        raise AppliedInPart(
            f"{plan.bucket}: {', '.join(item.aspect for item in applied.done)} changed, the rest not",
            left | {aspect: str(error) for aspect, error in applied.failures.items()},
            bucket=plan.bucket,
            hint="Apply it again when the cause is gone: what is done already is skipped",
        )
    lacking = tuple(item for part in parts for item in part.items if item.action == "lacking")
    return BucketResult(plan.bucket, applied.done, lacking)


@dataclass(frozen=True)
class Applied:
    """The outcome of applying parts.

    Args:
        done: What was changed.
        failures: The errors by aspect. If the server does not support a part, the next one is still tried; any other
            error is the last.
    """

    done: tuple[Item, ...]
    failures: dict[str, LakeError]


async def _written(part: Part, waits: Iterable[float], pause: Callable[[float], Awaitable[object]]) -> None:
    for seconds in waits:
        try:
            return await part.write()
        except BucketNotFound:
            await pause(seconds)
    return await part.write()


async def apply_parts(parts: list[Part], *, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> Applied:
    """Write the parts that differ, in order.

    Args:
        parts: Of one bucket.
        pause: Waits for some seconds, where the server does not know yet what it has just created.

    Raises:
        LakeError: One of them would fail; nothing was changed.
    """
    for part in parts:
        if part.fault is not None:
            raise part.fault
    done: list[Item] = []
    failures: dict[str, LakeError] = {}
    for part in parts:
        todo = [item for item in part.items if item.is_todo]
        if not todo:
            continue
        is_new = any(item.aspect == BUCKET for item in done)
        try:
            await _written(part, _SETTLING_SECONDS if is_new else (), pause)
        except LakeError as error:
            failures |= {item.aspect: error for item in todo}
            if not isinstance(error, UnsupportedByServer):
                break
        else:
            done += todo
    return Applied(tuple(done), failures)
