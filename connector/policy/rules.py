"""The write policy: what every object gets, by an ordered list of rules.

The first rule whose glob matches `bucket/key` decides; its empty fields come from the policy's
defaults::

    WritePolicy(
        rules=(
            WriteRule("warehouse/secret/**", encryption=SseKms("alias/secret")),
            WriteRule("*/scratch/**", storage_class="ONEZONE_IA"),
        ),
    )

In a glob `*` and `?` stay within one path segment, `**` crosses them, `[abc]` is a set; a glob
without a slash is matched against the last segment of the key (`*.csv`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe.edges import reporting
from tierlake.connector.policy.encryption import Encryption, SseS3, parse_encryption

STANDARD = "STANDARD"
LOG_FOLDERS = ("_delta_log", "_lake")
"""A table's log: always in the hot class, encrypted."""

_TAGS_MAX = 10


@functools.lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    pattern, at = "", 0
    while at < len(glob):
        char = glob[at]
        if glob.startswith("**/", at):
            pattern, at = pattern + "(?:.*/)?", at + 3
            continue
        if glob.startswith("**", at):
            pattern, at = pattern + ".*", at + 2
            continue
        close = glob.find("]", at + 2) if char == "[" else -1
        if char == "*":
            pattern += "[^/]*"
        elif char == "?":
            pattern += "[^/]"
        elif close > 0:
            body = glob[at + 1 : close]
            negated = body.startswith(("!", "^"))
            members = re.escape(body.removeprefix(body[0]) if negated else body).replace(r"\-", "-")
            pattern += f"(?!/)[{'^' if negated else ''}{members}]"
            at = close
        else:
            pattern += re.escape(char)
        at += 1
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise InvalidSetting(f"{glob!r} is no valid glob: {error}") from error


def matches(glob: str, bucket: str, key: str) -> bool:
    """Whether a rule's glob matches an object.

    Args:
        glob: The rule's glob; `*` alone and `**` match everything.
        bucket: The bucket's name.
        key: The object key.
    """
    if glob in {"*", "**"}:
        return True
    if "/" not in glob:
        return _compiled(glob).fullmatch(key.rstrip("/").rsplit("/", 1)[-1]) is not None
    return _compiled(glob).fullmatch(f"{bucket}/{key}") is not None


@dataclass(frozen=True)
class WriteRule:
    """The properties of objects that match a glob; None takes the policy's default.

    Args:
        match: Glob on `bucket/key`.
        encryption: A value of `tierlake.connector.policy.encryption` or its text.
        storage_class: The storage class's name.
        tags: Object tags, as a mapping.
        content_type: The content type of objects that are written without one.
    """

    match: str = "*"
    encryption: Encryption | None = None
    storage_class: str | None = None
    tags: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    content_type: str | None = None

    @reporting
    def __post_init__(self) -> None:
        if self.encryption is not None:
            object.__setattr__(self, "encryption", parse_encryption(self.encryption))
        pairs = sorted(self.tags.items()) if isinstance(self.tags, Mapping) else self.tags
        object.__setattr__(self, "tags", tuple((name, value) for name, value in pairs))
        if len(self.tags) > _TAGS_MAX:
            raise InvalidSetting(f"An object has at most {_TAGS_MAX} tags")
        _compiled(self.match)

    @classmethod
    @reporting
    def from_value(cls, value: WriteRule | Mapping[str, Any]) -> WriteRule:
        """A rule, from itself or from a mapping with its fields (as in YAML or JSON).

        Raises:
            InvalidSetting: The mapping has a field that rules do not have.
        """
        if isinstance(value, WriteRule):
            return value
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise InvalidSetting(
                f"A write rule has no {', '.join(sorted(map(repr, unknown)))}",
                hint=f"Its fields are {', '.join(cls.__dataclass_fields__)}",
            )
        return cls(**value)


_NO_RULE = WriteRule()


@dataclass(frozen=True)
class ObjectPolicy:
    """The policy for one object: a rule with all fields set."""

    encryption: Encryption
    storage_class: str
    tags: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None

    def tagging(self) -> str | None:
        """The tags as S3's `Tagging` parameter."""
        return urlencode(self.tags) if self.tags else None


@dataclass(frozen=True)
class WritePolicy:
    """An ordered list of rules, with defaults for objects that none matches.

    Args:
        rules: Rules, the first match wins.
        encryption: Default encryption.
        storage_class: Default storage class.
    """

    rules: tuple[WriteRule, ...] = ()
    encryption: Encryption = field(default_factory=SseS3)
    storage_class: str = STANDARD

    @classmethod
    def of(
        cls,
        rules: Iterable[WriteRule | Mapping[str, Any]] = (),
        encryption: str | Encryption | None = None,
        storage_class: str | None = None,
    ) -> WritePolicy:
        """Build a policy from users' values.

        Args:
            rules: Rules, or mappings with a rule's fields.
            encryption: Default encryption; None is SSE-S3.
            storage_class: Default storage class; None is STANDARD.
        """
        return cls(
            rules=tuple(WriteRule.from_value(rule) for rule in rules),
            encryption=SseS3() if encryption is None else parse_encryption(encryption),
            storage_class=storage_class or STANDARD,
        )

    def for_key(self, bucket: str, key: str) -> ObjectPolicy:
        """The policy for one object; a table's log is always STANDARD."""
        rule = next((rule for rule in self.rules if matches(rule.match, bucket, key)), _NO_RULE)
        in_log = any(folder in LOG_FOLDERS for folder in key.split("/")[:-1])
        return ObjectPolicy(
            encryption=rule.encryption or self.encryption,
            storage_class=STANDARD if in_log else rule.storage_class or self.storage_class,
            tags=() if in_log else tuple(dict(rule.tags).items()),
            content_type=rule.content_type,
        )
