"""Persistence: what storage refuses now and then is asked again, with growing pauses; then the failure is clear."""

import errno
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from trainables.errors import InvalidInput
from trainables.text import first_line

#: Seconds between the tries of a file operation, beside those that the library of an object store makes by itself.
PAUSES = (1.0, 2.0, 4.0, 8.0)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What network file systems and object stores answer while something is restarted, busy or not to be reached. That a
# folder is not empty is said by NFS while a reader holds one of its removed files open.
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
    """The storage did not do what it was asked; the message names the place, the reason and the remedy."""


class StorageFull(StorageFailure):
    """There is no space left, or the quota is used up."""


class _Place(Protocol):
    @property
    def url(self) -> str: ...


F = TypeVar("F", bound=_Place)


def retried(done: str) -> Callable[[Callable[Concatenate[F, P], T]], Callable[Concatenate[F, P], T]]:
    """Make a method of some files try again what may pass, and raise `StorageFailure` for what does not.

    The method must be safe to repeat, and handles by itself what is an answer, such as that there is no such file.

    Args:
        done: what cannot be done to the file, whose name is the method's first argument: "read", "written".
    """

    def decorate(method: Callable[Concatenate[F, P], T]) -> Callable[Concatenate[F, P], T]:
        @wraps(method)
        def tried(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            for pause in (*PAUSES, None):
                try:
                    return method(self, *args, **kwargs)
                except InvalidInput:
                    raise
                except Exception as error:  # every file system raises its own kinds
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
    return True  # the clients of object stores have kinds of their own for lost connections


def _failure(url: str, name: str, done: str, error: Exception) -> StorageFailure:
    what = f"storage {url} cannot be {done}"
    reason = f"{name}: {_reason(error)}" if name else _reason(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        # Only what is read from an object store is copied, to a folder of this machine.
        where = f"in {tempfile.gettempdir()}" if done == "read" else "there"
        return StorageFull(
            f"{what} ({reason}); free space {where}, then start the same command again: it goes on from what is stored"
        )
    if _may_pass(error):
        return StorageFailure(
            f"{what}, tried {len(PAUSES) + 1} times ({reason}); once the storage answers again, start the same command "
            "again: it goes on from what is stored"
        )
    return StorageFailure(f"{what} ({reason}); allow it, or give another place with --storage")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
