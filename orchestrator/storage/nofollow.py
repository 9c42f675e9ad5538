"""Local folders and files below a root, reached without following any link: nothing leads out of the root.

Each step of a path is opened from the folder above it, so that a link that someone plants meanwhile is not followed
either.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from orchestrator.storage.atomic import PARTIAL, replacing_in
from orchestrator.storage.hashes import copied
from trainables.errors import InvalidInput

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_PARTIAL_FILE = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL)}")


@contextmanager
def folder(root: Path, name: str, *, make: bool = False) -> Iterator[int]:
    """Open the folder `name` below `root` and yield its descriptor.

    Args:
        root: where the path begins; links to it and on the way to it are followed.
        name: relative, with forward slashes; "" is the root itself.
        make: whether to make the folders that are missing.

    Raises:
        InvalidInput: the name leads outside, or a part of it is a link.
        OSError: there is no such folder.
    """
    if make:
        root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, _FOLDER)
    try:
        way = root
        for part in name.split("/") if name else ():
            way /= part
            below = _step(descriptor, part, way, make)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def folder_of(root: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder in which the file or folder `name` lies; yield its descriptor and the last part of the name.

    Arguments and errors are as of `folder`.
    """
    above, _, last = name.rpartition("/")
    _check_part(last, root / name)
    with folder(root, above, make=make) as descriptor:
        yield descriptor, last


def _step(above: int, part: str, way: Path, make: bool) -> int:
    _check_part(part, way)
    if make:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=above)
    try:
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except OSError:
        if _is_link(above, part):
            refuse_link(way)
        raise


def _check_part(part: str, way: Path) -> None:
    if part in ("", ".", ".."):
        raise InvalidInput(f"{way} leads outside its folder")


def _is_link(above: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    return False


def refuse_link(path: Path) -> NoReturn:
    """Raise the error for a link where only files and folders may be.

    Raises:
        InvalidInput: always.
    """
    raise InvalidInput(
        f"{path} is a link, and nothing inside a storage may lead elsewhere; remove it, or replace it with its target"
    )


@contextmanager
def opened(above: int, name: str, path: Path) -> Iterator[BinaryIO]:
    """Open the file `name` of an open folder for reading.

    Args:
        above: descriptor of the folder.
        name: of the file, without a path.
        path: of the file, for messages.

    Raises:
        InvalidInput: it is a link, a pipe or a device.
        OSError: it is missing, a folder, or cannot be read.
    """
    try:
        # A pipe without a writer would otherwise be waited for.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
    except OSError:
        if _is_link(above, name):
            refuse_link(path)
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise InvalidInput(f"{path} is neither a file nor a folder; remove it")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def link_or_copy(original: BinaryIO, above: int, name: str) -> None:
    """Give the content of an open file the new name `name` in an open folder, without a second copy where possible."""
    with suppress(FileExistsError):  # an earlier attempt of ours, whose answer was lost
        try:
            os.link(f"/proc/self/fd/{original.fileno()}", name, dst_dir_fd=above, follow_symlinks=True)
        except FileExistsError:
            raise
        except OSError:  # the file system has no hard links, or this system no /proc
            with replacing_in(above, name) as file:
                copied(original, file)


def remove(above: int, name: str) -> None:
    """Remove what is called `name` in an open folder: a file, a link itself, or a folder with its content."""
    try:
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
        shutil.rmtree(name, dir_fd=above) if is_folder else os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        return


def partial_files(above: int) -> list[str]:
    """Return the names of the partial files of `atomic` anywhere below an open folder, with forward slashes."""
    return [
        os.path.normpath(f"{place}/{name}")
        for place, _, names, _ in os.fwalk(".", dir_fd=above, follow_symlinks=False)
        for name in names
        if _PARTIAL_FILE.fullmatch(name)
    ]
