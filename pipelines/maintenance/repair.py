"""Repairing problems of `verify` where that is safe: a wrong storage class, a lost encryption.

Both are self-copies: the key, the bytes and the metadata stay. Nothing is ever deleted. Files that are missing or have
another size are left for people to look at.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import LakeError
from tierlake.connector.objects.metadata import unquoted
from tierlake.pipelines.maintenance.verify import verify
from tierlake.pipelines.model.age import tier_at, window_of_key
from tierlake.pipelines.movers import Move, get_mover
from tierlake.pipelines.query.placement import class_of_tier
from tierlake.pipelines.tables.snapshot import SameRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.objects.transition import TransitionResult, Written
    from tierlake.pipelines.maintenance.verify import Problem, VerifyReport
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.movers import Moved

__all__ = ["verify_and_repair"]


def verify_and_repair(handle: Handle, as_of: datetime) -> VerifyReport:
    """Verify, repair what is safe to repair, and verify again.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to.

    Returns:
        The remaining problems, and in `repaired` those that were solved.
    """
    described = handle.as_stored()
    before = verify(handle, as_of)
    mendable = [problem for problem in before.problems if problem.kind in {"class", "encryption"}]
    if not mendable:
        return before
    mending = _Mending(described, as_of)
    mending.encrypt([problem for problem in mendable if problem.kind == "encryption"])
    mending.move([problem for problem in mendable if problem.kind == "class"])
    handle.table.note_same_rows(mending.same_rows)
    after = verify(handle, as_of)
    left = {(problem.kind, problem.path): problem for problem in after.problems}
    why = {(problem.kind, problem.path): reason for problem, reason in mending.refusals}
    return replace(
        after,
        problems=tuple(
            replace(problem, detail=f"{problem.detail}; not mended: {why[place]}") if place in why else problem
            for place, problem in left.items()
        ),
        repaired=tuple(problem for problem in mendable if (problem.kind, problem.path) not in left),
    )


class _Mending:
    """Repairs problems, and keeps the reason for each that it could not repair."""

    def __init__(self, handle: Handle, as_of: datetime) -> None:
        self._handle = handle
        self._as_of = as_of
        self._keys = {file.path: file.key for file in handle.table.snapshot().files}
        self.same_rows: list[SameRows] = []
        self.refusals: list[tuple[Problem, str]] = []

    def encrypt(self, problems: Sequence[Problem]) -> None:
        """Give files the encryption of the spec."""
        heads = self._heads(problems)
        etags = {path: unquoted(head["ETag"]) for path, (_, head) in heads.items()}
        for path, outcome in self._handle.fs.reencrypt_many(etags):
            self._count(*heads[path], outcome)

    def move(self, problems: Sequence[Problem]) -> None:
        """Move files to the class of their tier."""
        handle, heads = self._handle, self._heads(problems)
        moves: dict[str, Move] = {}
        for path, (problem, head) in heads.items():
            tier = self._tier(problem)
            target, obstacle = self._target(tier)
            if obstacle is not None:
                self.refusals.append((problem, obstacle))
                continue
            current = str(head.get("StorageClass") or "STANDARD")
            is_exclusive = handle.table.is_replaced_in_place(problem.path)
            moves[path] = Move(tier, target, from_class=current, etag=unquoted(head["ETag"]), exclusive=is_exclusive)
        for path, outcome in get_mover(handle.fs.profile.mover).move_many(handle.fs, moves):
            self._count(*heads[path], outcome)

    def _heads(self, problems: Sequence[Problem]) -> dict[str, tuple[Problem, Mapping[str, Any]]]:
        """The files as they are now, by `bucket/key`; files that left the table meanwhile are left out."""
        known = [problem for problem in problems if problem.path in self._keys]
        paths = [f"{self._handle.table.root}/{problem.path}" for problem in known]
        heads: dict[str, tuple[Problem, Mapping[str, Any]]] = {}
        for path, problem, head in zip(paths, known, self._handle.fs.head_many(paths), strict=True):
            if isinstance(head, Exception):
                self.refusals.append((problem, str(head)))
            else:
                heads[path] = problem, head
        return heads

    def _tier(self, problem: Problem) -> Tier:
        window = window_of_key(self._handle.spec, self._keys[problem.path])
        return tier_at(self._handle.spec, window.age(self._as_of)) if window else "hot"

    @functools.lru_cache(maxsize=8)  # noqa: B019 -- of the few tiers, for as long as one repair
    def _target(self, tier: Tier) -> tuple[str, str | None]:
        """The storage class of a tier here, and why it cannot be reached."""
        handle = self._handle
        target = class_of_tier(handle.spec, handle.fs.profile, tier)
        if target is None:
            return "", f"{handle.fs.profile.name} has no class for tier {tier}"
        try:
            return target, get_mover(handle.fs.profile.mover).obstacle(handle.fs, handle.table.root, tier, target)
        except (LakeError, OSError) as error:
            return target, str(error)

    def _count(self, problem: Problem, head: Mapping[str, Any], outcome: TransitionResult | Moved | Failure) -> None:
        if isinstance(outcome, Exception):
            self.refusals.append((problem, str(outcome)))
        else:
            self.same_rows += _same_rows(problem.path, head, outcome.written)


def _same_rows(path: str, before: Mapping[str, Any], written: Written | None) -> list[SameRows]:
    """Record that the object has a new time and unchanged rows."""
    if written is None:
        return []
    return [SameRows(path, unquoted(before["ETag"]), before["LastModified"], written.etag, written.modified)]
