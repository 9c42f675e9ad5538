"""Recordings: what runs measured, kept below a folder or URL; each is written by a single training and read by all.

Start with `RecordingStore(url)`, which reads recordings and hands out a `Recorder` per run. `recording` has the types
of what is read, `identity` what determines a run, `format` the files of a recording, `pack` many recordings in a single
file, `verification` checks everything that is stored, and `collection` opens any of a storage, a pack and the
recordings that ship with the program.
"""

from orchestrator.recordings.ownership import RecordingConflict
from orchestrator.recordings.recorder import Recorder
from orchestrator.recordings.store import RecordingStore, RecordingSummary
from orchestrator.storage.retry import StorageFailure, StorageFull

__all__ = ["Recorder", "RecordingConflict", "RecordingStore", "RecordingSummary", "StorageFailure", "StorageFull"]
