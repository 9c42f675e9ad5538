"""Size and hash of a stored file: noted when it is written, checked whenever it is used."""

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from trainables.errors import InvalidInput

_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """What a file held when it was stored.

    Attributes:
        size: in bytes.
        sha256: of its content, hexadecimal; None where an older version of the program noted the size alone.
    """

    size: int
    sha256: str | None = None

    def difference(self, now: "StoredFile") -> str | None:
        """Return how a file differs from what was stored, for messages; None if it does not."""
        if now.size != self.size:
            return f"it has {now.size} bytes, but {self.size} were written"
        if self.sha256 is not None and now.sha256 != self.sha256:
            return f"its sha256 is {now.sha256}, but {self.sha256} was written"
        return None


def copied(source: BinaryIO, target: BinaryIO | None = None) -> StoredFile:
    """Read a file to its end, write it to `target` if there is one, and return what it holds."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return StoredFile(size, digest.hexdigest())


def check_stored(place: str, stored: StoredFile, now: StoredFile | None) -> None:
    """Check that a file still holds what was stored.

    Args:
        place: of the file, for messages.
        stored: what was written.
        now: what it holds; None if it is missing.

    Raises:
        InvalidInput: it is missing, or holds something else.
    """
    difference = "it is missing" if now is None else stored.difference(now)
    if difference:
        raise InvalidInput(f"{place} is damaged: {difference}")
