"""The looks at a store: each reads, none writes, and what may not be looked at is named and left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.connector.errors import AccessDenied, LakeError, UnsupportedByServer
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.survey.classification import owner_of
from tierlake.pipelines.survey.delta_logs import DeltaFigures, figures_of
from tierlake.pipelines.survey.leftovers import OldVersions, Uploads
from tierlake.pipelines.survey.report import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.survey.classification import FoundDataset
    from tierlake.pipelines.survey.folders import LogFacts

__all__ = ["Budget", "Place", "UploadsLook", "VersionsLook", "rules_of", "uploads_of"]

_LOGS_AT_ONCE = 4
_NO_RULES = "NoSuchLifecycleConfiguration"
_MORE_TIME = "a longer --seconds, or a smaller prefix"
_REST_OF_UPLOADS = "the rest of the incomplete uploads"
_RIGHT_TO_UPLOADS = "s3:ListBucketMultipartUploads"


@dataclass(frozen=True, slots=True)
class Place:
    """What is surveyed.

    Attributes:
        bucket: The bucket.
        prefix: What keys begin with: a folder with its slash, or nothing.
    """

    bucket: str
    prefix: str

    @property
    def path(self) -> str:
        """`bucket/prefix`, as listings take it."""
        return f"{self.bucket}/{self.prefix}"

    def root(self, path: str) -> str:
        """`bucket/prefix` of a folder below it, given with its slash, without that slash."""
        return f"{self.path}{path}".removesuffix("/")

    def uri(self, path: str = "") -> str:
        """The URI of a folder below it."""
        return f"lake://{self.root(path)}"


@dataclass(slots=True)
class Budget:
    """How long a survey may take, and how many objects it may look at.

    Attributes:
        seconds: The time; None is any.
        objects: The objects, listed versions apart; None is any.
        timer: Tells seconds.
    """

    seconds: float | None
    objects: int | None
    timer: Callable[[], float]
    _begin: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._begin = self.timer()

    def is_over(self, share: float = 1.0) -> bool:
        """Whether that much of the time is up."""
        return self.seconds is not None and self.timer() - self._begin >= self.seconds * share


def denied(error: LakeError | OSError) -> str:
    """Why a look failed, in words."""
    if isinstance(error, AccessDenied):
        return "the credentials may not ask for it"
    if isinstance(error, UnsupportedByServer):
        return "the server does not have it"
    return error.message if isinstance(error, LakeError) else str(error)


def keeps_versions(fs: LakeFileSystem, bucket: str) -> bool | None:
    """Whether a bucket has, or may have, old versions; None where that may not be asked."""
    try:
        return fs.has_versions(bucket)
    except (LakeError, OSError):
        return None


@dataclass(slots=True)
class VersionsLook:
    """The old versions of a place.

    Attributes:
        versions: All of them.
        of_dataset: Objects and bytes by the dataset's path.
        unknown: What was not looked at.
    """

    versions: OldVersions
    of_dataset: dict[str, list[int]] = field(default_factory=dict)
    unknown: Unknown | None = None

    def look(
        self, fs: LakeFileSystem, place: Place, datasets: Mapping[str, FoundDataset], budget: Budget
    ) -> VersionsLook:
        """List them."""
        try:
            for page in fs.version_pages(place.path):
                if budget.is_over():
                    seen = f"{self.versions.entries:,} versions and markers were listed, then the time was up"
                    self.unknown = Unknown("old versions", seen, _MORE_TIME)
                    break
                for key, size in self.versions.add_page(page):
                    path = owner_of(key[len(place.prefix) :], datasets)
                    count = self.of_dataset.setdefault(path or "", [0, 0])
                    count[0] += 1
                    count[1] += size
        except (LakeError, OSError) as error:
            right = "s3:ListBucketVersions, or S3 Inventory with all versions"
            self.unknown = Unknown("old versions", denied(error), right)
        return self


@dataclass(slots=True)
class UploadsLook:
    """The incomplete uploads of a place.

    Attributes:
        uploads: Those that were listed; None where they could not be.
        unknown: What could not be told of them.
    """

    uploads: Uploads | None
    unknown: list[Unknown] = field(default_factory=list)


def uploads_of(fs: LakeFileSystem, place: Place, now: datetime, budget: Budget) -> UploadsLook:
    """List the incomplete uploads of a place: the first page always, the others while there is time."""
    uploads = Uploads(now)
    look = UploadsLook(uploads)
    try:
        for number, page in enumerate(fs.upload_pages(place.path)):
            if number and budget.is_over():
                seen = f"{uploads.count:,} were listed, then the time was up"
                look.unknown.append(Unknown(_REST_OF_UPLOADS, seen, _MORE_TIME))
                break
            uploads.add_page(fs, page)
    except (LakeError, OSError) as error:
        if not uploads.count:
            return UploadsLook(None, [Unknown("incomplete uploads", denied(error), _RIGHT_TO_UPLOADS)])
        seen = f"{uploads.count:,} were listed, then: {denied(error)}"
        look.unknown.append(Unknown(_REST_OF_UPLOADS, seen, _RIGHT_TO_UPLOADS))
    if uploads.problem:
        question = Unknown("the size of incomplete uploads", uploads.problem, "s3:ListMultipartUploadParts")
        look.unknown.append(question)
    elif uploads.measured < uploads.count:
        seen = f"{uploads.measured:,} of {uploads.count:,} were measured, by a request each"
        look.unknown.append(Unknown("the size of the other incomplete uploads", seen, "S3 Storage Lens counts all"))
    return look


def rules_of(fs: LakeFileSystem, bucket: str) -> tuple[str, ...] | Unknown:
    """The names of the bucket's lifecycle rules."""
    try:
        rules = fs.call_s3("get_bucket_lifecycle_configuration", Bucket=bucket).get("Rules", ())
    except (LakeError, OSError) as error:
        if isinstance(error, LakeError) and error.server_code == _NO_RULES:
            return ()
        return Unknown("lifecycle rules", denied(error), "s3:GetLifecycleConfiguration")
    return tuple(str(rule.get("ID") or "a rule without a name") for rule in rules)


def logs_of(
    fs: LakeFileSystem, place: Place, datasets: Mapping[str, FoundDataset], budget: Budget
) -> dict[str, DeltaFigures]:
    """What the logs of the Delta tables tell, by path."""

    def look(table: tuple[str, LogFacts]) -> DeltaFigures:
        if budget.is_over():
            return DeltaFigures(problem="its log was not read: the time was up")
        return figures_of(fs, place.root(table[0]), table[1])

    tables = [(path, found.log) for path, found in datasets.items() if found.log is not None]
    figures = in_threads(look, tables, at_once=_LOGS_AT_ONCE, name="survey")
    return {path: one for (path, _), one in zip(tables, figures, strict=True)}
