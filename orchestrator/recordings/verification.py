"""Checks every byte that the recordings of a store hold: tables, checkpoints, adapters and samples."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.recordings import format as layout
from orchestrator.recordings import reading
from orchestrator.recordings.decoding import snapshot_files
from orchestrator.recordings.format import Contents
from orchestrator.recordings.recording import DONE
from orchestrator.storage.files import Files
from orchestrator.storage.hashes import StoredFile
from orchestrator.storage.retry import StorageFailure
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput
from trainables.sums import SUMS_FILE, sums_text


@dataclass(frozen=True)
class Verdict:
    """What was found out about a recording.

    Attributes:
        name: of its folder.
        problem: what is damaged, and the remedy; None if it is sound.
        is_done: whether its run has ended; False if that cannot be read.
        without_hash: number of files of which only the size is known, as older versions noted it.
    """

    name: str
    problem: str | None
    is_done: bool
    without_hash: int = 0


def verify(place: Storage, exports: Storage | None = None) -> Iterator[Verdict]:
    """Read everything in the recordings below a folder or URL, one after the other, in the order of their folders.

    Args:
        place: of the recordings.
        exports: where the newest snapshots of ended recordings were exported to, each in a folder of the recording's
            name; what is not there is not missed.

    Raises:
        InvalidInput: the storage itself cannot be read.
    """
    files = place.files()
    for name in files.children():
        if name.startswith("."):
            continue
        try:
            contents = reading.read_contents(files.at(name))
            if contents is None:
                continue
        except InvalidInput as error:
            yield Verdict(name, str(error), is_done=False)
            continue
        yield _verdict(files.at(name), name, contents, exports)


def _verdict(files: Files, name: str, contents: Contents, exports: Storage | None) -> Verdict:
    is_done, known = contents.status.state in DONE, list[StoredFile]()
    try:
        for folder, stored in _folders(files, contents):
            known += stored.values()
            reading.check(files, folder, stored)
        _check_traceback(files, contents.status)
        if exports is not None and is_done and contents.quality:
            _check_export(exports.files().at(name), snapshot_files(contents.quality[-1])[1])
    except InvalidInput as error:
        return Verdict(name, str(error), is_done)
    return Verdict(name, None, is_done, sum(stored.sha256 is None for stored in known))


def _folders(files: Files, contents: Contents) -> Iterator[tuple[str, dict[str, StoredFile]]]:
    """Return the folders of snapshots and checkpoint, and what was stored in each."""
    for row in contents.quality:
        yield snapshot_files(row)
    checkpoint = reading.read_checkpoint(files, contents.status.number)
    if checkpoint is not None:
        yield checkpoint.folder, dict(checkpoint.files)


def _check_traceback(files: Files, status: layout.Status) -> None:
    name = layout.of_writer(layout.TRACEBACK, status.number)
    if layout.TRACEBACK in status.sha256:
        data = files.read(name)
        if data is None or layout.sha256(data) != status.sha256[layout.TRACEBACK]:
            raise layout.damaged(files, name, "its sha256 is not the one in the status")


def _check_export(files: Files, stored: dict[str, StoredFile]) -> None:
    if not files.children():
        return  # removed, moved elsewhere, or of a run that was never exported
    sums = files.read(SUMS_FILE)
    expected = sums_text({name: about.sha256 for name, about in stored.items() if about.sha256})
    try:
        is_known = all(about.sha256 for about in stored.values())  # else of an older version, exported by this one
        if sums is not None and is_known and sums != expected.encode():
            raise InvalidInput(f"{files.url}/{SUMS_FILE} is damaged: it is not what was written")
        files.check("", stored)
    except StorageFailure:
        raise
    except InvalidInput as error:
        raise InvalidInput(f"{error}; delete the folder {files.url}, and export it again with `dvar run`") from error
