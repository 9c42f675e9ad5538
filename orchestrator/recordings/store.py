"""RecordingStore: reads, lists and begins the recordings below a folder or URL."""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from orchestrator.recordings import format as layout
from orchestrator.recordings import reading
from orchestrator.recordings.decoding import snapshot_files
from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.ownership import Permit, always
from orchestrator.recordings.recorder import FLUSH_SECONDS, Recorder
from orchestrator.recordings.recording import Recording, State
from orchestrator.storage.files import Files
from orchestrator.storage.storage import Storage
from trainables.errors import InvalidInput

#: How the token of a writer begins that imports a recording.
_IMPORT = "import-"

_KEY = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class RecordingSummary:
    """What a listing shows of a recording.

    Attributes:
        key: name of the recording.
        concept, method, seed: what was trained.
        state: see `recording.State`.
        steps: recorded optimizer steps.
        budget: optimizer steps of a full-length run.
        folder: where the recording is.
        reason: why it ended; empty while it runs.
        age: seconds since it was last written.
        traceback: where the traceback of a failed run is; None if there is none.
        copies: further folders with the same recording, such as "... (1)"; they are not counted.
    """

    key: str
    concept: str
    method: str
    seed: int
    state: State
    steps: int
    budget: int
    folder: str
    reason: str
    age: float
    traceback: str | None
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class DamagedRecording:
    """What a listing says of a recording that cannot be read.

    Attributes:
        name: the concept if it is known, else the name of the folder.
        reason: what is wrong with which file, and the remedy.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class StoreScan:
    """The recordings of a store: those that can be summarised, sorted by folder, and the others."""

    summaries: list[RecordingSummary]
    damaged: list[DamagedRecording]


@dataclass(frozen=True)
class RecordingStore:
    """The recordings below a folder or URL; a small object that reconnects in every process to which it is sent.

    Attributes:
        url: a folder, or any fsspec URL such as "s3://bucket/recordings".
        flush_seconds: minimum time for which a recorder buffers rows.
    """

    url: str
    flush_seconds: float = FLUSH_SECONDS

    def check_writable(self) -> None:
        """Check that the store can be written, by writing and removing a small file.

        Raises:
            InvalidInput: it cannot be written; the message names the place and the remedy.
        """
        name = f".probe-{uuid4().hex}"
        files = self._files()
        files.write(name, b"")
        files.remove(name)

    def recorder(self, identity: RunIdentity, permit: Permit = always, *, is_import: bool = False) -> Recorder:
        """Return the recorder of the run that `identity` determines; it writes nothing until it is started.

        Args:
            identity: of the run.
            permit: see `Recorder`.
            is_import: whether it writes what is known already, see `is_broken_import`.
        """
        files = self._files().at(layout.folder_name(identity))
        return Recorder(files, identity, self.flush_seconds, permit, role=_IMPORT if is_import else "")

    def state(self, identity: RunIdentity) -> State | None:
        """Return the state of a run's recording, or None if there is none; reads no table.

        Raises:
            InvalidInput: the recording is damaged.
        """
        status = reading.read_status(self._files().at(layout.folder_name(identity)))
        return status.state if status else None

    def is_broken_import(self, identity: RunIdentity) -> bool:
        """Whether a run's recording is unfinished because an import was, rather than a training; reads no table.

        Raises:
            InvalidInput: the recording is damaged.
        """
        status = reading.read_status(self._files().at(layout.folder_name(identity)))
        return status is not None and status.state == "running" and status.writer.startswith(_IMPORT)

    def find(self, identity: RunIdentity) -> Recording | None:
        """Return the recording of a run, as far as it has been written, or None if there is none.

        Raises:
            InvalidInput: the recording is damaged.
        """
        files = self._files().at(layout.folder_name(identity))
        contents = reading.read_contents(files)
        if contents is None:
            return None
        recording = contents.recording()
        if recording.key != identity.key:
            raise layout.damaged(files, layout.MANIFEST, f"it belongs to another recording ({recording.key})")
        return recording

    def folder(self, identity: RunIdentity) -> str:
        """Return the folder or URL where the recording of a run is or would be."""
        return self._files().at(layout.folder_name(identity)).url

    def read(self, key: str) -> Recording:
        """Return the recording with a key.

        Raises:
            InvalidInput: there is no such recording, or it is damaged.
        """
        contents = reading.read_contents(self._at(key))
        if contents is None:
            raise InvalidInput(f"recording {key!r} in {self.url} was never begun; record it again")
        return contents.recording()

    def list(self) -> "list[RecordingSummary]":
        """Return a summary of every recording, sorted by folder; reads no table, and counts no copy of a folder.

        Raises:
            InvalidInput: a recording is damaged.
        """
        scan = self.scan()
        if scan.damaged:
            raise InvalidInput(scan.damaged[0].reason)
        return scan.summaries

    def scan(self) -> StoreScan:
        """Return what `list` returns, and the recordings that cannot be summarised; reads no table."""
        files = self._files()
        summaries: list[RecordingSummary] = []
        damaged: list[DamagedRecording] = []
        for name in files.children():
            if name.startswith("."):
                continue
            try:
                summary = self._summary(files.at(name))
            except InvalidInput as error:
                damaged.append(DamagedRecording(name, str(error)))
            else:
                summaries += [summary] if summary else []
        return StoreScan(_without_copies(summaries), damaged)

    def _summary(self, files: Files) -> RecordingSummary | None:
        return reading.consistent(files, lambda status: self._summary_as(files, status))

    def _summary_as(self, files: Files, status: layout.Status) -> RecordingSummary:
        identity = reading.read_identity(files)
        trace = layout.of_writer(layout.TRACEBACK, status.number)
        return RecordingSummary(
            key=identity.key,
            concept=identity.concept,
            method=identity.method,
            seed=identity.seed or 0,
            state=status.state,
            steps=status.steps,
            budget=identity.budget,
            folder=files.url,
            reason=status.reason,
            age=max(0.0, time.time() - files.modified(layout.of_writer(layout.STATUS, status.number))),
            traceback=f"{files.url}/{trace}" if trace in files.children() else None,
        )

    def snapshot_folder(self, key: str, step: int) -> Path:
        """Return a local, read-only folder with the files of the snapshot of a step.

        Raises:
            InvalidInput: there is no such snapshot, or a file of it is missing or damaged.
        """
        files = self._at(key)
        contents = reading.read_contents(files)
        for row in contents.quality if contents else ():
            if row["step"] == step:
                return reading.fetch(files, *snapshot_files(row))
        raise InvalidInput(f"recording {key!r} in {self.url} has no snapshot of step {step}")

    def _files(self) -> Files:
        return Storage(self.url).files()

    def _at(self, key: str) -> Files:
        files = self._files()
        names = [name for name in files.children() if f"-{key}" in name] if _KEY.fullmatch(key) else []
        if not names:
            raise InvalidInput(f"there is no recording {key!r} in {self.url}")
        return files.at(min(names, key=lambda name: _strangeness(name, key)))


def _without_copies(rows: list[RecordingSummary]) -> list[RecordingSummary]:
    """Keep one summary of each run: copying a folder within a storage makes no further run of it."""
    by_key: dict[str, list[RecordingSummary]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    kept = []
    for key, same in by_key.items():
        original = min(same, key=lambda row: _strangeness(row.folder.rpartition("/")[2], key))
        copies = tuple(row.folder for row in same if row is not original)
        kept.append(replace(original, copies=copies))
    return kept


def _strangeness(name: str, key: str) -> tuple[bool, int]:
    """Order folders with the same recording: file managers put "Copy of" before its name, or "(1)" after it."""
    return not name.endswith(f"-{key}"), len(name)
