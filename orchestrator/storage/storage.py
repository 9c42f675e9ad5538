"""Storage: a folder or URL under which things are kept; the only module that distinguishes local from remote."""

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.storage.files import Files, LocalFiles, RemoteFiles

_LOCAL_PROTOCOLS = ("file://", "local://")


@dataclass(frozen=True, init=False)
class Storage:
    """A place, as an absolute folder or a URL; `~/runs`, `/home/me/runs` and `file:///home/me/runs` are equal.

    Constructing a Storage neither reads nor writes anything.

    Args:
        place: a folder, a file:// URL, or any URL that fsspec supports, such as "s3://bucket/runs".

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
        for protocol in _LOCAL_PROTOCOLS:
            text = text.removeprefix(protocol)
        is_remote = "://" in text
        url = text.rstrip("/") if is_remote else str(Path(text).expanduser().resolve())
        object.__setattr__(self, "url", url)

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
        """Return the place below this, at a relative path of one or more parts."""
        return Storage("/".join([self.url, *parts]))

    def files(self) -> Files:
        """Return access to the files below this place; connects to nothing yet."""
        path = self.path
        return RemoteFiles(self.url) if path is None else LocalFiles(path)
