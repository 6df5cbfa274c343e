"""Which runs wrote a file: its name has the run's token, and for rewritten files a record names the runs.

An ingest's files carry the token of its run key. When a partition expires, the table forgets the runs that wrote it, so
that the same run key can fill it again. A file that compaction or erasure wrote holds rows of several runs: its token
begins with `r`, and `_lake/runs/<token>.json`, written before the commit, names theirs.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, TypeVar

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.pipelines.errors import TableUnreadable
from tierlake.pipelines.runtime.listing import contents

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = [
    "RUN_METADATA",
    "has_our_name",
    "holders_of",
    "may_hold_rows_of",
    "new_rewrite_token",
    "outdated_rewrites",
    "remember_sources",
    "run_token",
    "runs_of",
]

KeyT = TypeVar("KeyT")

RUN_METADATA = "tierlake-run"
"""Metadata of a plain table's objects with the token of the run that wrote them, since their names are fixed."""

_TOKEN_LENGTH = 16
_NAME_PARTS = 4  # part-<token>-<unique>-<number>.…
_REWRITE = "r"
_OURS = re.compile(r"part-(?:r[0-9a-f]{15}|[0-9a-f]{16})-[0-9a-f]{12}-\d{5}\.")


def has_our_name(path: str) -> bool:
    """Whether a file of a Delta table is named by our scheme."""
    return _OURS.match(path.rpartition("/")[2]) is not None


def run_token(run_key: str) -> str:
    """A run key as a short, path-safe token: file names and the log's transaction ids carry it."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"tierlake:{run_key}").hex[:_TOKEN_LENGTH]


def new_rewrite_token() -> str:
    """A token for files with rows of other runs; no run has such a token."""
    return _REWRITE + uuid.uuid4().hex[: _TOKEN_LENGTH - 1]


def remember_sources(fs: LakeFileSystem, root: str, token: str, sources: Iterable[str]) -> None:
    """Record the runs whose rows the files of a rewrite hold.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
        token: The rewrite's token.
        sources: Paths of the files that it replaces.
    """
    record = {"runs": sorted(runs_of(fs, root, sources))}
    if record["runs"]:
        fs.pipe_file(_record_path(root, token), json.dumps(record).encode())


def may_hold_rows_of(token: str, paths: Iterable[str]) -> bool:
    """Whether any of the files can hold a run's rows, by their names alone."""
    return any(writer == token or _is_rewrite(writer or "") for writer in map(_token_of, paths))


def runs_of(fs: LakeFileSystem, root: str, paths: Iterable[str]) -> frozenset[str]:
    """The tokens of the runs whose rows the files hold; files of other writers have none."""
    tokens = _tokens_of(paths)
    own = frozenset(token for token in tokens if not _is_rewrite(token))
    return own.union(*_sources(fs, root, tokens).values())


def holders_of(fs: LakeFileSystem, root: str, token: str, groups: Mapping[KeyT, Iterable[str]]) -> frozenset[KeyT]:
    """Which groups of files hold rows of a run.

    Args:
        fs: Reads below the root.
        root: `bucket/prefix`.
        token: The run's token.
        groups: Paths of files.
    """
    tokens = {key: _tokens_of(paths) for key, paths in groups.items()}
    sources = _sources(fs, root, frozenset().union(*tokens.values()))
    return frozenset(
        key for key, own in tokens.items() if token in own or any(token in sources.get(one, ()) for one in own)
    )


def outdated_rewrites(fs: LakeFileSystem, root: str, stored: Collection[str], before: datetime) -> list[str]:
    """Records of rewrites whose files are all gone, `bucket/key`.

    Args:
        fs: Reads below the root.
        root: `bucket/prefix`.
        stored: Paths of all files that the store has for the table.
        before: A later record may belong to a running rewrite.
    """
    tokens = set(map(_token_of, stored))
    return [
        path
        for path, info in fs.list_fresh(f"{root}/_lake/runs").items()
        if _is_rewrite(token := path.rpartition("/")[2].removesuffix(".json"))
        and token not in tokens
        and info["LastModified"] < before
    ]


def _is_rewrite(token: str) -> bool:
    return token.startswith(_REWRITE)


def _sources(fs: LakeFileSystem, root: str, tokens: Iterable[str]) -> dict[str, frozenset[str]]:
    """The runs whose rows the files of rewrites hold, by the rewrite's token; all records are read at once."""
    paths = {_record_path(root, token): token for token in tokens if _is_rewrite(token)}
    texts = contents(fs, sorted(paths))
    return {paths[path]: _runs(path, text) for path, text in texts.items()}


def _runs(path: str, data: bytes) -> frozenset[str]:
    try:
        runs = json_object(data).get("runs")
    except UnreadableDocument as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
        raise _unreadable(path, "it lists none")
    return frozenset(runs)


def _unreadable(path: str, reason: str) -> TableUnreadable:
    message = f"lake://{path} does not tell the runs whose rows the files of a rewrite hold: {reason}"
    return TableUnreadable(message, hint="bring it back as it was, where the bucket keeps versions")


def _record_path(root: str, token: str) -> str:
    return f"{root}/_lake/runs/{token}.json"


def _tokens_of(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(token for path in paths if (token := _token_of(path)) is not None)


def _token_of(path: str) -> str | None:
    parts = path.rpartition("/")[2].split("-")
    return parts[1] if parts[0] == "part" and len(parts) >= _NAME_PARTS and len(parts[1]) == _TOKEN_LENGTH else None
