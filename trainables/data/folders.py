"""What a folder holds: images, what beside them is not used, and folders."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.data.image_files import content_of
from trainables.errors import InvalidInput
from trainables.text import composed, printable

SETTINGS_FILE = "concept.yaml"
#: How many files are looked at to learn whether a folder holds any image: someone may name a whole disk.
_MOST_FILES = 2000
_SHOWN = 8


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds, without what is hidden or left by archivers ("__MACOSX").

    Attributes:
        images: the files that are images and can be used, sorted by name.
        unread: names of images that cannot be used, each with the reason.
        others: names of what else is no part of a concept.
        folders: the folders in it, sorted by name.
        is_declared: whether it has a concept.yaml.
    """

    images: tuple[Path, ...]
    unread: tuple[str, ...]
    others: tuple[str, ...]
    folders: tuple[Path, ...]
    is_declared: bool

    @property
    def has_images(self) -> bool:
        """Whether there is any image, usable or not."""
        return bool(self.images or self.unread)

    @property
    def unused(self) -> tuple[str, ...]:
        """Everything that a concept in this folder does not use, images first."""
        return (*self.unread, *self.others, *(f"{path.name}/" for path in self.folders))


def read_contents(folder: Path) -> FolderContents:
    """Look at what a folder holds; files are judged by their content, see `image_files.content_of`.

    Raises:
        InvalidInput: the folder or a file in it cannot be read.
    """
    images: list[Path] = []
    folders: list[Path] = []
    unread: list[str] = []
    others: list[str] = []
    is_declared = False
    for path in _visible(folder):
        if path.is_dir():
            if _holds_runs(path):
                others.append(f"{path.name}/ (runs)")
            elif not path.name.startswith("__"):
                folders.append(path)
        elif path.name == SETTINGS_FILE:
            is_declared = True
        elif not path.is_file():
            others.append(f"{path.name} (a link to nothing)" if path.is_symlink() else path.name)
        else:
            content = content_of(path)
            if content.is_usable:
                images.append(path)
            else:
                name = f"{path.name} ({content.note})" if content.note else path.name
                (unread if content.is_image else others).append(name)
    return FolderContents(tuple(images), tuple(unread), tuple(others), tuple(folders), is_declared)


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder and not hidden, in an order that is the same whatever form of Unicode names have."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read ({error.strerror}); fix its permissions") from error
    return sorted(paths, key=lambda path: composed(path.name))


def _holds_runs(folder: Path) -> bool:
    """Whether a folder is this program's storage, whose samples and figures are images, but show no concept."""
    if (folder / "mlflow.db").is_file():
        return True
    return any(True for kind in ("recordings", "live") for _ in folder.glob(f"{kind}/*/status.json"))


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder or below it, among the first few thousand files."""
    return any(content_of(path).is_image for path in itertools.islice(_files_below(folder), _MOST_FILES))


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and path.is_file() and os.access(path, os.R_OK):
                yield path


def listed(names: tuple[str, ...]) -> str:
    """Return names as a list for a message: the first few, and the number of the others.

    Example:
        >>> listed(("a", "b"))
        'a, b'
        >>> listed(tuple("abcdefghij"))
        'a, b, c, d, e, f, g, h and 2 more'
    """
    rest = len(names) - _SHOWN
    return printable(", ".join(names[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
