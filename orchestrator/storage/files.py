"""Whole files below a folder or URL, written atomically: a reader never sees a partial file.

Operations that fail now and then are retried, see `orchestrator.storage.retry`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from orchestrator.storage.hashes import StoredFile, check_stored, copied
from orchestrator.storage.retry import retried
from trainables.errors import InvalidInput
from trainables.scratch import make_folder

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# Object stores have no folders, and making a folder would create the bucket of a mistyped URL.
_OBJECT_STORES = frozenset(_EXTRAS)


class Files(ABC):
    """Files below a place, by relative names with forward slashes.

    Every method raises `StorageFailure` once the storage has refused it for good, and `StorageFull` if there is no
    space left; a file that it was to replace is then unchanged.

    Attributes:
        url: the place, a folder or URL, for messages.
    """

    url: str

    @abstractmethod
    def at(self, name: str) -> "Files":
        """Return the files below the folder `name`."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if there is no such file."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file atomically, with the folders above it."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists; return whether it now holds `data`.

        Of several processes at once, one creates it, on every local file system and on object stores that have
        conditional writes (S3, GCS). On others the last one may win: whoever relies on it reads it again.
        """

    @abstractmethod
    def put(self, name: str, source: Path) -> StoredFile:
        """Create or replace a file atomically with a copy of the local file `source`; return what was stored."""

    @abstractmethod
    def copy(self, name: str, target: str) -> None:
        """Copy a file inside the storage to the new name `target`.

        Raises:
            InvalidInput: there is no file `name`.
        """

    @abstractmethod
    def measure(self, name: str) -> StoredFile | None:
        """Read a file to its end and return what it holds, or None if there is no such file."""

    @abstractmethod
    def children(self, folder: str = "") -> list[str]:
        """Return the names directly below a folder, sorted; empty if the folder does not exist."""

    @abstractmethod
    def modified(self, name: str) -> float:
        """Return when an existing file was last written, in seconds since 1970."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content; a missing file or folder is no error."""

    @abstractmethod
    def remove_if_empty(self, folder: str) -> None:
        """Remove a folder that holds nothing; leave any other."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return the names of partial files, which killed writers leave behind; those of living writers are among them.

        A writer whose partial file is removed fails. So whoever removes them asks, once they are listed, whether
        anyone else may write here.
        """

    @abstractmethod
    def fetch(self, folder: str, files: Mapping[str, StoredFile]) -> Path:
        """Return a local, read-only folder that holds the files of `put_folder`.

        Args:
            folder: as given to `put_folder`.
            files: as returned by `put_folder`.

        Raises:
            InvalidInput: a name leads outside the folder, or a file is missing or not what was stored.
        """

    def check(self, folder: str, files: Mapping[str, StoredFile]) -> None:
        """Check that the files of `put_folder` still hold what was stored.

        Args:
            folder: as given to `put_folder`.
            files: as returned by `put_folder`.

        Raises:
            InvalidInput: a name leads outside the folder, or a file is missing or not what was stored.
        """
        for name, stored in files.items():
            check_name(name)
            place = f"{folder}/{name}" if folder else name
            check_stored(f"{self.url}/{place}", stored, self.measure(place))

    def put_folder(self, folder: str, source: Path) -> dict[str, StoredFile]:
        """Copy every file below the local folder `source`; return relative names and what was stored under each.

        Raises:
            InvalidInput: `source` is no folder, or contains a link, a pipe, or a name that is unsafe on other file
                systems.
        """
        if not source.is_dir():
            raise InvalidInput(f"{source} is not a folder; write the files to keep into a folder first")
        files = {}
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            check_name(name)
            if path.is_symlink():
                raise InvalidInput(f"{path} is a link; replace it with a copy of its target")
            if path.is_dir():
                continue
            if not path.is_file():
                raise InvalidInput(f"{path} is neither a file nor a folder; remove it")
            files[name] = self.put(f"{folder}/{name}", path)
        return files


def join_url(url: str, *parts: str) -> str:
    """Return the URL or path of what lies below another one."""
    below = "/".join(parts)
    return f"{url}{below}" if url.endswith("/") else f"{url}/{below}"


def check_name(name: str) -> None:
    """Check that a relative file name stays inside its folder on every file system.

    Raises:
        InvalidInput: it is absolute, or has an empty, "." or ".." part, a backslash or an unprintable character.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or not name.isprintable():
        raise InvalidInput(f"unsafe file name {name!r}; rename it to plain letters, digits, '.', '_' and '-'")


@dataclass(frozen=True)
class RemoteFiles(Files):
    """Files of any fsspec file system: each is uploaded whole, and object stores publish an upload atomically.

    An instance keeps only the URL, so that it can be sent to another process and connect there.
    """

    url: str

    def at(self, name: str) -> "RemoteFiles":
        """Return the files below a folder's name."""
        return RemoteFiles(join_url(self.url, name))

    @retried("read")
    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if there is no such file."""
        filesystem, path = self._locate(name)
        try:
            return bytes(filesystem.cat_file(path))
        except FileNotFoundError:
            return None

    @retried("written")
    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file with a single upload."""
        filesystem, path = self._locate_for_writing(name)
        filesystem.pipe_file(path, data)

    @retried("written")
    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists, by a conditional upload."""
        filesystem, path = self._locate_for_writing(name)
        filesystem.invalidate_cache()
        with suppress(FileExistsError):  # perhaps by an attempt of our own whose answer was lost
            filesystem.pipe_file(path, data, mode="create")
        return self.read(name) == data

    @retried("written")
    def put(self, name: str, source: Path) -> StoredFile:
        """Create or replace a file with an upload of the local file `source`."""
        filesystem, path = self._locate_for_writing(name)
        with source.open("rb") as file:
            stored = copied(file)
        filesystem.put_file(str(source), path)
        return stored

    @retried("written")
    def copy(self, name: str, target: str) -> None:
        """Copy a file without downloading it."""
        filesystem, source = self._locate(name)
        try:
            filesystem.cp_file(source, self._locate_for_writing(target)[1])
        except FileNotFoundError as error:
            raise InvalidInput(f"{self.url}/{name} is missing") from error

    @retried("read")
    def measure(self, name: str) -> StoredFile | None:
        """Read a file to its end, without keeping it, and return what it holds, or None if there is no such file."""
        filesystem, path = self._locate(name)
        try:
            with filesystem.open(path, "rb") as file:
                return copied(file)
        except FileNotFoundError:
            return None

    @retried("read")
    def children(self, folder: str = "") -> list[str]:
        """Return the names directly below a prefix, sorted; empty if there are none."""
        filesystem, path = self._locate(folder)
        filesystem.invalidate_cache()  # another process may have written since the last listing
        try:
            entries = filesystem.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry.rstrip("/") != path})

    @retried("read")
    def modified(self, name: str) -> float:
        """Return when an existing file was last written, in seconds since 1970."""
        filesystem, path = self._locate(name)
        return float(filesystem.modified(path).timestamp())

    @retried("removed")
    def remove(self, name: str) -> None:
        """Remove a file, or all files below a prefix; if there are none, do nothing."""
        filesystem, path = self._locate(name)
        filesystem.invalidate_cache()
        try:
            filesystem.rm(path, recursive=True)
        except FileNotFoundError:
            return

    def remove_if_empty(self, folder: str) -> None:
        """Do nothing: where folders are but the beginnings of names, an empty one does not exist."""

    def leftovers(self) -> list[str]:
        """Return nothing: an interrupted upload leaves no object behind."""
        return []

    def fetch(self, folder: str, files: Mapping[str, StoredFile]) -> Path:
        """Download the files of `put_folder` to a temporary folder, and return it.

        Raises:
            InvalidInput: a name leads outside the folder, or a file is missing or not what was stored.
        """
        local = make_folder()
        for name, stored in files.items():
            check_name(name)
            self._get(f"{folder}/{name}", local / name)
            with (local / name).open("rb") as file:
                check_stored(f"{self.url}/{folder}/{name}", stored, copied(file))
        return local

    @retried("read")
    def _get(self, name: str, target: Path) -> None:
        filesystem, path = self._locate(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            filesystem.get_file(path, str(target))
        except FileNotFoundError as error:
            raise InvalidInput(f"{self.url}/{name} is damaged: it is missing") from error

    def _locate(self, name: str) -> tuple[Any, str]:
        """Return the file system, which fsspec caches per process, and the path of `name` on it.

        Raises:
            InvalidInput: fsspec has no file system for the URL, or its package is not installed.
        """
        protocol = self.url.partition("://")[0]
        try:
            filesystem, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            remedy = f"pip install 'dvar-tune[{extra}]'" if extra else "install the package that it names"
            raise InvalidInput(f"cannot open {self.url!r}: {error}; {remedy}") from error
        except ValueError as error:
            raise InvalidInput(f"cannot open {self.url!r}: {error}; use a folder, s3://... or gs://...") from error
        path = root.rstrip("/")
        return filesystem, f"{path}/{name}" if name else path

    def _locate_for_writing(self, name: str) -> tuple[Any, str]:
        filesystem, path = self._locate(name)
        if self.url.partition("://")[0] not in _OBJECT_STORES:
            filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        return filesystem, path
