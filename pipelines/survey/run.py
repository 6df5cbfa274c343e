"""A survey from beginning to end: one listing of the objects, then what no listing of objects shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.errors import BucketNotFound, InvalidName, LakeError, ObjectNotFound
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.urls import check_place
from tierlake.pipelines.costs.amounts import size_steps
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.clock import ServerClock
from tierlake.pipelines.runtime.progress import counting
from tierlake.pipelines.survey.classification import datasets_in
from tierlake.pipelines.survey.leftovers import OldVersions
from tierlake.pipelines.survey.listing import listed
from tierlake.pipelines.survey.looks import (
    Budget,
    Place,
    VersionsLook,
    keeps_versions,
    logs_of,
    rules_of,
    uploads_of,
)
from tierlake.pipelines.survey.names import hive_pair
from tierlake.pipelines.survey.page import Survey
from tierlake.pipelines.survey.policies import Prices, tier_steps, tiering
from tierlake.pipelines.survey.report import Unknown
from tierlake.pipelines.survey.specs import adoptions_of, file_name
from tierlake.pipelines.survey.summary import Seen, dataset_figures, proposals, waste_of
from tierlake.pipelines.tables.nested import enclosing_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.runtime.clock import Clock
    from tierlake.pipelines.runtime.progress import Progress
    from tierlake.pipelines.survey.listing import Listed
    from tierlake.pipelines.survey.report import Policy

__all__ = ["survey"]

SECONDS: Final = 60.0
_NAMED_RULES: Final = 3


def survey(
    url: str,
    *,
    fs: LakeFileSystem | None = None,
    seconds: float | None = SECONDS,
    objects: int | None = None,
    progress: Progress = False,
    clock: Clock | None = None,
    timer: Callable[[], float] = time.monotonic,
    options: Mapping[str, Any] | None = None,
) -> Survey:
    """Look at a bucket, or at what is below a prefix, and write nothing.

    Memory grows with the number of datasets, not of objects. Requests: one for each 1,000 objects, and for each 1,000
    versions in a bucket that keeps them; the log of each Delta table; one for each of the first 100 incomplete uploads.

    Args:
        url: `s3://bucket`, `s3://bucket/prefix`, or the same with `lake://`.
        fs: The connector.
        seconds: How long to look; what was not looked at by then is named. None is as long as it takes.
        objects: How many objects to list at the most, likewise.
        progress: Reports the number of objects.
        clock: Whose time ages count up to; the server's by default.
        timer: Tells seconds, for `seconds`.
        options: Arguments of `LakeFileSystem`, where there is no `fs`.

    Raises:
        BucketNotFound: There is no such bucket; the hint names the nearest one.
        ObjectNotFound: Nothing lies below the prefix.
        AccessDenied: The bucket may not be listed.
    """
    if fs is None:
        from tierlake.connector.filesystem import LakeFileSystem

        fs = LakeFileSystem(**(options or {}))
    place = _place(url)
    budget = Budget(seconds, objects, timer)
    try:
        now = (clock or ServerClock(fs, place.path)).now()
    except BucketNotFound as error:
        raise _no_bucket(fs, place.bucket) from error
    profile = fs.profile
    prices = Prices(profile, price_list(profile.price_list))
    versioned = keeps_versions(fs, place.bucket)
    steps = size_steps(prices.prices)
    with counting("survey", progress=progress) as count:
        listing = listed(fs, place, budget, now=now, steps=steps, has_versions=versioned is not False, progress=count)
    datasets = datasets_in(listing.root)
    is_complete = not listing.gaps
    unknown: list[Unknown] = []
    if not is_complete:
        unknown.append(_not_listed(listing, place))
    uploads_look = uploads_of(fs, place, now, budget)
    uploads = uploads_look.uploads
    unknown += uploads_look.unknown
    old = OldVersions(now, steps)
    look = VersionsLook(old)
    if versioned is not False:
        look.look(fs, place, datasets, budget)
        unknown += [look.unknown] if look.unknown else []
    has_versions = look.unknown is None or old.entries > 0
    if place.prefix and not (listing.objects or (uploads and uploads.count) or old.entries) and is_complete:
        raise _nothing_below(fs, place)
    rules = rules_of(fs, place.bucket)
    if isinstance(rules, Unknown):
        unknown.append(rules)
    deltas = logs_of(fs, place, datasets, budget)
    adoptions = adoptions_of(datasets, deltas, place.root)
    seen = [
        Seen(
            uri=place.uri(path),
            found=found,
            delta=deltas.get(path),
            adoption=adoptions[path],
            is_whole=listing.is_whole(path),
            old=_counted(look, path) if has_versions else None,
        )
        for path, found in datasets.items()
    ]
    shown = old if has_versions else None
    waste = waste_of(seen, uploads, shown, prices)
    policies = proposals(seen, uploads, shown, prices, waste=waste, keeps_versions=bool(versioned))
    outside = listing.objects - sum(one.found.count for one in seen)
    costs = [
        prices.monthly_of(cells) for one in seen for cells in (one.found.data.by_change, one.found.beside.by_change)
    ]
    classes = {cell[0] for one in seen for cells in (one.found.data, one.found.beside) for cell in cells.by_change}
    unknown += [_without_price(name, prices) for name in sorted(classes) if prices.rates(name) is None]
    unknown += _always_unknown(policies)
    return Survey(
        uri=place.uri(),
        as_of=now,
        server=profile.name,
        prices=f"{prices.prices.region}, {prices.prices.dated}",
        prices_note=prices.prices.note,
        is_complete=is_complete,
        objects=listing.objects,
        bytes=sum(one.found.bytes for one in seen),
        monthly_cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        datasets=tuple(
            dataset_figures(one, prices) for one in sorted(seen, key=lambda one: (-one.found.bytes, one.uri))
        ),
        waste=waste,
        policies=tuple(sorted(policies, key=lambda one: -one.monthly_saved)),
        unknown=tuple(unknown),
        folder_markers=outside,
        notes=tuple(_notes(fs, place, rules)),
        specs=_specs(seen, prices, place, keeps_versions=bool(versioned)),
    )


def _place(url: str) -> Place:
    check_place(url, "url")
    scheme, separator, rest = url.partition("://")
    if separator and scheme not in {"s3", "s3a", "lake"}:
        raise InvalidName(f"{url!r} names no bucket", hint="write s3://BUCKET or s3://BUCKET/PREFIX")
    bucket, _, prefix = (rest if separator else url).partition("/")
    if not bucket:
        raise InvalidName(f"{url!r} names no bucket", hint="write s3://BUCKET or s3://BUCKET/PREFIX")
    return Place(bucket, prefix if prefix.endswith("/") or not prefix else f"{prefix}/")


def _no_bucket(fs: LakeFileSystem, bucket: str) -> BucketNotFound:
    try:
        buckets = [str(one["Name"]) for one in fs.call_s3("list_buckets").get("Buckets", ())]
    except (LakeError, OSError):
        buckets = []
    near = did_you_mean(bucket, buckets)
    listed = f"There are {', '.join(sorted(buckets)[:5])}" if buckets else "Check the name, or the endpoint"
    return BucketNotFound(f"There is no bucket {bucket!r}", hint=near or listed, bucket=bucket)


def _nothing_below(fs: LakeFileSystem, place: Place) -> ObjectNotFound:
    above, _, name = place.prefix.rstrip("/").rpartition("/")
    parent = f"{above}/" if above else ""
    page = fs.call_s3("list_objects_v2", Bucket=place.bucket, Prefix=parent, Delimiter="/")
    folders = [one["Prefix"][len(parent) :].rstrip("/") for one in page.get("CommonPrefixes", ())]
    near = did_you_mean(name, folders)
    listed = f"Folders there: {', '.join(folders[:5])}" if folders else "Survey the bucket to see what is in it"
    return ObjectNotFound(
        f"Nothing lies below {place.uri()}", hint=near or listed, bucket=place.bucket, key=place.prefix
    )


def _not_listed(listing: Listed, place: Place) -> Unknown:
    after = [f"after lake://{place.path}{gap.after}" for gap in listing.gaps]
    more = f" and in {len(after) - 1} more places" if len(after) > 1 else ""
    return Unknown(
        "the rest of the objects",
        f"{listing.objects:,} were listed, not what comes {after[0]}{more}; all figures are of these alone",
        "a longer --seconds, more --objects, or a smaller prefix; S3 Inventory for very large buckets",
    )


def _counted(look: VersionsLook, path: str) -> tuple[int, int]:
    count, size = look.of_dataset.get(path, (0, 0))
    return count, size


def _always_unknown(policies: tuple[Policy, ...]) -> list[Unknown]:
    read = max((policy.read_once for policy in policies), default=0.0)
    bill = f"; to read what would move costs {formatting.money(read)} each time" if read else ""
    return [
        Unknown(
            "reads",
            f"no listing says what is read, by whom and how often{bill}",
            "S3 server access logs, CloudTrail data events, or Storage Lens; on MinIO `mc admin trace`",
        ),
        Unknown(
            "what may be deleted",
            "how long data must be kept is a business's decision: no expiry of data is proposed",
            "ask its owners, then set `retention` in the YAML",
        ),
    ]


def _without_price(storage_class: str, prices: Prices) -> Unknown:
    return Unknown(
        f"the cost of {storage_class}",
        f"the price list ({prices.prices.region}, {prices.prices.dated}) has no such class, and totals leave it open",
        "a price list of your own: TIERLAKE_PRICES=/path/to/prices.json",
    )


def _notes(fs: LakeFileSystem, place: Place, rules: tuple[str, ...] | Unknown) -> list[str]:
    notes = []
    if place.prefix:
        root = place.root("")
        if any(hive_pair(folder) for folder in place.prefix.split("/")):
            notes.append("the prefix lies inside the partitions of a Hive prefix: survey that to see the whole")
        try:
            around = enclosing_root(fs, root)
        except (LakeError, OSError):
            around = None
        if around is not None:
            notes.append(f"the prefix lies inside a table, lake://{around}: survey that to see the whole")
    if isinstance(rules, tuple) and rules:
        more = len(rules) - _NAMED_RULES
        named = ", ".join(rules[:_NAMED_RULES]) + (f" and {more} more" if more > 0 else "")
        notes.append(f"the bucket has lifecycle rules already ({named}); what they will do is not in the figures")
    return notes


def _specs(seen: list[Seen], prices: Prices, place: Place, *, keeps_versions: bool) -> dict[str, str]:
    specs: dict[str, str] = {}
    for one in seen:
        if one.adoption.problem is None and one.is_whole:
            pays = tiering([one.windows], prices, keeps_versions=keeps_versions, how="", caution="")
            name = file_name(place.root(one.found.path), specs)
            specs[name] = one.adoption.spec(one.uri, tier_steps(prices.profile) if pays else ())
    return specs
