"""Atomic writes of local files: a reader sees either the old file or the new file, never a partial file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

#: Suffix of files that are being written; a killed writer may leave such a file behind.
PARTIAL = ".dvar-partial"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` when the context ends without an error; its folder must exist.

    Raises:
        OSError: it cannot be written; the old file is then unchanged.
    """
    # Two writers must not share a partial file: the first rename would publish what the other has written so far.
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
    """Create or replace a file atomically; its folder must exist.

    Raises:
        OSError: it cannot be written; the old file is then unchanged.
    """
    with replacing(path) as file:
        file.write(data)
