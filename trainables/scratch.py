"""Scratch folders for files on their way elsewhere; those of a killed process are removed by the next process.

Others may write to the folder of temporary files too, and plant there what they like. So a process makes a folder whose
name nobody can foresee, and removes only folders that bear a mark of ours and that nobody else could have filled.
"""

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

#: A file of a process's own folder, locked as long as the process lives. A folder without it is never removed.
MARK = ".dvar-scratch"


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
    root, prefix = Path(tempfile.gettempdir()), f"dvar-scratch-{_user()}-"
    for other in root.glob(f"{prefix}*"):
        if _is_ours(other):
            _remove_if_forsaken(other)
    while True:
        own = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        held = FileLock(own / MARK)
        with suppress(FileNotFoundError):  # another process took it for forsaken before it was locked
            held.acquire()
            if (own / MARK).exists():
                break
    atexit.register(_leave, own, held)
    return own


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else os.getlogin()


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, not a link to one, that holds our mark and to which nobody else could ever write."""
    try:
        about, mark = folder.lstat(), (folder / MARK).lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(about.st_mode) or not stat.S_ISREG(mark.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True  # here each user has a folder of temporary files to himself
    return about.st_uid == mark.st_uid == os.getuid() and not about.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _remove_if_forsaken(folder: Path) -> None:
    lock = FileLock(folder / MARK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return  # its process lives, or another one is removing it
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()


def _leave(own: Path, held: FileLock) -> None:
    shutil.rmtree(own, ignore_errors=True)
    held.release()
