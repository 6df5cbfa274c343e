"""Errors of the libraries below us, translated to ours if our code called the library.

A library's own class tells whose error it is, but `OSError`, which deltalake and Arrow raise too, does not. So the
trace decides: the last frame outside of libraries made the call. If it is ours, we translate the error. If it is a
user's, who called the same library, the error is left alone.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError as HttpError
from botocore import exceptions as boto

from tierlake.connector.client.error_mapping import Target, translated
from tierlake.connector.client.rust_errors import from_rust
from tierlake.connector.errors import LakeError, LibraryError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import CodeType

__all__ = ["TRANSPORT_ERRORS", "of_a_library"]

TRANSPORT_ERRORS: Final = (boto.BotoCoreError, boto.ClientError, HttpError)
"""What clients of stores and of the web raise that is no OSError."""

_INSTALLED: Final = tuple(
    {str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_PASSED_ON: Final = (AssertionError, AttributeError, NameError, NotImplementedError, RecursionError, TypeError)
"""Errors caused by a bug in our code or a library's: the user cannot mend them in the store."""


def of_a_library(error: Exception, *, callers: Collection[str]) -> LakeError | None:
    """Our error for one that a library raised when we called it.

    Args:
        error: The error.
        callers: The packages that count as ours.

    Returns:
        None if the error is not to be translated: our own code raised it on purpose, or a user's code did.
    """
    if isinstance(error, LakeError):
        return error
    module = type(error).__module__.partition(".")[0]
    if isinstance(error, _PASSED_ON) and module == "builtins":
        return None
    frames = list(_frames(error))
    if not frames:
        return None
    caller = next((name for name, code in reversed(frames) if not _is_installed(name, code, callers)), "")
    if caller not in callers:
        return None
    is_by_library = frames[-1][0] not in callers
    # Rust's functions have no frame and seem to raise in ours: their own classes tell them from what we raise
    if not is_by_library and module == "builtins" and type(error) is not OSError:
        return None
    library = frames[-1][0] if is_by_library else module
    if isinstance(error, boto.BotoCoreError | boto.ClientError | HttpError | ConnectionError | TimeoutError):
        mapped = translated(error, Target(f"a request by {library}", "the endpoint", "the server"))
        return mapped if isinstance(mapped, LakeError) else LibraryError.of(error, library)
    if type(error) is OSError or module in {"_internal", "deltalake"}:
        return from_rust(error, "")
    return LibraryError.of(error, library)


def _frames(error: BaseException) -> Iterator[tuple[str, CodeType]]:
    """The package and the code of each frame, outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__") or "").partition(".")[0], trace.tb_frame.f_code
        trace = trace.tb_next


def _is_installed(name: str, code: CodeType, callers: Collection[str]) -> bool:
    """Whether code is a library's or Python's own: its file is among theirs, or it was compiled and has none."""
    if name in callers or name == "__main__":  # our own packages are installed too
        return False
    return code.co_filename.startswith((*_INSTALLED, "<frozen")) or code.co_filename.endswith((".pxi", ".pyx"))
