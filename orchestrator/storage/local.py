"""Files of a local or mounted file system: every change is atomic, and no link inside a storage is followed."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.storage import nofollow
from orchestrator.storage.atomic import create_in, replacing_in
from orchestrator.storage.files import Files
from orchestrator.storage.hashes import StoredFile, copied
from orchestrator.storage.retry import retried
from trainables.errors import InvalidInput
from trainables.scratch import make_folder


@dataclass(frozen=True)
class LocalFiles(Files):
    """Files of a local or mounted file system: written beside their place, synced, then renamed into place.

    Attributes:
        root: folder of the storage; links to it and on the way to it are followed.
        inside: folder below the root, with forward slashes. From here on no link is followed: what someone planted in a
            shared folder must not make us read, write or remove anything elsewhere.
    """

    root: Path
    inside: str = ""

    @property
    def url(self) -> str:  # type: ignore[override]  # read-only here
        """The folder as text, for messages."""
        return str(self.root / self.inside)

    def at(self, name: str) -> "LocalFiles":
        """Return the files below the folder `name`, whether it exists or not."""
        return LocalFiles(self.root, self._below(name))

    @retried("read")
    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if there is no such file."""
        try:
            with self._opened(name) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    @retried("written")
    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file atomically, with the folders above it."""
        with self._replacing(name) as file:
            file.write(data)

    @retried("written")
    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists; of several processes at once, one creates it."""
        with nofollow.folder_of(self.root, self._below(name), make=True) as (folder, last):
            is_new = create_in(folder, last, data)
        return is_new or self.read(name) == data  # perhaps by an attempt of our own whose answer was lost

    @retried("written")
    def put(self, name: str, source: Path) -> StoredFile:
        """Create or replace a file atomically with a copy of the local file `source`."""
        with self._replacing(name) as file, source.open("rb") as original:
            return copied(original, file)

    @retried("written")
    def copy(self, name: str, target: str) -> None:
        """Copy a file; where the file system can, both names get the same bytes on the disk."""
        try:
            with (
                self._opened(name) as original,
                nofollow.folder_of(self.root, self._below(target), make=True) as (folder, last),
            ):
                nofollow.link_or_copy(original, folder, last)
        except FileNotFoundError as error:
            raise InvalidInput(f"{self.url}/{name} is damaged: it is missing") from error

    @retried("read")
    def children(self, folder: str = "") -> list[str]:
        """Return the names directly below a folder, sorted; empty if the folder does not exist."""
        try:
            with nofollow.folder(self.root, self._below(folder)) as descriptor:
                return sorted(os.listdir(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return []

    @retried("read")
    def modified(self, name: str) -> float:
        """Return when an existing file was last written, in seconds since 1970."""
        with self._opened(name) as file:
            return os.fstat(file.fileno()).st_mtime

    @retried("removed")
    def remove(self, name: str) -> None:
        """Remove a file, a link, or a folder with its content; if it does not exist, do nothing."""
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            nofollow.folder_of(self.root, self._below(name)) as (folder, last),
        ):
            nofollow.remove(folder, last)

    @retried("removed")
    def remove_if_empty(self, folder: str) -> None:
        """Remove a folder that holds nothing; leave any other."""
        with (
            suppress(OSError),
            nofollow.folder_of(self.root, self._below(folder)) as (above, last),
        ):
            os.rmdir(last, dir_fd=above)

    @retried("read")
    def leftovers(self) -> list[str]:
        """Return the names of partial files, of killed and of living writers."""
        try:
            with nofollow.folder(self.root, self.inside) as descriptor:
                return nofollow.partial_files(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def fetch(self, folder: str, files: Mapping[str, StoredFile]) -> Path:
        """Return the folder itself, once its files are checked; an empty temporary folder if there are no files.

        Raises:
            InvalidInput: a name leads outside the folder, or a file is missing, a link, or not what was stored.
        """
        self.check(folder, files)
        return self.root / self._below(folder) if files else make_folder()

    @retried("read")
    def measure(self, name: str) -> StoredFile | None:
        """Read a file to its end and return what it holds, or None if there is no such file."""
        try:
            with self._opened(name) as file:
                return copied(file)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _below(self, name: str) -> str:
        return "/".join(part for part in (self.inside, name) if part)

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        with (
            nofollow.folder_of(self.root, self._below(name)) as (folder, last),
            nofollow.opened(folder, last, self.root / self._below(name)) as file,
        ):
            yield file

    @contextmanager
    def _replacing(self, name: str) -> Iterator[BinaryIO]:
        """Replace a file, once the folders above it exist."""
        with (
            nofollow.folder_of(self.root, self._below(name), make=True) as (folder, last),
            replacing_in(folder, last) as file,
        ):
            yield file
