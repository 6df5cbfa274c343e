"""Alerts: a person hears of a step that failed, with all that is needed to find the cause, and no secret.

    hook = alert_on_failure(lambda alert: pager.trigger(str(alert)))        # a function of one's own
    hook = alert_on_failure("webhook")                                      # or a resource: a URL that takes JSON

    dg.define_asset_job("flights_job", "flights", hooks={hook})
    dg.Definitions(..., resources={"webhook": Webhook(url=dg.EnvVar("ALERT_URL"))})

A step that is going to be tried again makes no alert. A run that died before any of its steps could fail makes none
either: Dagster's `run_failure_sensor`, and those of `dagster-slack` and `dagster-msteams`, report these.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.request import Request, urlopen

import dagster as dg
from pydantic import Field

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe.edges import reporting
from tierlake.connector.redact import redact
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG
from tierlake.dagster_project.resources.failures import lake_error_in
from tierlake.dagster_project.resources.secret_fields import NamedSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Alert", "Webhook", "alert_on_failure"]

_TIMEOUT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Alert:
    """A step that failed.

    Attributes:
        run_id: The run.
        job: Its job.
        step: The step.
        dataset: The run's tag `tierlake/dataset`; None without one.
        code: The error's code, as `access_denied`; the class's name where the error is not one of ours.
        message: The error's message.
        hint: A remedy; None where none is known.
        request_id: Under which the store logged the request; None for other errors.
    """

    run_id: str
    job: str
    step: str
    dataset: str | None
    code: str
    message: str
    hint: str | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        """One line."""
        about = f" of {self.dataset}" if self.dataset else ""
        request = f" (request id {self.request_id})" if self.request_id else ""
        hint = f" {self.hint}" if self.hint else ""
        return (
            f"{self.job}{about} failed in {self.step}, run {self.run_id}: {self.code}: {self.message}{request}.{hint}"
        )


class Webhook(NamedSecrets["Webhook"]):
    """A URL that takes alerts as JSON: all of an alert's fields, and `text`, which is what chats show.

    Such a URL is a secret: give it as `dg.EnvVar("NAME")`. A literal one is refused.
    """

    SECRETS: ClassVar[Mapping[str, str]] = {"url": ""}

    url: str = Field(repr=False, description='http(s)://..., as dg.EnvVar("NAME").')

    @reporting
    def send(self, alert: Alert) -> None:
        """Post one alert.

        Raises:
            InvalidSetting: The URL is neither http nor https.
            OSError: Nobody took it.
        """
        if not self.url.startswith(("https://", "http://")):
            raise InvalidSetting("the webhook's URL is neither http:// nor https://")
        body = json.dumps({"text": str(alert), **asdict(alert)}).encode()
        # the errors of urllib do not name the URL, which is a secret; those of requests do
        request = Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - http(s), see above
        with urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - likewise
            pass


def alert_on_failure(notify: Callable[[Alert], object] | str, *, name: str = "alert_on_failure") -> dg.HookDefinition:
    """A hook for jobs (`hooks=`) and assets (`hooks=`) that alerts on each step that failed.

    Dagster logs an error of `notify`; the run is not changed by it.

    Args:
        notify: Takes an alert; or the key of a resource that has `send`, such as `Webhook`.
        name: The hook's.
    """
    resource = notify if isinstance(notify, str) else None

    @dg.failure_hook(name=name, required_resource_keys={resource} if resource else None)
    def hook(context: dg.HookContext) -> None:
        alert = _alert(context)
        if isinstance(notify, str):
            getattr(context.resources, notify).send(alert)
        else:
            notify(alert)

    return hook


def _alert(context: dg.HookContext) -> Alert:
    run = context.instance.get_run_by_id(context.run_id)
    error = lake_error_in(context.op_exception)
    facts: dict[str, Any] = error.to_dict() if error else _foreign(context.op_exception)
    return Alert(
        run_id=context.run_id,
        job=context.job_name,
        step=context.step_key,
        dataset=run.tags.get(DATASET_TAG) if run else None,
        code=facts["code"],
        message=redact(facts["message"]),
        hint=facts.get("hint"),
        request_id=facts.get("request_id"),
    )


def _foreign(error: BaseException | None) -> dict[str, str]:
    return {"code": type(error).__name__, "message": str(error)} if error else {"code": "unknown", "message": "failed"}
