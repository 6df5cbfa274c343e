"""What becomes of the partitions that an expiry is requested for: gone, already absent, kept with a reason, unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError
from tierlake.pipelines.model.age import window_of_key
from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from tierlake.dagster_project.automation.comparison import Difference, Shown
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.outlook import ExpiryOutlook

__all__ = ["Ledgers", "Outcome", "outcome_of", "requested_keys", "shown_name"]


@dataclass(frozen=True, slots=True)
class Ledgers:
    """What Dagster and the table have of a dataset.

    Attributes:
        shown: What Dagster showed, before the table was looked at.
        outlook: What the table has, and what of it is due.
        difference: Between the two.
    """

    shown: Shown
    outlook: ExpiryOutlook
    difference: Difference


@dataclass(slots=True)
class Outcome:
    """Requested partitions by their fate.

    Attributes:
        gone: Partitions that the table lacks now, from Dagster's key to the dataset's.
        forgotten: Those of the unknown ones that Dagster can spell, likewise.
        unknown: The dataset's keys that are gone and are no partitions of the asset.
        absent: Keys that are neither in the table nor shown: there was nothing to do.
        kept: Keys that stay, each with the reason.
    """

    gone: dict[str, str] = field(default_factory=dict)
    forgotten: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def shown_name(asset: LakeAsset, key: str) -> str:
    """A partition's name where people read it: Dagster's key, or the dataset's where Dagster has none."""
    name = asset.keys.find_dagster(PartitionKey.parse(key))
    return key if name is None else str(name)


def requested_keys(
    asset: LakeAsset, dataset: Dataset, keys: Sequence[str | PartitionKey]
) -> tuple[dict[str, str], dict[str, str]]:
    """Read keys as a person or a tick writes them.

    Args:
        asset: The dataset's asset.
        dataset: The open dataset.
        keys: Dagster's, as text, or the dataset's.

    Returns:
        The dataset's keys, each with its text; and the texts that no partition can have, each with the reason.
    """
    requested: dict[str, str] = {}
    refused: dict[str, str] = {}
    parsed: dict[PartitionKey, str] = {}
    for key in keys:
        try:
            parsed[key if isinstance(key, PartitionKey) else asset.keys.to_lake(key)] = str(key)
        except (ValueError, LakeError) as error:
            refused[str(key)] = str(error)
    faults = dataset.key_faults(parsed)
    for lake_key, text in parsed.items():
        if (fault := faults.get(lake_key)) is not None:
            refused[text] = str(fault)
        else:
            requested[str(lake_key)] = text
    return requested, refused


def outcome_of(
    requested: Mapping[str, str],
    asset: LakeAsset,
    dataset: Dataset,
    ledgers: Ledgers,
    *,
    known: Container[str],
    planned: Container[str],
    reasons: Mapping[str, str],
) -> Outcome:
    """Sort requested partitions by their fate, after the expiry.

    Args:
        requested: The dataset's keys, each with the text in which it was requested.
        asset: The dataset's asset.
        dataset: The open dataset.
        ledgers: Dagster's before the expiry, the table's after it.
        known: The asset's partitions.
        planned: The keys that the plan took out.
        reasons: Why partitions were refused, or failed, by key.
    """
    live, due = {str(key) for key in ledgers.outlook.live}, {str(key) for key in ledgers.outlook.due}
    shown, difference = ledgers.shown, ledgers.difference
    outcome = Outcome()
    for key, text in requested.items():
        spelled = asset.keys.find_dagster(PartitionKey.parse(key))
        name = None if spelled is None else str(spelled)
        is_known = name is not None and name in known
        if key in live or (name in difference.empty and key not in due):
            outcome.kept[text] = reasons.get(key) or _retained_until(dataset, key)
        elif name in difference.unexplained:
            outcome.kept[text] = "nothing says whether it ever had rows: wipe it in Dagster, or materialize it"
        elif key not in planned and name not in shown.latest:
            if is_known or dataset.had_rows([key]):
                outcome.absent.append(text)
            else:
                outcome.kept[text] = "there is no such partition, neither in the table nor of the asset"
        elif name is not None and is_known:
            outcome.gone[name] = key
        else:
            outcome.unknown.append(key)
            outcome.forgotten |= {} if name is None else {name: key}
    return outcome


def _retained_until(dataset: Dataset, key: str) -> str:
    after = dataset.spec.retention.expire_after
    window = window_of_key(dataset.spec, PartitionKey.parse(key))
    if after is None or window is None:
        return "it never expires"
    return f"within its retention until {instant_after(window.end, after):%Y-%m-%d}"
