"""Verify: say what is wrong with what is committed, if anything is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.lifecycle import tier_at, window_of_key
from pipelines.stored import stored_objects

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pipelines.handle import Handle
    from pipelines.tables.protocol import LiveFile

__all__ = ["Problem", "VerifyReport", "verify"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that `verify` found.

    Attributes:
        kind: what is wrong.
        path: below the table's root.
        detail: found and expected.
    """

    kind: Literal["missing", "size", "class", "encryption"]
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Whether all that is committed is there and as the policy says.

    Attributes:
        files: committed files that were checked.
        bytes: their size.
        problems: what is wrong.
        orphans: files that no commit names, counted, no error while they are young.
        repaired: what was wrong and has been mended.
    """

    files: int
    bytes: int
    problems: tuple[Problem, ...]
    orphans: int
    repaired: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """No problem was found."""
        return not self.problems

    def __str__(self) -> str:
        """One line a finding."""
        lines = [f"{problem.path}: {problem.kind}: {problem.detail}: mended" for problem in self.repaired]
        lines += [f"{problem.path}: {problem.kind}: {problem.detail}" for problem in self.problems]
        state = "clean" if self.ok else f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
        orphans = f", {self.orphans} not named by any commit" if self.orphans else ""
        return "\n".join([*lines, f"{self.files} files, {self.bytes} bytes{orphans}: {state}"])


def verify(handle: Handle, as_of: datetime | None = None) -> VerifyReport:
    """Compare the commits with the store.

    Every committed file must be there with its size, encrypted, and in a class that its age allows: its tier's, or a
    hotter one that the next tiering will change. Orphans are counted.

    Args:
        handle: the dataset.
        as_of: which age the policy sees; the server's now by default.
    """
    instant = as_of or handle.clock.now()
    snapshot = handle.table.snapshot()
    stored = {one.path: one for one in stored_objects(handle)}
    problems: list[Problem] = []
    for file in snapshot.files:
        one = stored.get(file.path)
        if one is None or not one.is_shown:
            hidden = "" if one is None else ": a delete marker hides it, which you can delete"
            problems.append(Problem("missing", file.path, f"committed, but not in the store{hidden}"))
            continue
        size = one.size if one.shown is None else one.sizes[one.shown]
        if size != file.size:
            problems.append(Problem("size", file.path, f"{size} bytes, but {file.size} were committed"))
        problems.extend(_class_problems(handle, file, one.storage_class, instant))
    there = [file for file in snapshot.files if file.path in stored and stored[file.path].is_shown]
    problems.extend(_encryption_problems(handle, there))
    live = {file.path for file in snapshot.files}
    return VerifyReport(
        files=len(snapshot.files),
        bytes=sum(file.size for file in snapshot.files),
        problems=tuple(problems),
        orphans=sum(one.is_shown and path not in live for path, one in stored.items()),
    )


def _class_problems(handle: Handle, file: LiveFile, found: str, as_of: datetime) -> list[Problem]:
    classes = handle.fs.profile.tier_classes
    tiers = ["hot", *(step.tier for step in handle.spec.tiers)]
    window = window_of_key(handle.spec, file.key)
    reached = tiers.index(tier_at(handle.spec, window.age(as_of))) if window else 0
    allowed = {handle.spec.write.storage_class, *(classes[tier] for tier in tiers[: reached + 1] if tier in classes)}
    if found in allowed:
        return []
    return [Problem("class", file.path, f"{found}, but the policy says {' or '.join(sorted(allowed))}")]


def _encryption_problems(handle: Handle, files: Sequence[LiveFile]) -> list[Problem]:
    paths = [f"{handle.table.root}/{file.path}" for file in files]
    return [
        Problem("encryption", path.removeprefix(f"{handle.table.root}/"), detail)
        for path, detail in handle.fs.encryption_faults(paths).items()
    ]
