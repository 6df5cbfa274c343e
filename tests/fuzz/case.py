"""A parser, what it is given, and what must hold."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, given, settings

from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis import strategies as st

__all__ = ["SECRET", "SOAK_EXAMPLES", "Case", "check_error"]

SECRET: Final = "wJalrXUtnFEMIK7MDENG"  # pragma: allowlist secret
"""Stands where documents have credentials."""
SOAK_EXAMPLES: Final = int(os.environ.get("TIERLAKE_SOAK_EXAMPLES", "3000"))
_LONGEST: Final = 6000
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Case:
    """A parser of outside bytes.

    Attributes:
        name: Of the case.
        inputs: Mutations of real documents.
        read: Parses one, and uses the value as its callers do. It checks that a value is a right one.
        says: What each error names.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    says: str = ""

    def check(self, examples: int, *, same: bool) -> None:
        """The value, or a `LakeError` that names the input; nothing else.

        Args:
            examples: How many documents.
            same: Always the same ones.
        """

        @settings(
            max_examples=examples,
            derandomize=same,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.inputs)
        def one(given_input: Any) -> None:
            try:
                self.read(given_input)
            except LakeError as error:
                check_error(error, self.says)

        one()


def check_error(error: LakeError, says: str) -> None:
    """An error that a person can read, and a terminal can show."""
    text = str(error)
    assert says in text
    assert SECRET not in text
    assert not _CONTROL.search(text)
    assert len(text) < _LONGEST
