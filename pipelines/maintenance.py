"""Looking after a table: delete what no commit names (`vacuum`), and say what is wrong, if anything is (`verify`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pipelines.journal import VacuumRecord, new_record_id
from pipelines.layout import PartitionKey
from pipelines.lifecycle import tier_at, window_of_key
from pipelines.nested import outside_nested
from pipelines.tables.runs import has_our_name
from pipelines.tables.waiting import WAITING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from pipelines.handle import Handle
    from pipelines.tables.protocol import LiveFile

__all__ = ["ORPHAN_AGE", "Problem", "VacuumResult", "VerifyReport", "delete_for_good", "vacuum", "verify"]

_CONCURRENCY = 8
ORPHAN_AGE = timedelta(hours=24)
"""A file that no commit names may belong to a run that has not committed yet; it is kept this long."""


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """What a vacuum deleted.

    Attributes:
        expired: files of expired or replaced partitions whose grace has ended, below the root.
        orphans: files that no commit ever named.
        bytes: size of both, as listed.
        kept: files that wait for their grace or their age.
        dry_run: True where nothing was deleted.
    """

    expired: tuple[str, ...]
    orphans: tuple[str, ...]
    bytes: int
    kept: int
    dry_run: bool

    @property
    def deleted(self) -> int:
        """Number of files."""
        return len(self.expired) + len(self.orphans)


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


def _stored(handle: Handle, live: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Data files in the store by path below the root.

    Not the log, not "directory" objects, of `_lake/` what waits, and of nested tables what our own commits name.
    """
    root = handle.table.root
    handle.fs.invalidate_cache()
    found = {name.removeprefix(f"{root}/"): info for name, info in handle.fs.find(root, detail=True).items()}
    return {
        path: info
        for path, info in outside_nested(found, keep=live).items()
        if info["type"] == "file"
        and not path.endswith("/")
        and (path.startswith(WAITING) or not path.startswith(("_delta_log/", "_lake/")))
    }


def vacuum(handle: Handle, *, dry_run: bool = False, run_id: str | None = None) -> VacuumResult:
    """Delete what no commit names: after the grace what was expired or replaced, after 24 hours orphans.

    Ages go by the server's clock. On a versioned bucket all versions and delete markers go. Files of a held partition
    stay.

    Args:
        handle: the dataset.
        dry_run: only say what would go.
        run_id: for the history.
    """
    now = handle.clock.now()
    live = {file.path for file in handle.table.snapshot().files}
    removed = {file.path: file.removed_at for file in handle.table.removed_files() if file.path not in live}
    stored = _stored(handle, live)
    held, is_adopted = _held_prefixes(handle), _is_adopted(handle)
    expired: list[str] = []
    orphans: list[str] = []
    kept = 0
    candidates = {path for path in stored if path not in live} | {
        path for path in removed if handle.table.is_published_by_writing
    }
    for path in sorted(candidates):
        is_expired = path in removed
        since, wait = (
            (removed[path], handle.spec.retention.grace) if is_expired else (stored[path]["LastModified"], ORPHAN_AGE)
        )
        if handle.table.is_published_by_writing and not is_expired and not path.startswith(WAITING):
            continue  # no other orphans in a plain table: what is there is live, or is not ours
        if not is_expired and is_adopted and not has_our_name(path):
            continue  # somebody's, not an orphan of ours
        if path.startswith(held) or now - since < wait:
            kept += 1
        else:
            (expired if is_expired else orphans).append(path)
    size = sum(int(stored[path]["size"]) for path in [*expired, *orphans] if path in stored)
    result = VacuumResult(tuple(expired), tuple(orphans), size, kept, dry_run)
    if result.deleted and not dry_run:
        delete_for_good(handle, [*expired, *orphans])
        reason = f"{len(expired)} past the grace, {len(orphans)} never committed"
        handle.journal.write_vacuum(
            VacuumRecord(id=new_record_id(now), at=now, run_id=run_id, reason=reason, files=result.deleted, bytes=size)
        )
    return result


def _held_prefixes(handle: Handle) -> tuple[str, ...]:
    """Paths that must not be deleted, read just before the deletion."""
    if handle.document is None:
        return ()
    return tuple(f"{PartitionKey.parse(key).prefix}/" for key in handle.document.read().holds)


def _is_adopted(handle: Handle) -> bool:
    """Whether others wrote, and may go on to write, files below the root that are theirs to delete."""
    return handle.document is None or handle.document.read().adopted_at is not None


def delete_for_good(handle: Handle, paths: Sequence[str]) -> None:
    """Delete objects, on a versioned bucket with all their versions; paths are below the root."""
    if not paths:
        return
    root = handle.table.root
    if handle.fs.is_versioned(root.partition("/")[0]):
        with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="delete") as pool:
            list(pool.map(partial(_delete_versions, handle), paths))
    else:
        handle.fs.rm([f"{root}/{path}" for path in paths])
    handle.fs.invalidate_cache()


def _delete_versions(handle: Handle, path: str) -> None:
    name = f"{handle.table.root}/{path}"
    versions = [version for version in handle.fs.object_versions(name) if version.path == name]
    handle.fs.delete_versions(name, [version.version_id for version in versions])


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
    live = {file.path for file in snapshot.files}
    stored = _stored(handle, live)
    problems: list[Problem] = []
    for file in snapshot.files:
        info = stored.get(file.path)
        if info is None:
            problems.append(Problem("missing", file.path, "committed, but not in the store"))
            continue
        if int(info["size"]) != file.size:
            problems.append(Problem("size", file.path, f"{info['size']} bytes, but {file.size} were committed"))
        problems.extend(_class_problems(handle, file, str(info.get("StorageClass") or "STANDARD"), instant))
    problems.extend(_encryption_problems(handle, [file for file in snapshot.files if file.path in stored]))
    return VerifyReport(
        files=len(snapshot.files),
        bytes=sum(file.size for file in snapshot.files),
        problems=tuple(problems),
        orphans=sum(path not in live for path in stored),
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
