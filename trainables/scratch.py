"""Scratch folders for files on their way elsewhere; those of a killed process are removed by the next process."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from trainables.errors import InvalidInput

_LOCK = ".lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder that is gone when the context ends."""
    folder = make_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder() -> Path:
    """Make an empty folder that is gone when the process ends, or, if it is killed, when the next process begins.

    It lies below a folder of the process's own, which is locked as long as the process lives: a state of several
    gigabytes may pass through it, and nobody else would ever remove it.
    """
    folder = _own_folder() / uuid4().hex
    folder.mkdir()
    return folder


@cache
def _own_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    root = Path(tempfile.gettempdir(), f"dvar-scratch-{user}")
    root.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and root.stat().st_uid != user:
        raise InvalidInput(f"{root} belongs to another user; remove it, or set TMPDIR to a folder of your own")
    with FileLock(root / _LOCK):  # no folder is without its lock while another process looks
        for other in root.iterdir():
            if other.is_dir():
                _remove_if_forsaken(other)
        own = root / uuid4().hex
        own.mkdir()
        held = FileLock(own / _LOCK)
        held.acquire()
    atexit.register(_leave, own, held)
    return own


def _remove_if_forsaken(folder: Path) -> None:
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return  # its process lives
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()


def _leave(own: Path, held: FileLock) -> None:
    shutil.rmtree(own, ignore_errors=True)
    held.release()
