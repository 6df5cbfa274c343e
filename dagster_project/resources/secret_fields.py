"""Resources whose secrets are names: of environment variables, wherever their configuration is written.

Dagster stores a resource's configuration with the definitions and with each run, and the UI shows both.
So a secret is never typed: in Python a literal one is refused when the definitions load, and at the launchpad the
configuration takes `{env: NAME}` and nothing else, so that a run with a literal one is never made. A URL may be typed,
but not with a user name, a password or a query in it: that is refused in Python where it is written, and at the
launchpad before the run is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import dagster as dg

from tierlake.connector.errors import InvalidSetting
from tierlake.dagster_project.dagster_internals import is_running_copy, replace_resource_schema, resource_schema

__all__ = ["NamedSecrets", "UrlCheck"]

Value = TypeVar("Value")

UrlCheck = Callable[[str, str], None]
"""Takes a URL and its field's name; raises InvalidSetting where it holds a secret."""

_source: Any = dg.StringSource  # takes text or {env: NAME}; Dagster gives it no types
_selector: Any = dg.Selector
_shape: Any = dg.Shape


class _FromEnvironment(dg.Noneable):
    """Configuration that names an environment variable, and is its value in a run."""

    def __init__(self) -> None:
        name = dg.Field(str, description="The name of an environment variable, never the secret.")
        super().__init__(_selector({"env": name}))

    def post_process(self, value: Any) -> Any:
        """The variable's value; where there is none, Dagster's own error, which names it."""
        return None if value is None else _source.post_process(value)


class _PlainUrl(dg.Noneable):
    """Configuration that is a URL without a secret in it, or names an environment variable that is one."""

    def __init__(self, name: str, check: UrlCheck) -> None:
        super().__init__(_source)
        self._name = name
        self._check = check

    def post_process(self, value: Any) -> Any:
        """The URL.

        Raises:
            InvalidSetting: It holds a secret. Dagster would repeat the value of one of its own errors.
        """
        if value is not None:
            self._check(value, self._name)
        return value


class NamedSecrets(dg.ConfigurableResource[Value]):
    """A resource of which some fields are secrets.

    Attributes:
        SECRETS: By field, what to do where it is left out: the rest of a sentence that ends in "leave it out and ...";
            empty where it cannot be.
        URLS: By field, what refuses one with a secret in it.
    """

    SECRETS: ClassVar[Mapping[str, str]] = {}
    URLS: ClassVar[Mapping[str, UrlCheck]] = {}

    def __init__(self, **data: Any) -> None:
        for name, check in self.URLS.items():
            if isinstance(data.get(name), str) and not isinstance(data[name], dg.EnvVar):
                _refused_in_python(type(self).__name__, check, data[name], name)
        super().__init__(**data)
        if not self._literal():
            replace_resource_schema(self, _by_name(resource_schema(self), self.SECRETS, self.URLS))

    def get_resource_definition(self) -> Any:
        """The definition that Dagster shows and stores: no secret may be in its configuration.

        Raises:
            DagsterInvalidDefinitionError: A secret is given literally.
        """
        # in a run's copy the secrets are there: environment variables have been replaced by their values
        for name in () if is_running_copy(self) else self._literal():
            kind, otherwise = type(self).__name__, self.SECRETS[name]
            raise dg.DagsterInvalidDefinitionError(
                f"{kind}({name}=...) is given literally, and Dagster's UI would show it: write "
                f'{name}=dg.EnvVar("NAME")' + (f", or leave it out and {otherwise}" if otherwise else "")
            )
        return super().get_resource_definition()

    @classmethod
    def configure_at_launch(cls, **_: Any) -> Any:
        """Refused: the resource that it makes would take literal secrets.

        Raises:
            DagsterInvalidDefinitionError: Always.
        """
        raise dg.DagsterInvalidDefinitionError(
            f"{cls.__name__}.configure_at_launch would take secrets typed at the launchpad: {cls.__name__}(...) itself "
            "takes configuration there, and secrets by name"
        )

    def _literal(self) -> list[str]:
        values = {name: getattr(self, name) for name in self.SECRETS}
        return [name for name, value in values.items() if value is not None and not isinstance(value, dg.EnvVar)]


def _refused_in_python(kind: str, check: UrlCheck, url: str, name: str) -> None:
    try:
        check(url, f"{kind}({name}=...)")
    except InvalidSetting as error:
        raise dg.DagsterInvalidDefinitionError(str(error)) from None


def _by_name(schema: Any, secrets: Mapping[str, str], urls: Mapping[str, UrlCheck]) -> Any:
    """The configuration's schema with names in the place of secrets, and with checked URLs."""
    whole = schema.as_field()
    fields = dict(whole.config_type.fields)
    for name in secrets:
        plain = fields[name]
        # not `is_secret`: Dagster would put asterisks for the name into the launchpad, which are no configuration
        default = {"default_value": plain.default_value} if plain.default_provided else {}
        fields[name] = dg.Field(
            _FromEnvironment(), is_required=plain.is_required, description=plain.description, **default
        )
    for name, check in urls.items():
        plain = fields[name]
        default = {"default_value": plain.default_value} if plain.default_provided else {}
        fields[name] = dg.Field(
            _PlainUrl(name, check), is_required=plain.is_required, description=plain.description, **default
        )
    given = {"default_value": whole.default_value} if whole.default_provided else {}
    return type(schema)(dg.Field(_shape(fields), is_required=whole.is_required, description=whole.description, **given))
