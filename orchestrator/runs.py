"""record() and live(): one Ray Tune trial a concept, each with a recording that survives whatever happens."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator import cluster, lease, plugins
from orchestrator.criteria import Criterion
from orchestrator.experiment import Experiment
from orchestrator.recording import State, recording_key
from orchestrator.store import RecordingStore
from trainables.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.model_files import fingerprint, resolve
from trainables.settings import BaseModelSettings, EvaluationSettings, QualitySettings
from trainables.sinks import Sink

if TYPE_CHECKING:
    from trainables.session import Plan

RECORDINGS, LIVE = "recordings", "live"


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
        return self.state in ("complete", "stopped")


class Listener(Protocol):
    """Follows runs on the driver: a progress display, an experiment tracker."""

    def begun(self, jobs: Sequence[Job], budget: int) -> None:
        """Trials for `jobs` are about to start."""

    def reported(self, job: Job, result: Mapping[str, Any]) -> None:
        """A trial sent a result (see `trainables.personalization.Personalization`)."""

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
    extra = {} if criterion is None else {"criterion": repr(criterion), "quality": asdict(_live_quality(experiment))}
    return [Job(concept, experiment.identity(concept, files) | extra) for concept in concepts]


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
    plan = _plan(experiment, experiment.quality, None)
    return _run(experiment, plan, recordings(experiment), jobs(experiment, concepts), None, listeners)


def live(
    experiment: Experiment, concepts: Sequence[Concept], criterion: Criterion, listeners: Sequence[Listener] = ()
) -> list[Ended]:
    """Personalize every concept until `criterion` stops it, score samples at the end, and keep the adapters.

    Returns and raises as `record` does; also raises InvalidInput for a criterion that watches samples.
    """
    if not criterion.decides_by_step:
        raise InvalidInput(f"{criterion!r} watches {criterion.series!r}, and a live run takes no samples on its way")
    plan = _plan(experiment, _live_quality(experiment), criterion)
    todo = jobs(experiment, concepts, criterion)
    return _run(experiment, plan, live_runs(experiment), todo, criterion, listeners)


def _plan(experiment: Experiment, quality: QualitySettings, criterion: Criterion | None) -> "Plan":
    from trainables.session import Plan  # it brings torch, which a driver that only replays does without

    chosen = experiment.method
    method = MethodSpec(plugins.METHODS.spec(chosen.name), chosen.settings, chosen.recipe)
    method()  # a wrong setting is found here, not on every worker
    return Plan(
        base_model=experiment.base_model,
        method=method,
        budget=experiment.budget,
        seed=experiment.seed,
        fixed_batch=experiment.fixed_batch if criterion is None or criterion.needs_l_det else None,
        evaluation=criterion.evaluation if criterion else EvaluationSettings(),
        quality=quality,
        criterion=criterion.online if criterion else None,
        report_steps=experiment.resources.report_steps,
        checkpoint_seconds=experiment.resources.checkpoint_seconds,
    )


@dataclass(frozen=True)
class _Recorders:
    """Opens the recording of a concept on the worker."""

    store: RecordingStore
    identities: Mapping[str, Mapping[str, Any]]

    def __call__(self, concept: Concept) -> Sink:
        return self.store.recorder(self.identities[concept.name])


def _run(
    experiment: Experiment,
    plan: "Plan",
    store: RecordingStore,
    all_jobs: Sequence[Job],
    criterion: Criterion | None,
    listeners: Sequence[Listener],
) -> list[Ended]:
    store.check_writable()
    todo: list[Job] = []
    errors: dict[str, str] = {}
    with lease.held(storage_folder(experiment), [job.key for job in all_jobs]):
        before = {job.key: store.state(job.identity) for job in all_jobs}
        todo = [job for job in all_jobs if before[job.key] not in ("complete", "stopped")]
        if todo:
            for listener in listeners:
                listener.begun(todo, experiment.budget)
            with cluster.connected(experiment.resources.address):
                cluster.check_storage(storage_folder(experiment))
                errors = _fit(experiment, plan, store, todo, criterion, listeners)
    ended = [_ended(store, job, errors.get(job.concept.name, ""), job in todo) for job in all_jobs]
    for one in ended:
        if one.is_new:
            for listener in listeners:
                listener.ended(one)
    return ended


def _ended(store: RecordingStore, job: Job, error: str, is_new: bool) -> Ended:
    recording = store.find(job.identity)
    if recording is None:
        return Ended(job, None, 0, error or "nothing was recorded", is_new)
    reason = recording.reason
    if recording.state == "running":
        reason = error or "interrupted; the same command goes on from there"
    return Ended(job, recording.state, len(recording.steps), reason, is_new)


def _fit(
    experiment: Experiment,
    plan: "Plan",
    store: RecordingStore,
    todo: Sequence[Job],
    criterion: Criterion | None,
    listeners: Sequence[Listener],
) -> dict[str, str]:
    """Run the trials; return the errors by concept."""
    from ray import tune

    from orchestrator.stopper import CriterionStopper
    from trainables.personalization import Personalization

    errors: dict[str, str] = {}
    resources = experiment.resources
    trainable = tune.with_parameters(
        Personalization,
        plan=plan,
        concepts={job.concept.name: job.concept for job in todo},
        sink=_Recorders(store, {job.concept.name: job.identity for job in todo}),
    )
    share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    tuner = tune.Tuner(
        tune.with_resources(trainable, share),
        param_space={"concept": tune.grid_search([job.concept.name for job in todo])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=resources.max_concurrent,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.trial_id),
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{Path(store.url).name}-{time.strftime('%Y%m%d-%H%M%S')}",
            storage_path=storage_folder(experiment, "ray"),
            stop=CriterionStopper(criterion) if criterion else None,
            failure_config=tune.FailureConfig(max_failures=resources.max_failures),
            callbacks=[_relay({job.concept.name: job for job in todo}, listeners, errors)],
            verbose=0,
        ),
    )
    tuner.fit()
    return errors


def _relay(by_name: Mapping[str, Job], listeners: Sequence[Listener], errors: dict[str, str]) -> Any:
    """Make the Ray callback that passes results on to the listeners, and collects errors by concept.

    Ray's own list of results does not say of which trial an error is, where the trial failed before its first report.
    """
    from ray import tune

    class Relay(tune.Callback):  # type: ignore[misc]
        def __init__(self, by_name: Mapping[str, Job], listeners: Sequence[Listener], errors: dict[str, str]) -> None:
            self._by_name, self._listeners, self._errors = by_name, listeners, errors

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Ray pickles callbacks with the experiment; connections and terminals cannot be

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            for listener in self._listeners:
                listener.reported(self._by_name[result["concept"]], result)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._errors[trial.config["concept"]] = _message(trial.get_error())

    return Relay(by_name, listeners, errors)


def _message(trace: str | None) -> str:
    """Return the last line of a worker's traceback: the error itself."""
    lines = [line.strip() for line in (trace or "").splitlines() if line.strip()]
    return lines[-1] if lines else "its worker died"
