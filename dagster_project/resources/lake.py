"""The lake as a Dagster resource: the place, the credentials, and the day by which policies judge."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field

from tierlake.connector.observe.edges import reporting
from tierlake.connector.urls import check_endpoint_url, check_place
from tierlake.dagster_project.resources.embedded import embedded_filesystem
from tierlake.dagster_project.resources.secret_fields import NamedSecrets, UrlCheck
from tierlake.dagster_project.resources.step_log import log_running_step
from tierlake.dagster_project.resources.step_spans import begin_step_spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg

    from tierlake.connector import LakeFileSystem
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.metastore.opening import Described

__all__ = ["DEFAULT_WAREHOUSE", "STORE_VARIABLES", "LakeResource"]

DEFAULT_WAREHOUSE: Final = "lake://warehouse"

STORE_VARIABLES: Final = (
    "TIERLAKE_WAREHOUSE",
    "TIERLAKE_ENDPOINT_URL",
    "TIERLAKE_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
)
"""Variables of the environment of which each names a store: there is no embedded server then."""

_OPTIONS: Final = ("endpoint_url", "profile", "key", "secret", "token")


class LakeResource(NamedSecrets["LakeResource"]):
    """Opens the datasets below one URI.

    Fields that are left out come from the environment when a run starts (`TIERLAKE_*`, and the AWS chain for
    credentials), so the same definitions serve an embedded server, MinIO and AWS. Where neither they nor the
    environment name a store, `embedded_server` is the folder of one on this machine: it starts when a run, a sensor
    or a check first needs it, serves all of them, and stops a minute after the last. Give secrets as
    `dg.EnvVar("NAME")`, or at the launchpad as `{env: NAME}`: Dagster then shows the name and never the value. A key or
    secret given literally is refused, and so is a URL with a user name, a password or a query in it.

        LakeResource(warehouse="lake://prod-lake", key=dg.EnvVar("LAKE_KEY"), secret=dg.EnvVar("LAKE_SECRET"))
    """

    SECRETS: ClassVar[Mapping[str, str]] = {
        "key": "set AWS_ACCESS_KEY_ID",
        "secret": "set AWS_SECRET_ACCESS_KEY",
        "token": "set AWS_SESSION_TOKEN",
    }
    URLS: ClassVar[Mapping[str, UrlCheck]] = {"endpoint_url": check_endpoint_url, "warehouse": check_place}

    warehouse: str | None = Field(
        default=None,
        description=f"URI prefix of the datasets; TIERLAKE_WAREHOUSE, else {DEFAULT_WAREHOUSE}.",
    )
    endpoint_url: str | None = Field(
        default=None, description="The S3 endpoint; TIERLAKE_ENDPOINT_URL, AWS_ENDPOINT_URL, else AWS."
    )
    profile: str | None = Field(
        default=None,
        description="The server's profile (aws, minio, seaweedfs, generic); the server's own answer if empty.",
    )
    key: str | None = Field(
        default=None, repr=False, description='Access key id, as dg.EnvVar("NAME"); the AWS chain if empty.'
    )
    secret: str | None = Field(default=None, repr=False, description='Secret access key, as dg.EnvVar("NAME").')
    token: str | None = Field(default=None, repr=False, description='Session token, as dg.EnvVar("NAME").')
    embedded_server: str | None = Field(
        default=None,
        description="Folder of a server on this machine (extra `server`), used while no other field and none of "
        f"{', '.join(STORE_VARIABLES)} names a store.",
    )
    as_of: str | None = Field(
        default=None,
        description="A fixed today (2014-01-01) by which policies judge; TIERLAKE_TODAY, else the clock.",
    )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Give each step of this process a span, where anybody observes."""
        begin_step_spans(context)

    @reporting
    def uri(self, name: str) -> str:
        """The URI of a dataset below the warehouse.

        Raises:
            InvalidSetting: The warehouse holds a secret.
        """
        warehouse = self.warehouse or os.environ.get("TIERLAKE_WAREHOUSE") or DEFAULT_WAREHOUSE
        check_place(warehouse, "warehouse" if self.warehouse else "TIERLAKE_WAREHOUSE")
        return f"{warehouse.rstrip('/')}/{name}"

    def filesystem(self) -> LakeFileSystem:
        """The filesystem behind all datasets."""
        from tierlake.connector import LakeFileSystem

        log_running_step()
        options = {name: getattr(self, name) for name in _OPTIONS if getattr(self, name) is not None}
        if self.embedded_server is not None and not options and self._names_no_store():
            return embedded_filesystem(self.embedded_server, self.uri(""))
        return LakeFileSystem(**options)

    def _names_no_store(self) -> bool:
        return self.warehouse is None and not any(os.environ.get(name) for name in STORE_VARIABLES)

    def dataset(self, name: str, spec: Described | None = None) -> Dataset:
        """Open a dataset below the warehouse.

        Args:
            name: Its path below the warehouse: `flights`, `raw/flights`.
            spec: Its policy, where the table is foreign and has no stored description.

        Raises:
            TableNotFound: Nothing is there yet.
            SpecError: Such a table is not as the spec describes it.
        """
        from tierlake.pipelines import Dataset

        return Dataset.open(self.uri(name), spec=spec, fs=self.filesystem())

    def today(self) -> date | None:
        """The fixed day by which policies judge; None leaves it to the clock.

        Raises:
            ValueError: It is not an ISO date.
        """
        text = self.as_of or os.environ.get("TIERLAKE_TODAY")
        return date.fromisoformat(text) if text else None
