"""Storage: a folder or URL under which things are kept; the only module that distinguishes local from remote."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.storage.files import Files, RemoteFiles, join_url
from orchestrator.storage.local import LocalFiles
from trainables.errors import InvalidInput

_LOCAL_PROTOCOL = re.compile(r"^(file|local)://(localhost(?=/))?")


@dataclass(frozen=True, init=False)
class Storage:
    """A place, as an absolute folder or a URL; `~/runs`, `/home/me/runs` and `file:///home/me/runs` are equal.

    Constructing a Storage opens no file and connects to nothing; of a folder, links on the way to it are resolved.

    Args:
        place: a folder, a file:// URL, or any URL that fsspec supports, such as "s3://bucket/runs".

    Raises:
        InvalidInput: the place is empty, or the home folder of a user is named who is not known here.

    Attributes:
        url: the absolute folder, or the URL without a trailing slash.

    Example:
        >>> Storage("file:///tmp/x").at("live").url
        '/tmp/x/live'
        >>> Storage("s3://bucket/runs/").at("live", "a").url
        's3://bucket/runs/live/a'
    """

    url: str

    def __init__(self, place: str | os.PathLike[str]) -> None:
        text = os.fspath(place)
        if not text.strip() or "\0" in text:
            raise InvalidInput(f"a storage must be a folder or a URL, got {text!r}; the default is dvar-runs")
        text = _LOCAL_PROTOCOL.sub("", text)
        object.__setattr__(self, "url", _tidy_url(text) if "://" in text else _absolute(text))

    def __str__(self) -> str:
        return self.url

    @property
    def path(self) -> Path | None:
        """The folder in this machine's file systems; None for any other kind of URL."""
        return None if "://" in self.url else Path(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder in this machine's file systems."""
        return self.path is not None

    def at(self, *parts: str) -> "Storage":
        """Return the place below it; links below it are not followed, so that it keeps its name."""
        below = object.__new__(Storage)
        object.__setattr__(below, "url", join_url(self.url, *parts))
        return below

    def files(self) -> Files:
        """Return access to the files below this place; connects to nothing yet."""
        path = self.path
        return RemoteFiles(self.url) if path is None else LocalFiles(path)


def _tidy_url(url: str) -> str:
    """Return a URL without slashes at its end, but for those of its protocol."""
    protocol, _, path = url.partition("://")
    return f"{protocol}://{path.rstrip('/')}"


def _absolute(path: str) -> str:
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise InvalidInput(f"storage {path!r} names the home folder of a user who is not known here; give a folder")
    return os.path.realpath(expanded)
