"""Retries of file operations that may pass, with growing pauses; afterwards a clear error."""

import errno
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from trainables.errors import InvalidInput
from trainables.text import first_line

#: Seconds between the attempts at a file operation, besides those that an object store's library makes by itself.
PAUSES = (1.0, 2.0, 4.0, 8.0)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What network file systems and object stores answer while something restarts, is busy or cannot be reached. NFS reports
# that a folder is not empty (ENOTEMPTY) while a reader holds a removed file of it open.
_PASSING_NAMES = (
    "EAGAIN EBUSY ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EIO ENETDOWN ENETRESET ENETUNREACH "
    "ENOLINK ENOTCONN ENOTEMPTY EPIPE EREMOTEIO ESTALE ETIMEDOUT"
)
_PASSING = frozenset(getattr(errno, name) for name in _PASSING_NAMES.split() if hasattr(errno, name))
_LASTING = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, NotImplementedError,
    TypeError, ValueError,
)  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")


class StorageFailure(InvalidInput):
    """A storage operation failed for good; the message names the place, the reason and the remedy."""


class StorageFull(StorageFailure):
    """The storage has no space left, or the quota is used up."""


class _Place(Protocol):
    @property
    def url(self) -> str: ...


F = TypeVar("F", bound=_Place)


def retried(done: str) -> Callable[[Callable[Concatenate[F, P], T]], Callable[Concatenate[F, P], T]]:
    """Make a method retry errors that may pass, and raise `StorageFailure` for errors that do not.

    The method must be safe to repeat, and must itself handle errors that are answers, such as a missing file.

    Args:
        done: completes "cannot be" in the message: "read", "written". The file's name is the method's first argument.
    """

    def decorate(method: Callable[Concatenate[F, P], T]) -> Callable[Concatenate[F, P], T]:
        @wraps(method)
        def tried(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            for pause in (*PAUSES, None):
                try:
                    return method(self, *args, **kwargs)
                except InvalidInput:
                    raise
                except Exception as error:  # every file system raises errors of its own
                    if pause is None or not _may_pass(error):
                        raise _failure(self.url, str(args[0]) if args else "", done, error) from error
                    time.sleep(pause)
            raise AssertionError("unreachable")

        return tried

    return decorate


def _may_pass(error: Exception) -> bool:
    kind = type(error).__name__
    if isinstance(error, _LASTING) or "Credentials" in kind or "ParamValidation" in kind:
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _PASSING
    return True  # the clients of object stores have exceptions of their own for lost connections


def _failure(url: str, name: str, done: str, error: Exception) -> StorageFailure:
    what = f"storage {url} cannot be {done}"
    reason = f"{name}: {_reason(error)}" if name else _reason(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        # Only reading from an object store copies anything, to a temporary folder of this machine.
        where = f"in {tempfile.gettempdir()}" if done == "read" else "there"
        return StorageFull(
            f"{what} ({reason}); free space {where}, then repeat the same command: it resumes from what is stored"
        )
    if _may_pass(error):
        return StorageFailure(
            f"{what}, tried {len(PAUSES) + 1} times ({reason}); once the storage responds again, repeat the same "
            "command: it resumes from what is stored"
        )
    return StorageFailure(f"{what} ({reason}); allow it, or choose another place with --storage")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
