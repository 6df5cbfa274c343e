"""Resources whose secrets are names: of environment variables, wherever their configuration is written.

What is typed into a resource's configuration is stored with the definitions and with each run, and the UI shows both.
So a secret is never typed: in Python a literal one is refused when the definitions load, and at the launchpad the
configuration takes `{env: NAME}` and nothing else, so that a run with a literal one is never made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import dagster as dg

__all__ = ["NamedSecrets"]

Value = TypeVar("Value")

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


class NamedSecrets(dg.ConfigurableResource[Value]):
    """A resource of which some fields are secrets.

    Attributes:
        SECRETS: by field, what to do where it is left out: the rest of a sentence that ends in "leave it out and ...";
            empty where it cannot be.
    """

    SECRETS: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)
        state = self._state__internal__
        if not self._literal():
            self._state__internal__ = state._replace(config_schema=_by_name(state.config_schema, self.SECRETS))

    def get_resource_definition(self) -> Any:
        """What Dagster shows and stores of the resource: its configuration, in which no secret may stand.

        Raises:
            DagsterInvalidDefinitionError: a secret is given literally.
        """
        for name in () if self._is_running() else self._literal():
            kind, otherwise = type(self).__name__, self.SECRETS[name]
            raise dg.DagsterInvalidDefinitionError(
                f"{kind}({name}=...) is given literally, and Dagster's UI would show it: write "
                f'{name}=dg.EnvVar("NAME")' + (f", or leave it out and {otherwise}" if otherwise else "")
            )
        return super().get_resource_definition()

    @classmethod
    def configure_at_launch(cls, **_: Any) -> Any:
        """Not for these: what it makes would take literal secrets.

        Raises:
            DagsterInvalidDefinitionError: always.
        """
        raise dg.DagsterInvalidDefinitionError(
            f"{cls.__name__}.configure_at_launch would take secrets typed at the launchpad: {cls.__name__}(...) itself "
            "takes configuration there, and secrets by name"
        )

    def _literal(self) -> list[str]:
        values = {name: getattr(self, name) for name in self.SECRETS}
        return [name for name, value in values.items() if value is not None and not isinstance(value, dg.EnvVar)]

    def _is_running(self) -> bool:
        """Whether this is a run's copy, in which environment variables have been replaced by their values."""
        return self._state__internal__.resource_context is not None


def _by_name(schema: Any, secrets: Mapping[str, str]) -> Any:
    """The configuration's schema with names in the place of secrets."""
    whole = schema.as_field()
    fields = dict(whole.config_type.fields)
    for name in secrets:
        said = fields[name]
        fields[name] = dg.Field(
            _FromEnvironment(), is_required=said.is_required, description=said.description, is_secret=True
        )
    given = {"default_value": whole.default_value} if whole.default_provided else {}
    return type(schema)(dg.Field(_shape(fields), is_required=whole.is_required, description=whole.description, **given))
