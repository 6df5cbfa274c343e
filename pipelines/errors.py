"""What can go wrong with a dataset.

LakeError                         (tierlake.connector.errors: code, message, hint, request id)
└── PipelineError
├── the caller's input: change it
│   ├── SpecError             (ValueError)         a spec that contradicts itself, or an unknown field
│   │   └── SpecDiffers                            a description that is not the one stored with the dataset
│   ├── SchemaMismatch        (ValueError)         data that the table's schema cannot take
│   ├── SourceError           (ValueError)         a source that cannot be read
│   ├── RejectedTooMany       (ValueError)         more bad rows than the spec allows
│   └── UnknownPartition      (KeyError)           a key that the table does not have
├── the state of the table: look, then decide
│   ├── TableNotFound         (FileNotFoundError)  nothing there
│   ├── TableExists           (FileExistsError)    `create` where one is, or anything else
│   ├── LogMissing            (RuntimeError)       the files are there, the Delta log is gone
│   ├── TableUnreadable       (RuntimeError)       a commit, or a record beside the table, is not what its name says
│   ├── CommitConflict        (RuntimeError)       somebody else changed the same partitions
│   │   └── StagedTooLong                          a vacuum may have taken the files that waited for their commit
│   ├── CommitUnknown         (RuntimeError)       the store failed at the commit, and cannot tell whether it is there
│   ├── StalePlan             (RuntimeError)       the partition is not what the plan saw
│   └── ArchivedError         (ObjectArchived, PermissionError)  the class needs a restore before it can be read
├── a policy says no
│   └── PolicyRefused         (PermissionError)    held, retained, waiting for downstream, past its grace
├── the format, the process or the installation cannot
│   ├── UnsupportedByTable    (NotImplementedError)
│   ├── ForkedProcess         (RuntimeError)       Rust libraries do not survive a fork
│   └── PackageMissing        (ModuleNotFoundError) an extra that is not installed
└── PartialFailure            (RuntimeError)       some of it was done; `failures` lists the rest
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tierlake.connector.errors import LakeError, ObjectArchived

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ArchivedError",
    "CommitConflict",
    "CommitUnknown",
    "ForkedProcess",
    "LogMissing",
    "PackageMissing",
    "PartialFailure",
    "PipelineError",
    "PolicyRefused",
    "RejectedTooMany",
    "SchemaMismatch",
    "SourceError",
    "SpecDiffers",
    "SpecError",
    "StagedTooLong",
    "StalePlan",
    "TableExists",
    "TableNotFound",
    "TableUnreadable",
    "UnknownPartition",
    "UnsupportedByTable",
]


class PipelineError(LakeError):
    """Anything that the dataset layer raises."""

    code = "pipeline_error"


class SpecError(PipelineError, ValueError):
    """A dataset spec that contradicts itself or names what does not exist."""

    code = "spec_error"


class SpecDiffers(SpecError):
    """A description that differs from the one stored with the dataset; `tierlake apply` makes it the stored one."""

    code = "spec_differs"


class SchemaMismatch(PipelineError, ValueError):
    """Data whose columns the table's schema cannot take; both schemas are in the message."""

    code = "schema_mismatch"
    shows_values = True


class SourceError(PipelineError, ValueError):
    """A source that is missing, unreadable or of an unknown kind."""

    code = "source_error"
    shows_values = True


class RejectedTooMany(PipelineError, ValueError):
    """More rows were rejected than `rejects.max_ratio` allows; nothing was committed."""

    code = "rejected_too_many"


class UnknownPartition(PipelineError, KeyError):
    """A partition key that the table does not have."""

    code = "unknown_partition"


class TableNotFound(PipelineError, FileNotFoundError):
    """No table at this URI."""

    code = "table_not_found"


class TableExists(PipelineError, FileExistsError):
    """`create` where a table already is, or other objects, or inside another table."""

    code = "table_exists"


class LogMissing(PipelineError, RuntimeError):
    """A Delta table whose log is gone; no FileNotFoundError, as its files are there and nobody may take it for new."""

    code = "log_missing"


class TableUnreadable(PipelineError, RuntimeError):
    """A commit of a table's log, or a record beside its files, that is not what its name says; the message names it."""

    code = "table_unreadable"


class CommitConflict(PipelineError, RuntimeError):
    """Another writer changed the same partitions first; nothing of ours was committed.

    Attributes:
        seconds: For how long it was tried again; None where another attempt was no use.
        is_partial: Whether a part of it may be done all the same: objects of a plain table go one by one.
    """

    code = "commit_conflict"
    seconds: float | None = None
    is_partial: bool = False


class StagedTooLong(CommitConflict):
    """Files waited so long for their commit that a vacuum may have taken them; write them anew."""

    code = "staged_too_long"


class CommitUnknown(PipelineError, RuntimeError):
    """The store failed while a commit was made, and again when it was asked whether the commit is there."""

    code = "commit_unknown"

    @classmethod
    def of(cls, root: str, failure: LakeError, run_key: str | None) -> Self:
        """The error, with what the store said.

        Args:
            root: Of the table, `bucket/prefix`.
            failure: Of the commit.
            run_key: Of the ingest; None for acts that look at the table themselves.
        """
        again = f"with the run key {run_key}, which recognises its own commit" if run_key else "it looks first"
        return cls(
            f"lake://{root}: the commit may have been made, or not: {failure.message}",
            hint=f"when the store answers again, run it again{' ' if run_key else ': '}{again}",
            request_id=failure.request_id,
            server_code=failure.server_code,
            bucket=failure.bucket,
            key=failure.key,
        )


class StalePlan(PipelineError, RuntimeError):
    """A partition changed after the plan was made; plan again."""

    code = "stale_plan"


class ArchivedError(PipelineError, ObjectArchived):
    """Files in a storage class that needs a restore before it can be read.

    Attributes:
        keys: The partitions that have to be restored, as `ls` prints them.
    """

    code = "archived_error"

    def __init__(self, message: str, *, hint: str | None = None, keys: tuple[str, ...] = ()) -> None:
        """Keep the partitions beside the message."""
        super().__init__(message, hint=hint)
        self.keys = keys


class PolicyRefused(PipelineError, PermissionError):
    """A hold, a retention rule or an ended grace forbids it."""

    code = "policy_refused"


class UnsupportedByTable(PipelineError, NotImplementedError):
    """An operation that this table's format or features do not allow."""

    code = "unsupported_by_table"


class ForkedProcess(PipelineError, RuntimeError):
    """A process forked from one that used the Rust libraries; use spawn or forkserver."""

    code = "forked_process"


class PackageMissing(PipelineError, ModuleNotFoundError):
    """A package that this needs is not installed; the hint names the extra that brings it."""

    code = "package_missing"


class PartialFailure(PipelineError, RuntimeError):
    """Part of the work was done.

    Attributes:
        failures: What failed, each with its error text.
    """

    code = "partial_failure"

    def __init__(self, message: str, *, failures: Mapping[str, str], hint: str | None = None) -> None:
        """Keep the failures beside the message."""
        super().__init__(message, hint=hint)
        self.failures = dict(failures)
