"""Errors of the libraries below us that got through: known by whose code called the library, and told as ours.

A library's own class says whose error it is; `OSError`, which deltalake and Arrow raise too, does not. So what counts
is the trace: the last code that is no library's made the call. Where that is ours, the error is ours to tell; where it
is a user's, who called the same library, it is his.
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

__all__ = ["of_a_library"]

_INSTALLED: Final = tuple(
    {str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_PASSED_ON: Final = (AssertionError, AttributeError, NameError, NotImplementedError, RecursionError, TypeError)
"""Of these the code is the cause, ours or a library's: nothing that a person could do about the store."""


def of_a_library(error: Exception, *, callers: Collection[str]) -> LakeError | None:
    """The error of ours for one that a library raised when we called it.

    Args:
        error: What arrived.
        callers: The packages that count as ours.

    Returns:
        None where it is somebody else's: raised by our own code on purpose, or by a user's.
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
    # what has no frame of its own, as Rust's functions, raises in ours; a class of its own tells it from what we raise
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
    """Whether code is a library's, or Python's own: it lies there, or was compiled and has no file."""
    if name in callers or name == "__main__":  # ours is installed too
        return False
    return code.co_filename.startswith((*_INSTALLED, "<frozen")) or code.co_filename.endswith((".pxi", ".pyx"))
