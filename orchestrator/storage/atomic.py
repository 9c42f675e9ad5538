"""Atomic writes of local files: a reader sees either the old file or the new file, never a partial file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

#: Suffix of files that are being written; a killed writer may leave such a file behind.
PARTIAL = ".dvar-partial"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` when the context ends without an error; its folder must exist.

    A link at `path` is replaced, not followed.

    Raises:
        OSError: it cannot be written; the old file is then unchanged.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with replacing_in(folder, path.name) as file:
            yield file
    finally:
        os.close(folder)


@contextmanager
def replacing_in(folder: int, name: str) -> Iterator[BinaryIO]:
    """Open a new file that replaces the file `name` of an open folder, wherever that folder is moved to meanwhile.

    Args:
        folder: descriptor of the folder.
        name: of the file, without a path.

    Raises:
        OSError: it cannot be written; the old file is then unchanged.
    """
    with _partial(folder) as (file, partial):
        yield file
        _sync(file)
        os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)


@contextmanager
def _partial(folder: int) -> Iterator[tuple[BinaryIO, str]]:
    """Open a new file of an open folder, which is gone at the end unless it was given another name."""
    # Two writers must not share a partial file: the first rename would publish what the other has written so far. And
    # nobody may foresee its name, to plant a link there.
    partial = f".{uuid4().hex}{PARTIAL}"
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, partial
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def create_in(folder: int, name: str, data: bytes) -> bool:
    """Write a whole file of an open folder unless there is something of that name; return whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    with _partial(folder) as (file, partial):
        file.write(data)
        _sync(file)
        try:
            os.link(partial, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            return _create_in_place(folder, name, data)
        return True


def _create_in_place(folder: int, name: str, data: bytes) -> bool:
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        _sync(file)
    return True


def write_atomically(path: Path, data: bytes) -> None:
    """Create or replace a file atomically; its folder must exist.

    Raises:
        OSError: it cannot be written; the old file is then unchanged.
    """
    with replacing(path) as file:
        file.write(data)
