"""Where recordings are kept: one folder or URL, written by one training each, read by everything else."""

from orchestrator.storage.retry import StorageFailure, StorageFull
from orchestrator.store.recorder import Recorder, RecordingConflict
from orchestrator.store.recordings import RecordingStore, RecordingSummary

__all__ = ["Recorder", "RecordingConflict", "RecordingStore", "RecordingSummary", "StorageFailure", "StorageFull"]
