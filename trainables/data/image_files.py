"""What a file in a concept's folder is: judged by its content, since cameras, browsers and people misname files."""

import functools
import importlib
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, features

from trainables.errors import InvalidInput

HEIF_NEEDS = "needs pillow-heif"
AVIF_NEEDS = "needs Pillow 11.3 or newer with AVIF"
#: Formats whose first bytes are unmistakable; the others of Pillow are believed only under their own suffix.
_MARKED = (
    "AVIF", "BMP", "DDS", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "SGI",
    "TIFF", "WEBP",
)  # fmt: skip
#: Pillow knows these only by name: it finds out their size, or writes them, but reads no pixels.
_NEVER_READ = {"BUFR", "GRIB", "HDF5", "MPEG", "PALM", "PDF"}
#: Raw photographs, JPEG XL and drawings. As TIFF, a raw photograph would show only its tiny preview.
_FOREIGN_SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".jxl", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw",
    ".svg", ".x3f",
}  # fmt: skip
FOREIGN = "export it as JPEG or PNG"
#: What Pillow's readers raise at files that are damaged or of a kind that they do not know.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_DNG_VERSION = 50706  # the TIFF tag that every DNG has
#: What programs leave beside a file that they change: it would show the same picture twice.
_BACKUPS = ("~", "_original", ".bak", ".old", ".orig", ".tmp", ".part", ".crdownload")
_HEAD = 64
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
#: Kinds of files that often lie beside images, by the bytes at an offset.
_SIGNATURES = (
    (0, b"%PDF-", "PDF"),
    (4, b"moov", "video"),
    (4, b"mdat", "video"),
    (4, b"wide", "video"),
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba", "video"),  # MPEG
    (0, b"\x00\x00\x01\xb3", "video"),
    (0, b"FLV\x01", "video"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "video"),  # ASF, Windows Media
)


@dataclass(frozen=True)
class FileContent:
    """What a file is.

    Attributes:
        is_image: whether it shows something, as far as one can tell without decoding it.
        note: what else it is ("PDF"), or what is missing to read the image ("needs pillow-heif"); empty if there is
            nothing to say.
    """

    is_image: bool
    note: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether it is an image that can be decoded, unless it is damaged."""
        return self.is_image and not self.note


def content_of(path: Path) -> FileContent:
    """Find out what a file is; only its beginning is read.

    A file that is named like an image counts as one, even if nothing can be made of its bytes: decoding it then says
    that it is damaged.

    Raises:
        InvalidInput: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return _content(path, file)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}); fix its permissions, or remove it") from error


def _content(path: Path, file: IO[bytes]) -> FileContent:
    if path.name.endswith(_BACKUPS):
        return FileContent(False, "backup")
    head = file.read(_HEAD)
    kind = _kind(head)
    if kind is not None and kind != "image":
        return FileContent(kind in (HEIF_NEEDS, AVIF_NEEDS), kind)
    if path.suffix.lower() in _FOREIGN_SUFFIXES:
        return FileContent(True, FOREIGN)
    file.seek(0)
    own = Image.registered_extensions().get(path.suffix.lower())
    is_named_image = own in Image.OPEN and own not in _NEVER_READ
    marked = tuple(name for name in _MARKED if name in Image.OPEN)
    note = _opened(file, None if is_named_image else marked)
    if note is not None:
        return FileContent(True, note)
    return FileContent(is_named_image)


def _kind(head: bytes) -> str | None:
    """Return what a file's first bytes say: "image", "video", "PDF" or what an image needs; None if they are silent."""
    if head[4:8] == b"ftyp":
        brands = {head[8:12]} | {head[at : at + 4] for at in range(16, min(len(head), _box_size(head)), 4)}
        if brands & _AVIF_BRANDS:
            return "image" if features.check("avif") else AVIF_NEEDS
        if brands & _HEIF_BRANDS:
            return "image" if register_heif() else HEIF_NEEDS
        return None if head[8:12] == b"crx " else "video"
    for offset, signature, kind in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return kind
    return None


def _box_size(head: bytes) -> int:
    return int.from_bytes(head[:4], "big")


def _opened(file: IO[bytes], formats: tuple[str, ...] | None) -> str | None:
    """Return None unless Pillow knows the file as one of the formats, else what keeps it from use, mostly nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats) as image:
                if image.format in _NEVER_READ:
                    return None
                is_raw = image.format == "TIFF" and _DNG_VERSION in image.getexif()
                return FOREIGN if is_raw else ""
    except Image.DecompressionBombError:
        return ""  # an image; decoding it says that it is too large
    except UNREADABLE:
        return None


@functools.cache
def register_heif() -> bool:
    """Let Pillow read HEIC and HEIF, if the extra is installed; return whether it is."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def missing_reader(data: bytes) -> str:
    """Return what is missing to read an image's bytes, such as "needs pillow-heif"; empty if nothing is known to be."""
    kind = _kind(data[:_HEAD])
    return kind if kind in (HEIF_NEEDS, AVIF_NEEDS) else ""
