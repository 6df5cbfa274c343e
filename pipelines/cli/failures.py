"""What went wrong, as lines for people, a document for programs and an exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Self

import click

from tierlake.connector.errors import AppliedInPart, DeletionFailed, LakeError
from tierlake.connector.redact import redact
from tierlake.pipelines.errors import PartialFailure, PolicyRefused
from tierlake.pipelines.runtime.page import has_colour

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExitCode", "Failure", "exit_code_of"]


class ExitCode(IntEnum):
    """What the process says at its end."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    REFUSED = 4
    INTERRUPTED = 130  # as shells count what SIGINT ended


def exit_code_of(codes: Mapping[str, str], *, done: int) -> ExitCode:
    """How a command ends that did something to several partitions.

    Args:
        codes: The error code of each that failed.
        done: How many are as they were wanted.
    """
    if not codes:
        return ExitCode.DONE
    if done:
        return ExitCode.PARTIAL
    return ExitCode.REFUSED if set(codes.values()) == {PolicyRefused.code} else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the user gets it.

    Attributes:
        exit_code: How the process ends.
        message: One sentence.
        hint: What to do about it.
        facts: Everything known, for programs: at least `code` and `message`.
        failures: What failed of something done in part, each with its error.
    """

    exit_code: ExitCode
    message: str
    hint: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: LakeError | OSError) -> Self:
        """From what pipelines, the connector or the local file system raised."""
        if not isinstance(error, LakeError):
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return cls.plainly("local_error", message)
        exit_code, failures = ExitCode.FAILED, {}
        if isinstance(error, PolicyRefused):
            exit_code = ExitCode.REFUSED
        elif isinstance(error, PartialFailure | DeletionFailed | AppliedInPart):
            exit_code, failures = ExitCode.PARTIAL, dict(error.failures)
        return cls(exit_code, error.message, error.hint, error.to_dict(), failures)

    @classmethod
    def of_usage(cls, error: click.ClickException) -> Self:
        """From click: an unknown option, a missing argument, a value that is none."""
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"{context.command_path if context else 'tierlake'} --help"
        return cls.plainly("usage", error.format_message(), hint=hint, exit_code=ExitCode.USAGE)

    @classmethod
    def plainly(
        cls, code: str, message: str, *, hint: str | None = None, exit_code: ExitCode = ExitCode.FAILED
    ) -> Self:
        """From nothing but a name and a sentence."""
        facts = {"code": code, "message": message} | ({"hint": hint} if hint else {})
        return cls(exit_code, message, hint, facts)

    def report(self, *, as_json: bool) -> ExitCode:
        """Tell it: lines on stderr and, where a program listens, one document on stdout.

        Returns:
            How to end the process.
        """
        request_id = self.facts.get("request_id")
        is_coloured = has_colour(sys.stderr)
        error, hint = (
            click.style(text, fg=colour, bold=True) if is_coloured else text
            for text, colour in (("error:", "red"), ("hint:", "cyan"))
        )
        lines = [f"{error} {redact(self.message)}"]
        lines += [redact(f"  {name}: {text}") for name, text in self.failures.items()]
        lines += [f"  {hint} {redact(self.hint)}"] if self.hint else []
        lines += [f"  request id: {request_id}"] if request_id else []
        click.echo("\n".join(lines), err=True, color=is_coloured)
        if as_json:
            document = {"error": dict(self.facts) | ({"failures": self.failures} if self.failures else {})}
            click.echo(redact(json.dumps(document, ensure_ascii=False)))
        return self.exit_code
