"""Reads a consistent state of a recording while its training may still be writing."""

from collections.abc import Callable, Sized
from typing import TypeVar, cast

import numpy as np

from orchestrator.recordings.decoding import (
    decode,
    decode_checkpoint,
    decode_identity,
    decode_json,
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
    Checkpoint,
    Contents,
    Status,
    damaged,
    sha256,
)
from orchestrator.recordings.identity import RunIdentity
from orchestrator.storage.files import Files
from trainables.errors import InvalidInput

T = TypeVar("T")
_ATTEMPTS = 5


def read_status(files: Files) -> Status | None:
    """Return the status of the recording at `files`, or None if no recording was begun there.

    Raises:
        InvalidInput: the status is damaged, or missing beside a steps table.
    """
    data = files.read(STATUS)
    if data is None and files.read(STEPS) is not None:
        data = files.read(STATUS)  # the recording may have been begun between the two reads
        if data is None:
            raise damaged(files, STATUS, "it is missing")
    return None if data is None else decode(files, STATUS, decode_status, data)


def read_identity(files: Files) -> RunIdentity:
    """Return the identity of the run whose recording is at `files`.

    Raises:
        InvalidInput: the manifest is missing or damaged.
    """
    return decode(files, MANIFEST, decode_identity, _existing(files, MANIFEST))


def read_checkpoint(files: Files) -> Checkpoint | None:
    """Return the place of the newest checkpoint, or None if there is none.

    Raises:
        InvalidInput: the file that names it is damaged.
    """
    data = files.read(CHECKPOINT)
    return None if data is None else decode(files, CHECKPOINT, decode_checkpoint, data)


def read_contents(files: Files) -> Contents | None:
    """Return a consistent state of the recording at `files`, or None if no recording was begun there.

    Raises:
        InvalidInput: a file is damaged, missing, or of a format that this version does not know, or the recording
            changes faster than it can be read.
    """
    status = read_status(files)
    for _ in range(_ATTEMPTS):
        if status is None:
            return None
        try:
            return _read_as(files, status)
        except InvalidInput:
            # A writer changes the status before it removes anything. So tables that do not fit a status that has
            # changed meanwhile are not damaged: read again.
            latest = read_status(files)
            if latest == status:
                raise
            status = latest
    raise InvalidInput(f"{files.url} changes faster than it can be read; try again once its training has ended")


def _read_as(files: Files, status: Status) -> Contents:
    identity = read_identity(files)
    facts = decode(files, FACTS, decode_json, _sound(files, FACTS, status, _existing(files, FACTS)))
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
    data = _sound(files, name, status, files.read(name))
    if data is None:
        if at_least:
            raise damaged(files, name, f"it is missing, but {STATUS} counts {at_least} rows")
        return None
    table = decode(files, name, decoder, data)
    count = len(cast(Sized, table))
    if count < at_least or (count > at_least and status.state != "running"):
        raise damaged(files, name, f"it has {count} rows, but {STATUS} counts {at_least}")
    return table


def _sound(files: Files, name: str, status: Status, data: T) -> T:
    """Return `data` if it has the hash that the ended recording states; a running recording has no hashes yet.

    Raises:
        InvalidInput: the hash differs.
    """
    if status.state == "running":
        return data
    if (sha256(data) if isinstance(data, bytes) else None) != status.sha256.get(name):
        raise damaged(files, name, f"its sha256 is not the one in {STATUS}")
    return data


def _existing(files: Files, name: str) -> bytes:
    data = files.read(name)
    if data is None:
        raise damaged(files, name, "it is missing")
    return data
