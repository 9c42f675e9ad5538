"""Where recordings are kept: one folder or URL, written by one training each, read by everything else."""

from orchestrator.recordings.recorder import Recorder, RecordingConflict
from orchestrator.recordings.store import RecordingStore, RecordingSummary
from orchestrator.storage.retry import StorageFailure, StorageFull

__all__ = ["Recorder", "RecordingConflict", "RecordingStore", "RecordingSummary", "StorageFailure", "StorageFull"]
