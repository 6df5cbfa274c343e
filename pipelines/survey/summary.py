"""From what was seen to the report: a dataset's figures, the waste, the policies. Nothing is asked of the store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.costs.amounts import Amount, size_steps
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.survey import policies
from tierlake.pipelines.survey.ages import AGE_STEPS_DAYS
from tierlake.pipelines.survey.names import NO_DATA
from tierlake.pipelines.survey.report import ClassFigures, FormatFigures, Policy, SurveyedDataset, Waste
from tierlake.pipelines.survey.totals import Cells, Totals, merge_cells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierlake.pipelines.survey.classification import FoundDataset
    from tierlake.pipelines.survey.delta_logs import DeltaFigures
    from tierlake.pipelines.survey.leftovers import OldVersions, Uploads
    from tierlake.pipelines.survey.policies import Prices
    from tierlake.pipelines.survey.specs import Adoption

__all__ = ["Seen", "dataset_figures", "proposals", "waste_of"]

_TARGET_BYTES: Final = 256_000_000
_MONTH_STEP: Final = AGE_STEPS_DAYS.index(30)


@dataclass(frozen=True, slots=True)
class Seen:
    """A dataset with all that was seen of it.

    Attributes:
        uri: Where it is.
        found: Its objects.
        delta: What its log tells, of a Delta table.
        adoption: Whether and how it can be adopted.
        is_whole: Whether all its objects were listed.
        old: Old versions of its objects and their bytes; None where they were not looked at.
    """

    uri: str
    found: FoundDataset
    delta: DeltaFigures | None
    adoption: Adoption
    is_whole: bool
    old: tuple[int, int] | None

    @property
    def windows(self) -> Cells:
        """The objects by class and event time; empty where there is none."""
        return self.found.data.by_window.get(self.adoption.time_key or "", {})

    @property
    def unreferenced(self) -> tuple[int, int] | None:
        """Data files that a Delta table does not name, and their bytes; None where that cannot be told."""
        if self.delta is None or self.delta.live_files is None or not self.delta.counts_files or not self.is_whole:
            return None
        count, size, _ = self.found.data.formats.get("Parquet", (0, 0, 0))
        files, bytes_ = count - self.delta.live_files, size - self.delta.live_bytes
        return None if files < 0 or bytes_ < 0 else (files, bytes_)


def dataset_figures(seen: Seen, prices: Prices) -> SurveyedDataset:
    """The report of one dataset."""
    found, adoption = seen.found, seen.adoption
    whole = Totals()
    whole.merge(found.data)
    whole.merge(found.beside)
    time_key = adoption.time_key
    unreferenced, old = seen.unreferenced, seen.old
    return SurveyedDataset(
        uri=seen.uri,
        kind=found.kind,
        is_ours=found.is_ours,
        format=found.format,
        formats=tuple(
            FormatFigures(name, count, size)
            for name, (count, size, _) in sorted(whole.formats.items(), key=lambda one: -one[1][1])
        ),
        objects=found.count,
        bytes=found.bytes,
        metadata_bytes=found.beside.bytes,
        classes=class_figures(whole, prices),
        monthly_cost=prices.monthly_of(whole.by_change),
        columns=seen.delta.columns if seen.delta and seen.delta.live_files is not None else found.columns,
        partitions=found.data.partitions,
        ages_by=f"event time of {time_key}" if time_key else "last change",
        oldest=found.data.first_end.get(time_key) if time_key else whole.first,
        newest_change=whole.last,
        small_files=_small(found),
        files_after_compaction=max(math.ceil(found.data.bytes / _TARGET_BYTES), found.data.partitions, 1),
        live_bytes=seen.delta.live_bytes if seen.delta and seen.delta.live_files is not None else None,
        unreferenced_files=unreferenced[0] if unreferenced else None,
        unreferenced_bytes=unreferenced[1] if unreferenced else None,
        old_version_objects=old[0] if old else None,
        old_version_bytes=old[1] if old else None,
        can_adopt=adoption.problem is None and seen.is_whole,
        notes=tuple(_notes(seen)),
    )


def class_figures(totals: Totals, prices: Prices) -> tuple[ClassFigures, ...]:
    """The storage classes of some objects, the largest first."""
    classes = sorted(totals.classes().items(), key=lambda one: -one[1].bytes)
    return tuple(
        ClassFigures(name, amount.count, amount.bytes, prices.monthly(name, amount)) for name, amount in classes
    )


def _small(found: FoundDataset) -> int:
    return sum(small for name, (*_, small) in found.data.formats.items() if name not in NO_DATA)


def _why_untold(delta: DeltaFigures | None) -> list[str]:
    """Why the files that a Delta table does not name cannot be counted; nothing where its log was not read."""
    if delta is None or delta.live_files is None:
        return []
    if delta.names_others:
        return ["a shallow clone: its log names files of another table, so what is unreferenced is not told"]
    if delta.counts_files:
        return ["its log names more files than are below it: some are missing, or have no name of Parquet"]
    return ["unreferenced files cannot be counted with these features"]


def _notes(seen: Seen) -> list[str]:
    found, delta, adoption = seen.found, seen.delta, seen.adoption
    notes = []
    if not seen.is_whole:
        notes.append("listed in part: the figures are of what was listed")
    if found.is_folded:
        notes.append("it has too many folders to tell them apart: survey a prefix of it to see more")
    if delta is not None and delta.features:
        notes.append(f"Delta features that tierlake does not write: {', '.join(delta.features)}")
    if delta is not None and delta.problem:
        notes.append(delta.problem)
    if seen.is_whole and seen.unreferenced is None:
        notes += _why_untold(delta)
    if found.kind == "iceberg":
        hint = "with a version-hint" if found.has_hint else "without a version-hint: a catalog names its newest version"
        notes.append(f"Iceberg, {hint}; orphans are known only to its manifests, which were not read")
    if adoption.doubt:
        notes.append(f"{adoption.doubt}: ages go by the last change until somebody says")
    is_named = found.is_ours or found.kind in {"iceberg", "hudi"}
    if adoption.problem and not is_named and adoption.problem != (delta.problem if delta else None):
        notes.append(f"not to be adopted as it is: {adoption.problem}")
    return notes


def waste_of(
    seen: list[Seen], uploads: Uploads | None, versions: OldVersions | None, prices: Prices
) -> tuple[Waste, ...]:
    """What is stored and in no reader's way.

    Args:
        seen: The datasets.
        uploads: Incomplete uploads; None where they could not be listed.
        versions: Old versions; likewise.
        prices: Of the server.
    """
    waste = []
    if uploads is None:
        waste.append(Waste("incomplete uploads", None, None, None, "could not be listed"))
    else:
        measured = None if uploads.count and not uploads.measured else uploads.bytes
        some = f"size of {uploads.measured:,} of them; " if measured and uploads.measured < uploads.count else ""
        week = f"{some}{uploads.old:,} began a week ago or earlier" if uploads.count else ""
        cost = None if measured is None else _monthly("STANDARD", uploads.measured, measured, prices)
        waste.append(Waste("incomplete uploads", uploads.count, measured, cost, week))
    if versions is None:
        waste.append(Waste("old versions", None, None, None, "could not be listed"))
    else:
        total, month = versions.total(), versions.older(_MONTH_STEP)
        older = sum(amount.count for amount in month.values())
        remark = f"{older:,} were replaced or deleted 30 d ago or earlier" if total.count else ""
        cost = prices.monthly_of(versions.cells)
        waste.append(Waste("old versions", total.count, total.bytes, cost, remark))
        slow = "they slow listings down" if versions.markers else ""
        waste.append(Waste("delete markers", versions.markers, 0, 0.0, slow))
    known = [one for one in seen if one.unreferenced is not None]
    if known:
        files = sum(one.unreferenced[0] for one in known if one.unreferenced)
        size = sum(one.unreferenced[1] for one in known if one.unreferenced)
        costs = [_unreferenced_cost(one, prices) for one in known]
        cost = None if None in costs else sum(one for one in costs if one is not None)
        tables = formatting.counted(len(known), "Delta table")
        waste.append(
            Waste("unreferenced files", files, size, cost, f"replaced, expired or never committed, of {tables}")
        )
    return tuple(waste)


def _monthly(storage_class: str, count: int, size: int, prices: Prices) -> float | None:
    amount = Amount(size_steps(prices.prices))
    amount.count, amount.bytes = count, size
    return prices.monthly(storage_class, amount)


def _unreferenced_cost(one: Seen, prices: Prices) -> float | None:
    """Their part of the table's storage: the log does not tell their classes."""
    whole = prices.monthly_of(one.found.data.by_change)
    if whole is None or one.unreferenced is None:
        return None
    size = one.found.data.bytes
    return whole * (one.unreferenced[1] / size) if size else 0.0


def proposals(
    seen: list[Seen],
    uploads: Uploads | None,
    versions: OldVersions | None,
    prices: Prices,
    *,
    waste: Iterable[Waste],
    keeps_versions: bool,
) -> tuple[Policy, ...]:
    """The policies that save more than they cost.

    Args:
        seen: As for `waste_of`, and so are the next three.
        uploads: Incomplete uploads.
        versions: Old versions.
        prices: Of the server.
        waste: The result of `waste_of`.
        keeps_versions: Whether the bucket keeps versions, which a copy has to look after.
    """
    profile = prices.profile
    tiered = [one.windows for one in seen if one.adoption.problem is None and one.is_whole and one.windows]
    everything: Cells = {}
    for one in seen:
        merge_cells(everything, one.found.data.by_change)
        merge_cells(everything, one.found.beside.by_change)
    number = formatting.counted(len(tiered), "dataset")
    tags = "needs remote tiers: `tierlake bucket plan` shows them; " if profile.mover == "tag" else ""
    vacuum = [one for one in seen if one.unreferenced is not None and one.unreferenced[0]]
    first = "; unreferenced files count too: vacuum first" if vacuum else ""
    proposed = [
        policies.tiering(
            tiered,
            prices,
            keeps_versions=keeps_versions,
            how="adopt with the YAML of this survey, then `tierlake tier`",
            caution=f"{tags}by event time, of {number} that can be adopted; small files stay{first}",
        ),
        policies.lifecycle_rule(
            everything, prices, "by the date of writing, also of tables' metadata; objects below 128 KB stay"
        ),
        policies.intelligent_tiering(everything, prices),
        _old_uploads(uploads, prices),
        _old_versions(versions, prices),
    ]
    if vacuum:
        proposed.append(
            policies.deletion(
                "vacuum Delta tables",
                "`tierlake vacuum`, or the VACUUM of the engine that writes them",
                "gives up undo and time travel; files of running writers stay for their grace",
                amounts=[one.unreferenced for one in vacuum if one.unreferenced],
                monthly=next(one.monthly_cost for one in waste if one.name == "unreferenced files"),
            )
        )
    return tuple(one for one in proposed if one is not None)


def _old_uploads(uploads: Uploads | None, prices: Prices) -> Policy | None:
    if uploads is None or not uploads.old_bytes:
        return None
    how = "an AbortIncompleteMultipartUpload rule, or `tierlake uploads abort --older-than 7d`"
    if not prices.profile.abort_uploads_rule:
        how = prices.profile.alternative("abort_uploads_rule") or "`tierlake uploads abort --older-than 7d`"
    monthly = _monthly("STANDARD", uploads.old, uploads.old_bytes, prices)
    caution = "an upload that somebody still writes would fail"
    amounts = [(min(uploads.old, uploads.measured), uploads.old_bytes)]
    return policies.deletion("abort uploads after 7 d", how, caution, amounts=amounts, monthly=monthly)


def _old_versions(versions: OldVersions | None, prices: Prices) -> Policy | None:
    if versions is None:
        return None
    month = versions.older(_MONTH_STEP)
    amounts = [(amount.count, amount.bytes) for amount in month.values()]
    how = "a NoncurrentVersionExpiration rule of 30 days"
    caution = f"gives up the way back to {formatting.size(sum(size for _, size in amounts))} of old versions"
    return policies.deletion(
        "expire old versions after 30 d", how, caution, amounts=amounts, monthly=prices.monthly_of(month)
    )
