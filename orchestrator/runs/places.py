"""Where an experiment keeps its runs, what identifies each run, and how it ended."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from orchestrator.config.experiment import Experiment, quality_identity
from orchestrator.criteria import Criterion
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.collection import open_store
from orchestrator.recordings.identity import RunIdentity
from orchestrator.runs.spec import RunResult, RunSpec
from orchestrator.storage.storage import Storage
from trainables.data.concept import Concept
from trainables.models.files import fingerprint, resolve
from trainables.settings import BaseModelSettings, QualitySettings
from trainables.types import JsonDict

LIVE = "live"


def storage_of(experiment: Experiment) -> Storage:
    """Return the storage in which an experiment keeps everything."""
    return Storage(experiment.storage)


def recordings(experiment: Experiment) -> RecordingStore:
    """Return the store of an experiment's full-length recordings."""
    return open_store(experiment.storage)


def live_runs(experiment: Experiment) -> RecordingStore:
    """Return the store of an experiment's live runs, which a criterion may stop."""
    return RecordingStore(storage_of(experiment).at(LIVE).url)


def run_specs(experiment: Experiment, concepts: Sequence[Concept], criterion: Criterion | None = None) -> list[RunSpec]:
    """Return the run of every concept, in their order: full-length, or live under `criterion`.

    Raises:
        InvalidInput: the base model's files are missing or incomplete.
    """
    files = _fingerprint(experiment.base_model)
    specs = []
    for concept in concepts:
        of_concept = criterion and criterion.for_images(len(concept.images))
        identity = experiment.identity(concept, files) | _live_fields(experiment, of_concept)
        specs.append(RunSpec(concept.name, of_concept, RunIdentity(identity)))
    return specs


def _live_fields(experiment: Experiment, criterion: Criterion | None) -> JsonDict:
    """Return what determines a live run, beyond what determines a full-length run."""
    if criterion is None:
        return {}
    return {"criterion": repr(criterion), "quality": quality_identity(live_quality(experiment))}


@cache
def _fingerprint(base_model: BaseModelSettings) -> str:
    """Hash the base model's files once per process, because that takes seconds for a full-size model."""
    return fingerprint(resolve(base_model))


def live_quality(experiment: Experiment) -> QualitySettings:
    """Return how a live run is scored: only at its end, since earlier samples would cost what stopping saves."""
    return replace(experiment.quality, every=None, repeats=0)


def run_result(store: RecordingStore, spec: RunSpec, error: str = "", *, is_new: bool = True) -> RunResult:
    """Return how a run ended.

    Args:
        store: keeps its recording.
        spec: of the run.
        error: of its trial; empty if there was none.
        is_new: see `RunResult`.

    Raises:
        InvalidInput: the recording is damaged.
    """
    recording = store.find(spec.identity)
    if recording is None:
        return RunResult(spec, None, 0, error or "not begun; the same command trains it", is_new, bool(error))
    reason = recording.reason
    if recording.state == "running":
        reason = error or "interrupted; the same command resumes from there"
    return RunResult(spec, recording.state, len(recording.steps), reason, is_new, bool(error))
