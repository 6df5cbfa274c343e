"""The demo's voice: chapters, prose, and a line when nothing has been said for a while."""

from __future__ import annotations

import textwrap
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PATIENCE_SECONDS", "Narrator"]

PATIENCE_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.5
_WIDTH: Final = 100
_CLEAR_LINE: Final = "\r\x1b[K"


class Narrator:
    """Says what happens, and while nothing happens, what is being waited for. Open it as a context manager.

    A thread speaks after `PATIENCE_SECONDS` of silence, so that whatever takes long never looks like a hang.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare it.

        Args:
            stream: Where it speaks. On a terminal, what was waited for disappears when it has come.
            clock: Seconds that only go forward.
        """
        self._stream = stream
        self._is_waiting = False
        self._chapter = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._spoke = clock()
        self._began = self._spoke
        self._activity = "getting ready"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="narrator", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch for silence."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and leave the terminal with an empty line where something was waited for."""
        self._stopped.set()
        self._thread.join()
        if self._is_waiting:
            click.echo(_CLEAR_LINE, self._stream, nl=False)

    def chapter(self, title: str) -> None:
        """Begin the next chapter."""
        self._chapter += 1
        self.say(click.style(f"\n{self._chapter}. {title}", bold=True))

    def say(self, text: str) -> None:
        """Say a text as it is."""
        with self._lock:
            if self._is_waiting:
                click.echo(_CLEAR_LINE, self._stream, nl=False)
                self._is_waiting = False
            click.echo(text, self._stream)
            self._spoke = self._clock()

    def prose(self, text: str) -> None:
        """Say sentences, in lines that fit."""
        self.say(textwrap.fill(text, _WIDTH))

    @contextmanager
    def during(self, activity: str) -> Iterator[None]:
        """Name what takes time, for the lines in the silence.

        Args:
            activity: As text: `Dagster writes the flights`.
        """
        before = self._activity, self._began
        self._activity, self._began = activity, self._clock()
        try:
            yield
        finally:
            self._activity, self._began = before

    def break_silence(self) -> None:
        """Say what is being waited for, if nothing has been said for long enough."""
        with self._lock:
            now = self._clock()
            if now - self._spoke >= PATIENCE_SECONDS:
                line = click.style(f"  ... {self._activity} ({now - self._began:.0f} s)", dim=True)
                if self._stream.isatty():
                    click.echo(f"{_CLEAR_LINE}{line}", self._stream, nl=False)
                    self._is_waiting = True
                else:
                    click.echo(line, self._stream)
                self._spoke = now

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.break_silence()
