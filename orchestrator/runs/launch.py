"""record(), live() and what they share: a Ray Tune trial a run, each with a recording that survives what happens."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator import plugins
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.recording import DONE, State, recording_key
from orchestrator.runs import cluster, lease
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.models.files import fingerprint, resolve
from trainables.settings import BaseModelSettings, QualitySettings
from trainables.training.sinks import Sink

if TYPE_CHECKING:
    from trainables.training.session import Plan

RECORDINGS, LIVE = "recordings", "live"

#: A run as a trial's config says it: the name of the concept and its criterion.
Assignment = tuple[str, Criterion | None]


@dataclass(frozen=True)
class Job:
    """One concept's run: what determines it, and its key in the store."""

    concept: Concept
    identity: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Key of the job's recording."""
        return recording_key(self.identity)


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        state: of its recording; None when nothing was recorded.
        steps: optimizer steps that are recorded.
        reason: why it ended, or the error.
        is_new: whether this call trained it; otherwise it was found complete.
    """

    job: Job
    state: State | None
    steps: int
    reason: str
    is_new: bool

    @property
    def is_good(self) -> bool:
        """Whether it ran to its budget or was stopped by its criterion."""
        return self.state in DONE


class Listener(Protocol):
    """Follows runs on the driver: a progress display, an experiment tracker."""

    def begun(self, jobs: Sequence[Job], budget: int) -> None:
        """Trials for `jobs` are about to start."""

    def reported(self, job: Job, result: Mapping[str, Any]) -> None:
        """A trial sent a result (see `trainables.training.personalization.Personalization`)."""

    def ended(self, ended: Ended) -> None:
        """A job ended, well or not."""


def storage_folder(experiment: Experiment, *parts: str) -> str:
    """Return a place below the experiment's storage, as an absolute path or a URL."""
    storage = experiment.storage
    if "://" not in storage:
        storage = str(Path(storage).expanduser().resolve())
    return "/".join([storage.rstrip("/"), *parts])


def recordings(experiment: Experiment) -> RecordingStore:
    """Return the store of full-length recordings."""
    return RecordingStore(storage_folder(experiment, RECORDINGS))


def live_runs(experiment: Experiment) -> RecordingStore:
    """Return the store of runs that a criterion ended."""
    return RecordingStore(storage_folder(experiment, LIVE))


def jobs(experiment: Experiment, concepts: Sequence[Concept], criterion: Criterion | None = None) -> list[Job]:
    """Return the job of every concept: full-length, or live under `criterion`.

    Raises:
        InvalidInput: the base model's files are not complete.
    """
    files = _fingerprint(experiment.base_model)
    extra = _live_identity(experiment, criterion)
    return [Job(concept, experiment.identity(concept, files) | extra) for concept in concepts]


def _live_identity(experiment: Experiment, criterion: Criterion | None) -> dict[str, Any]:
    """Return what determines a live run beyond what determines a full-length one."""
    if criterion is None:
        return {}
    return {"criterion": repr(criterion), "quality": asdict(_live_quality(experiment))}


@cache
def _fingerprint(base_model: BaseModelSettings) -> str:
    """Hash the base model's files once a process: of a full-size model that takes seconds."""
    return fingerprint(resolve(base_model))


def _live_quality(experiment: Experiment) -> QualitySettings:
    """A live run is scored at its end alone: samples on the way would cost what stopping saves."""
    return replace(experiment.quality, every=None)


def record(experiment: Experiment, concepts: Sequence[Concept], listeners: Sequence[Listener] = ()) -> list[Ended]:
    """Run every concept for its whole budget, one Ray Tune trial each, and keep the recordings.

    A complete recording is not made again; an interrupted or failed one goes on from its checkpoint.

    Returns:
        How each concept's job ended, in their order. A failed trial leaves the others running.

    Raises:
        InvalidInput: storage, base model or method cannot be used.
    """
    return _run(experiment, recordings(experiment), concepts, None, listeners)


def live(
    experiment: Experiment, concepts: Sequence[Concept], criterion: Criterion, listeners: Sequence[Listener] = ()
) -> list[Ended]:
    """Personalize every concept until `criterion` stops it, score samples at the end, and keep the adapters.

    Returns and raises as `record` does; also raises InvalidInput for a criterion that `check_live` refuses.
    """
    check_live(experiment, criterion)
    return _run(experiment, live_runs(experiment), concepts, criterion, listeners)


def check_live(experiment: Experiment, criterion: Criterion) -> None:
    """Refuse a criterion that cannot stop a live run.

    Raises:
        InvalidInput: it watches samples, needs more inputs than the fixed batch has, or a window as long as the budget.
    """
    if not criterion.decides_by_step:
        raise InvalidInput(
            f"{criterion} watches samples, which a live run does not take on its way; `dvar compare` and `dvar tune` "
            "replay it, and `dvar tune --criteria` chooses among others"
        )
    inputs, size = criterion.l_det_schedule.inputs, experiment.fixed_batch.size
    if inputs is not None and inputs > size:
        raise InvalidInput(f"{criterion} evaluates {inputs} inputs at a time, and fixed_batch.size is {size}")
    window = getattr(criterion, "window", None)
    if window is not None and window >= experiment.budget:
        raise InvalidInput(
            f"window {window} is not shorter than the budget of {experiment.budget} steps, so {criterion} could never "
            "stop; give a smaller --window or a larger --budget"
        )


def _plan(experiment: Experiment, quality: QualitySettings) -> "Plan":
    from trainables.training.session import Plan  # it brings torch, which a driver that only replays does without

    chosen = experiment.method
    method = MethodSpec(plugins.METHODS.spec(chosen.name), chosen.settings, chosen.recipe)
    method()  # a wrong setting is found here, not on every worker
    return Plan(
        base_model=experiment.base_model,
        method=method,
        budget=experiment.budget,
        seed=experiment.seed,
        fixed_batch=experiment.fixed_batch,
        quality=quality,
        report_steps=experiment.resources.report_steps,
        checkpoint_seconds=experiment.resources.checkpoint_seconds,
    )


@dataclass(frozen=True)
class _Recorders:
    """Opens the recording of a run on the worker."""

    store: RecordingStore
    experiment: Experiment
    files: str

    def __call__(self, concept: Concept, criterion: Any) -> Sink:
        identity = self.experiment.identity(concept, self.files) | _live_identity(self.experiment, criterion)
        return self.store.recorder(identity)


def _run(
    experiment: Experiment,
    store: RecordingStore,
    concepts: Sequence[Concept],
    criterion: Criterion | None,
    listeners: Sequence[Listener],
) -> list[Ended]:
    all_jobs = jobs(experiment, concepts, criterion)
    store.check_writable()
    todo: list[Job] = []
    errors: dict[str, str] = {}
    with lease.held(storage_folder(experiment), [job.key for job in all_jobs]):
        before = {job.key: store.state(job.identity) for job in all_jobs}
        todo = [job for job in all_jobs if before[job.key] not in DONE]
        if todo:
            for listener in listeners:
                listener.begun(todo, experiment.budget)
            assigned = {(job.concept.name, criterion): job for job in todo}
            train(
                experiment,
                [job.concept for job in todo],
                assigned,
                listeners,
                lambda job, error: errors.update({job.key: error}),
                is_live=criterion is not None,
            )
    found = [ended(store, job, errors.get(job.key, ""), is_new=job in todo) for job in all_jobs]
    for one in found:
        if one.is_new:
            for listener in listeners:
                listener.ended(one)
    return found


def ended(store: RecordingStore, job: Job, error: str = "", *, is_new: bool = True) -> Ended:
    """Return how a job ended, as its recording says; `error` is that of its trial, if there was one."""
    recording = store.find(job.identity)
    if recording is None:
        return Ended(job, None, 0, error or "nothing was recorded", is_new)
    reason = recording.reason
    if recording.state == "running":
        reason = error or "interrupted; the same command goes on from there"
    return Ended(job, recording.state, len(recording.steps), reason, is_new)


def train(
    experiment: Experiment,
    concepts: Sequence[Concept],
    assigned: Mapping[Assignment, Job],
    listeners: Sequence[Listener],
    on_error: Callable[[Job, str], None],
    *,
    is_live: bool,
    searcher: Any = None,
) -> None:
    """Train on the cluster, one Ray Tune trial a run, until all have ended.

    Args:
        experiment: what the runs have in common.
        concepts: those that may be trained.
        assigned: the job of each run; with a searcher it grows.
        listeners: are told of results.
        on_error: told of a run whose trial failed, and why.
        is_live: whether criteria end the runs; otherwise they are full-length recordings.
        searcher: a `ray.tune.search.Searcher` that hands the runs out one by one, each as the `run` of a config; None
            trains what is assigned.

    Raises:
        InvalidInput: the method has a wrong setting, or the cluster cannot be used, or does not share the storage.
    """
    store = live_runs(experiment) if is_live else recordings(experiment)
    plan = _plan(experiment, _live_quality(experiment) if is_live else experiment.quality)
    with cluster.connected(experiment.resources.address):
        from ray import tune

        from orchestrator.runs.stopper import CriterionStopper
        from trainables.training.personalization import Personalization

        cluster.check_storage(storage_folder(experiment))
        resources = experiment.resources
        trainable = tune.with_parameters(
            Personalization,
            plan=plan,
            concepts={concept.name: concept for concept in concepts},
            sink=_Recorders(store, experiment, _fingerprint(experiment.base_model)),
        )
        share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
        tune.Tuner(
            tune.with_resources(trainable, share),
            param_space={} if searcher else {"run": tune.grid_search(list(assigned))},
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1 if searcher else 1,  # a searcher says itself when it has no more
                max_concurrent_trials=resources.max_concurrent,
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.trial_id),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name=f"{Path(store.url).name}-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=storage_folder(experiment, "ray"),
                stop=CriterionStopper(),
                # The recording holds the checkpoints; Tune's own would be a second copy that nobody reads.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=resources.max_failures),
                callbacks=[_relay(assigned, listeners, on_error)],
                verbose=0,
            ),
        ).fit()


def _relay(
    assigned: Mapping[Assignment, Job], listeners: Sequence[Listener], on_error: Callable[[Job, str], None]
) -> Any:
    """Make the Ray callback that passes on results and errors.

    Ray's own list of results does not say of which trial an error is, where the trial failed before its first report.
    """
    from ray import tune

    class Relay(tune.Callback):  # type: ignore[misc]
        def __init__(
            self,
            assigned: Mapping[Assignment, Job],
            listeners: Sequence[Listener],
            on_error: Callable[[Job, str], None],
        ) -> None:
            self._assigned, self._listeners, self._on_error = assigned, listeners, on_error

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Ray pickles callbacks with the experiment; connections and terminals cannot be

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            for listener in self._listeners:
                listener.reported(self._assigned[trial.config["run"]], result)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._on_error(self._assigned[trial.config["run"]], _message(trial.get_error()))

    return Relay(assigned, listeners, on_error)


def _message(trace: str | None) -> str:
    """Return the last line of a worker's traceback: the error itself."""
    lines = [line.strip() for line in (trace or "").splitlines() if line.strip()]
    return lines[-1] if lines else "its worker died"
