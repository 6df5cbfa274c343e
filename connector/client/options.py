"""The options that exist: a misspelt one must not vanish.

s3fs drops every keyword that the operation at hand does not take. That is right for defaults that concern
other operations, and wrong for a misspelt `ServerSideEncrytion`. Here a name that no
S3 operation has is an error, which names the nearest right one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import UnknownOption
from tierlake.connector.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LOWER_CASE_ALIASES = {"acl": "ACL"}
"""s3fs accepts these spellings too, and acts on them itself."""


def _model_name(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))


@functools.lru_cache(maxsize=256)
def _parameters(service: Any, operation: str) -> frozenset[str]:
    shape = service.operation_model(_model_name(operation)).input_shape
    return frozenset(shape.members) if shape is not None else frozenset()


@functools.lru_cache(maxsize=4)
def _all_parameters(service: Any) -> frozenset[str]:
    shapes = (service.operation_model(name).input_shape for name in service.operation_names)
    return frozenset(member for shape in shapes if shape is not None for member in shape.members)


def fitting(service: Any, operation: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the options that an operation takes.

    Args:
        service: Botocore's service model of S3.
        operation: The operation's name as a method, such as `put_object`.
        options: Options of the call and defaults, which may concern other operations.

    Returns:
        The options that concern this operation.

    Raises:
        UnknownOption: An option concerns no S3 operation at all.
    """
    known = _parameters(service, operation)
    if options.keys() <= known:
        return dict(options)
    fit = {name: value for name, value in options.items() if name in known}
    check_known(service, options.keys() - known)
    return fit


def check_known(service: Any, names: Iterable[str]) -> None:
    """Refuse names that no S3 operation has.

    Raises:
        UnknownOption: A name is unknown; the hint has the nearest right one.
    """
    known = _all_parameters(service)
    for name in sorted(names):
        if name in known or name in _LOWER_CASE_ALIASES:
            continue
        hint = did_you_mean(name.replace("_", ""), known)
        raise UnknownOption(f"No S3 operation has an option {name!r}", hint=hint)
