"""Atomic writes of local files: a reader sees the old file or the new one, and never half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

#: How the names of files end that are being written; a writer that was killed may leave one.
PARTIAL = ".dvar-partial"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` once the context ends well; its folder exists.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    # Two writers must not share a partial file: the first rename would publish the other's half.
    partial = path.with_name(f".{uuid4().hex}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Make or replace a file at once.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    with replacing(path) as file:
        file.write(data)
