"""SHA256SUMS: the hashes of an export beside its files, as `sha256sum --check` reads them."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from trainables.errors import InvalidInput

SUMS_FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sums_text(hashes: Mapping[str, str]) -> str:
    """Return the content of the file for relative names and their hexadecimal SHA-256."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def check_sums(folder: Path) -> None:
    """Check the files of an export before they are loaded; a folder without `SHA256SUMS` is taken as it is.

    Raises:
        InvalidInput: a file is missing, changed, or not listed although it holds weights.
    """
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return
    listed = {}
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise _damaged(sums, "it holds other lines than hashes and names")
        listed[match[2]] = match[1]
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(path, "it is missing")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise _damaged(path, f"its sha256 is not the one in {SUMS_FILE}")
    for path in sorted(folder.rglob("*.safetensors")):
        if path.relative_to(folder).as_posix() not in listed:
            raise _damaged(path, f"{SUMS_FILE} does not list it")


def _damaged(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} is damaged: {what}; delete the folder, and export it again with `dvar run`")
