"""Reads a consistent state of a recording while its training may still be writing."""

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from orchestrator.recordings.decoding import (
    decode,
    decode_checkpoint,
    decode_facts,
    decode_identity,
    decode_quality,
    decode_status,
    decode_steps,
)
from orchestrator.recordings.format import (
    CHECKPOINT,
    FACTS,
    MANIFEST,
    QUALITY,
    STATUS,
    STEPS,
    VALUES,
    WRITERS,
    Checkpoint,
    Contents,
    Status,
    claims_among,
    damaged,
    of_writer,
    sha256,
    writers_of,
)
from orchestrator.recordings.identity import RunIdentity
from orchestrator.storage.files import Files
from orchestrator.storage.hashes import StoredFile
from orchestrator.storage.retry import StorageFailure
from trainables.errors import InvalidInput

T = TypeVar("T")
_ATTEMPTS = 5


def read_status(files: Files) -> Status | None:
    """Return the status of the recording at `files`, or None if no recording was begun there.

    Raises:
        InvalidInput: the status is damaged, or missing beside a steps table.
    """
    is_lacking = False
    for _ in range(_ATTEMPTS):
        names = files.children()
        numbers = writers_of(STATUS, names)
        if numbers:
            name = of_writer(STATUS, max(numbers))
            data = files.read(name)
            if data is not None:  # else another writer has taken over between the two reads
                return _status(files, name, max(numbers), data)
        elif not writers_of(STEPS, names):
            return None
        elif is_lacking:
            raise damaged(files, STATUS, "it is missing")
        is_lacking = not numbers  # the recording may be begun between two listings
    raise _changes_too_fast(files)


def _status(files: Files, name: str, number: int, data: bytes) -> Status:
    status = decode(files, name, decode_status, data)
    if status.number != number:
        raise damaged(files, name, f"it is of the writer {status.number}")
    return status


def _changes_too_fast(files: Files) -> InvalidInput:
    return InvalidInput(f"{files.url} changes faster than it can be read; try again once its training has ended")


def claims(files: Files) -> list[int]:
    """Return the numbers of all writers that the recording at `files` has had, as far as they are known."""
    return [*claims_among(files.children(WRITERS)), *writers_of(STATUS, files.children())]


def read_identity(files: Files) -> RunIdentity:
    """Return the identity of the run whose recording is at `files`.

    Raises:
        InvalidInput: the manifest is missing or damaged.
    """
    return decode(files, MANIFEST, decode_identity, _existing(files, MANIFEST))


def read_checkpoint(files: Files, number: int) -> Checkpoint | None:
    """Return the place of the newest checkpoint of the writer of this number, or None if there is none.

    Raises:
        InvalidInput: the file that names it is damaged.
    """
    name = of_writer(CHECKPOINT, number)
    data = files.read(name)
    return None if data is None else decode(files, name, decode_checkpoint, data)


def fetch(files: Files, folder: str, stored: Mapping[str, StoredFile]) -> Path:
    """Return a local, read-only folder with the files of a checkpoint or snapshot, each of which is checked.

    Raises:
        InvalidInput: a file is missing or not what was stored; the message names it and the remedy.
    """
    with _remedy(files):
        return files.fetch(folder, stored)


def check(files: Files, folder: str, stored: Mapping[str, StoredFile]) -> None:
    """Check the files of a checkpoint or snapshot where they are.

    Raises:
        InvalidInput: as for `fetch`.
    """
    with _remedy(files):
        files.check(folder, stored)


@contextmanager
def _remedy(files: Files) -> Iterator[None]:
    """Add the remedy to the errors of files that are not what was stored."""
    try:
        yield
    except StorageFailure:
        raise
    except InvalidInput as error:
        raise InvalidInput(f"{error}; delete the folder {files.url} and record again") from error


def read_contents(files: Files) -> Contents | None:
    """Return a consistent state of the recording at `files`, or None if no recording was begun there.

    Raises:
        InvalidInput: a file is damaged, missing, or of a format that this version does not know, or the recording
            changes faster than it can be read.
    """
    return consistent(files, lambda status: _read_as(files, status))


def consistent(files: Files, read: Callable[[Status], T]) -> T | None:
    """Return what `read` makes of the recording at `files` and its status, or None if no recording was begun there.

    A writer changes the status before it removes anything. So files that do not fit a status that has changed
    meanwhile are not damaged: they are read again.

    Raises:
        InvalidInput: `read` does, with a status that stays; or the recording changes faster than it can be read.
    """
    status = read_status(files)
    for _ in range(_ATTEMPTS):
        if status is None:
            return None
        try:
            return read(status)
        except InvalidInput:
            latest = read_status(files)
            if latest == status:
                raise
            status = latest
    raise _changes_too_fast(files)


def _read_as(files: Files, status: Status) -> Contents:
    identity = read_identity(files)
    name = of_writer(FACTS, status.number)
    facts = decode(files, name, decode_facts, _sound(files, FACTS, status, _existing(files, name)))
    # Quality first: the steps table, which is read next, then already holds the steps of its snapshots.
    rows = _read_table(files, QUALITY, status, status.snapshots, decode_quality) or []
    values = _read_table(files, STEPS, status, status.steps, decode_steps)
    if values is None:
        values = np.empty((0, len(VALUES)))
    beyond = [row["step"] for row in rows if row["step"] > len(values)]
    if beyond and status.state != "running":
        raise damaged(files, QUALITY, f"it has a snapshot of step {beyond[0]}, but {len(values)} steps were recorded")
    return Contents(identity, facts, status, values, rows[: len(rows) - len(beyond)])


def _read_table(files: Files, name: str, status: Status, at_least: int, decoder: Callable[[bytes], T]) -> T | None:
    own_name = of_writer(name, status.number)
    data = _sound(files, name, status, files.read(own_name))
    if data is None:
        if at_least:
            raise damaged(files, own_name, f"it is missing, but {STATUS} counts {at_least} rows")
        return None
    table = decode(files, own_name, decoder, data)
    count = len(cast(Sized, table))
    if count < at_least or (count > at_least and status.state != "running"):
        raise damaged(files, own_name, f"it has {count} rows, but {STATUS} counts {at_least}")
    return table


def _sound(files: Files, name: str, status: Status, data: T) -> T:
    """Return `data` if it has the hash that the status states; the tables of a running recording have none yet.

    Raises:
        InvalidInput: the hash differs.
    """
    if status.state == "running" and name not in status.sha256:
        return data
    if (sha256(data) if isinstance(data, bytes) else None) != status.sha256.get(name):
        own_name = of_writer(name, status.number)
        raise damaged(files, own_name, f"its sha256 is not the one in {of_writer(STATUS, status.number)}")
    return data


def _existing(files: Files, name: str) -> bytes:
    data = files.read(name)
    if data is None:
        raise damaged(files, name, "it is missing")
    return data
