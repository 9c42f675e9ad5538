"""The picture of a demonstration: the concepts, with samples at the stop and at the full budget."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from orchestrator.recordings.identity import RunIdentity
from orchestrator.recordings.recording import Recording
from orchestrator.recordings.store import RecordingStore
from trainables.data.concept import Concept
from trainables.quality.pictures import PictureRow, figure, split_sheet

SAMPLES = "samples.png"
SHOWN = 4
HEADINGS = ("the concept", "samples at the stop", "samples at the full budget", "new contexts, at the stop")


class _Run(Protocol):
    @property
    def identity(self) -> RunIdentity: ...


def demo_picture(
    concepts: Sequence[Concept],
    full: RecordingStore,
    full_runs: Sequence[_Run],
    live: RecordingStore,
    live_runs: Sequence[_Run],
) -> Image.Image:
    """Draw a row per concept: its images, samples at the stop and at the full budget, and samples in new contexts.

    Args:
        concepts: at least one concept.
        full: has the full-length recordings.
        full_runs: the full-length run of each concept.
        live: has the recordings of the live runs.
        live_runs: the live run of each concept.
    """
    rows = []
    for concept, full_run, live_run in zip(concepts, full_runs, live_runs, strict=True):
        at_stop, stop = _last_samples(live, live_run)
        at_end, end = _last_samples(full, full_run)
        half = len(at_stop) // 2 if concept.validation_prompts else len(at_stop)
        groups = (concept.decode(), at_stop[:half], at_end[:half], at_stop[half:])
        notes = {HEADINGS[1]: f"step {stop}", HEADINGS[2]: f"step {end}"}
        rows.append(
            PictureRow(f"{concept.class_noun}\n{concept.placeholder}", dict(zip(HEADINGS, groups, strict=True)), notes)
        )
    return figure(rows, dict.fromkeys(HEADINGS, SHOWN))


def _last_samples(store: RecordingStore, run: _Run) -> tuple[list[Image.Image], int]:
    """Return the samples of a run's last snapshot, beginning with those of the training prompt, and its step."""
    recording = store.find(run.identity)
    assert isinstance(recording, Recording)
    step = int(recording.quality.steps[-1])
    with Image.open(store.snapshot_folder(recording.key, step) / SAMPLES) as sheet:
        return split_sheet(sheet.convert("RGB")), step
