"""`_lake/dataset.json`: what is stored with a dataset so that afterwards its URI is enough.

The spec, the holds and the partitions kept longer than the policy says. It changes by compare-and-swap on its ETag, so
two writers never lose each other's hold.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierlake.connector.errors import PreconditionFailed
from tierlake.pipelines.errors import PolicyRefused, SpecError, TableNotFound
from tierlake.pipelines.model.instant import Instant, instant_after
from tierlake.pipelines.model.spec import DatasetSpec, Duration
from tierlake.pipelines.runtime.conflicts import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["DatasetDocument", "DocumentStore", "Dropped", "Hold"]

_DESCRIBE = "`tierlake create SPEC.yaml` makes a new dataset, `tierlake adopt URI` one of what is there"


class Hold(BaseModel):
    """Why a partition may not be expired or deleted, whatever the policy says."""

    model_config = ConfigDict(frozen=True)

    reason: str
    since: Instant


class Dropped(BaseModel):
    """When a dataset was dropped, and until when it can be taken back.

    Attributes:
        at: When, by the server's clock.
        record: Id of the journal's record; the removal of its partitions comes after it.
        grace: How long it can be taken back.
        undoable: False where the user gave that up.
        is_ending: Whether a vacuum has begun to delete the log, the journal and the description.
    """

    model_config = ConfigDict(frozen=True)

    at: Instant
    record: str
    grace: Duration
    undoable: bool = True
    is_ending: bool = False

    @property
    def until(self) -> Instant:
        """The instant from which a vacuum may delete the rest of it."""
        return instant_after(self.at, self.grace if self.undoable else timedelta(0))

    def way_out(self, uri: str) -> str:
        """What a caller that meets a dropped dataset can do."""
        anew = "`tierlake vacuum` deletes what is left, and it can be created anew"
        if self.is_ending or not self.undoable:
            return anew
        return f"`tierlake undrop {uri}` takes it back until {self.until:%Y-%m-%d %H:%M %Z}; after that {anew}"


class DatasetDocument(BaseModel):
    """The stored description.

    Attributes:
        spec: The dataset's spec.
        holds: By partition key.
        retains: Partition key to the instant until which it is kept.
        adopted_at: When others' files became this dataset, by the server's clock; None where we created it. In an
            adopted one, only files named by our scheme can be orphans for `vacuum`: the others have another owner.
        dropped: Set where the whole dataset was dropped; None where it is in use.
    """

    model_config = ConfigDict(frozen=True)

    layout: int = 1
    spec: DatasetSpec
    holds: dict[str, Hold] = Field(default_factory=dict)
    retains: dict[str, Instant] = Field(default_factory=dict)
    adopted_at: Instant | None = None
    dropped: Dropped | None = None

    def check_in_use(self, uri: str) -> None:
        """Refuse to write to a dataset that was dropped.

        Raises:
            PolicyRefused: Naming the way back.
        """
        if self.dropped is not None:
            raise PolicyRefused(f"{uri} was dropped on {self.dropped.at:%Y-%m-%d}", hint=self.dropped.way_out(uri))


class DocumentStore:
    """Reads and swaps the document of one dataset."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`) through a filesystem that may write there."""
        self._fs = fs
        self.path = f"{root}/_lake/dataset.json"

    def find(self) -> DatasetDocument | None:
        """The document, or None where nobody described this prefix.

        Raises:
            SpecError: It cannot be read.
        """
        stored = self._fetch()
        return stored[0] if stored else None

    def _fetch(self) -> tuple[DatasetDocument, str] | None:
        try:
            data, etag = self._fs.read_with_etag(self.path)
        except FileNotFoundError:
            return None
        try:
            return DatasetDocument.model_validate_json(data), etag
        except ValidationError as error:
            message = f"{self.path} is not a dataset document: {error.errors(include_url=False)[0]['msg']}"
            raise SpecError(message, hint="was it edited by hand? `tierlake history` shows who wrote last") from error

    def read(self) -> DatasetDocument:
        """The document as it stands.

        Raises:
            TableNotFound: There is none.
            SpecError: It cannot be read.
        """
        document = self.find()
        if document is None:
            message = f"no dataset description at lake://{self.path}"
            raise TableNotFound(message, hint=_DESCRIBE)
        return document

    def create(self, document: DatasetDocument) -> None:
        """Write the first version.

        Raises:
            PreconditionFailed: There is one already.
        """
        self._fs.put_if(self.path, document.model_dump_json(indent=1).encode(), if_none_match=True)

    def update(self, change: Callable[[DatasetDocument], DatasetDocument]) -> DatasetDocument:
        """Apply a pure change by compare-and-swap, again on a newer version when somebody was faster.

        Raises:
            TableNotFound: There is no document.
            CommitConflict: Others kept winning.
        """
        for attempt in attempts(self.path, done="nothing was changed"):
            with attempt:
                stored = self._fetch()
                if stored is None:
                    message = f"no dataset description at lake://{self.path}"
                    raise TableNotFound(message, hint=_DESCRIBE)
                document, etag = stored
                changed = change(document)
                if changed == document:
                    return document
                try:
                    self._fs.put_if(self.path, changed.model_dump_json(indent=1).encode(), if_match=etag)
                except PreconditionFailed:
                    continue
                return changed
        raise AssertionError  # the last attempt raises
