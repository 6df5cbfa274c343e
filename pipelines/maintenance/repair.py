"""Mending what `verify` found, where that is safe: a wrong storage class, a lost encryption.

Both are self-copies: the key, the bytes and everything said about them stay. Nothing is ever deleted, and what is
missing or has another size is left for people to look at.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import LakeError
from tierlake.pipelines.maintenance.verify import verify
from tierlake.pipelines.model.age import tier_at, window_of_key
from tierlake.pipelines.movers import Move, get_mover
from tierlake.pipelines.query.placement import class_of_tier
from tierlake.pipelines.tables.protocol import SameRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierlake.connector.objects.transition import Written
    from tierlake.pipelines.maintenance.verify import Problem, VerifyReport
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["verify_and_repair"]

_CONCURRENCY = 8


def verify_and_repair(handle: Handle, as_of: datetime) -> VerifyReport:
    """Verify, mend what is safe to mend, and verify again.

    Args:
        handle: the dataset.
        as_of: which age the policy sees.

    Returns:
        What is wrong still, and in `repaired` what no longer is.
    """
    described = handle.as_stored()
    before = verify(handle, as_of)
    mendable = [problem for problem in before.problems if problem.kind in {"class", "encryption"}]
    if not mendable:
        return before
    same_rows: list[SameRows] = []
    keys = {file.path: file.key for file in handle.table.snapshot().files}

    def mended(problem: Problem) -> tuple[Problem, str] | None:
        key = keys.get(problem.path)
        return None if key is None else _mended(described, problem, key, as_of, same_rows)

    with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="repair") as pool:
        refusals = [refusal for refusal in pool.map(mended, mendable) if refusal]
    handle.table.note_same_rows(same_rows)
    after = verify(handle, as_of)
    left = {(problem.kind, problem.path): problem for problem in after.problems}
    why = {(problem.kind, problem.path): reason for problem, reason in refusals}
    return replace(
        after,
        problems=tuple(
            replace(problem, detail=f"{problem.detail}; not mended: {why[place]}") if place in why else problem
            for place, problem in left.items()
        ),
        repaired=tuple(problem for problem in mendable if (problem.kind, problem.path) not in left),
    )


def _mended(
    handle: Handle, problem: Problem, key: PartitionKey, as_of: datetime, same_rows: list[SameRows]
) -> tuple[Problem, str] | None:
    """Mend one; what cannot be mended comes back with why."""
    path = f"{handle.table.root}/{problem.path}"
    try:
        if problem.kind == "encryption":
            head = handle.fs.head_object(path)
            copied = handle.fs.reencrypt(path, if_match=_etag(head))
            same_rows += _same_rows(problem.path, head, copied.written)
            return None
        return _moved(handle, problem, key, as_of, same_rows)
    except (LakeError, OSError) as error:
        return problem, str(error)


def _moved(
    handle: Handle, problem: Problem, key: PartitionKey, as_of: datetime, same_rows: list[SameRows]
) -> tuple[Problem, str] | None:
    path = f"{handle.table.root}/{problem.path}"
    window = window_of_key(handle.spec, key)
    tier = tier_at(handle.spec, window.age(as_of)) if window else "hot"
    storage_class = class_of_tier(handle.spec, handle.fs.profile, tier)
    if storage_class is None:
        return problem, f"{handle.fs.profile.name} has no class for tier {tier}"
    mover = get_mover(handle.fs.profile.mover)
    obstacle = mover.obstacle(handle.fs, handle.table.root, tier, storage_class)
    if obstacle is not None:
        return problem, obstacle
    head = handle.fs.head_object(path)
    found = str(head.get("StorageClass") or "STANDARD")
    exclusive = handle.table.is_replaced_in_place(problem.path)
    move = Move(tier, storage_class, from_class=found, etag=_etag(head), exclusive=exclusive)
    same_rows += _same_rows(problem.path, head, mover.move(handle.fs, path, move).written)
    return None


def _same_rows(path: str, before: Mapping[str, Any], written: Written | None) -> list[SameRows]:
    """The object has a new time, and its rows have not."""
    if written is None:
        return []
    return [SameRows(path, _etag(before), before["LastModified"], written.etag, written.modified)]


def _etag(head: Mapping[str, Any]) -> str:
    return str(head["ETag"]).strip('"')
