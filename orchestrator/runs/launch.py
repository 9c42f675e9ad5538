"""record(), live() and what they share: one Ray Tune trial per run, with a recording that outlives the trial."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import plugins
from orchestrator.config.experiment import Experiment
from orchestrator.config.methods import method_defaults
from orchestrator.criteria import Criterion
from orchestrator.recordings import RecordingStore
from orchestrator.recordings.recording import DONE
from orchestrator.runs import cluster, lease
from orchestrator.runs.checks import check_live
from orchestrator.runs.connection import connected
from orchestrator.runs.observing import say, unobtrusive
from orchestrator.runs.places import live_quality, live_runs, recordings, run_result, run_specs, storage_of
from orchestrator.runs.spec import Listener, RunResult, RunSource, RunSpec
from orchestrator.storage.passwords import without_passwords
from trainables.data.concept import Concept
from trainables.errors import InvalidInput
from trainables.methods import MethodSpec
from trainables.settings import QualitySettings
from trainables.text import printable
from trainables.training.config import RunConfig
from trainables.training.sinks import Sink
from trainables.types import JsonDict

if TYPE_CHECKING:
    from ray.tune.search import Searcher

ErrorCallback = Callable[[RunSpec, str], None]


def record(experiment: Experiment, concepts: Sequence[Concept], listeners: Sequence[Listener] = ()) -> list[RunResult]:
    """Train every concept for the full budget, in one Ray Tune trial per concept, and keep the recordings.

    Complete recordings are skipped; interrupted and failed ones resume from their checkpoint.

    Args:
        experiment: how to train, and where to keep the recordings.
        concepts: what to train.
        listeners: follow the runs.

    Returns:
        How each concept's run ended, in the order of the concepts. A failed trial leaves the others running.

    Raises:
        InvalidInput: the storage, base model, method or cluster cannot be used, or another driver works on the same
            recordings.
    """
    return _run(full_length_runs(experiment), run_specs(experiment, concepts), concepts, listeners)


def live(
    experiment: Experiment, concepts: Sequence[Concept], criterion: Criterion, listeners: Sequence[Listener] = ()
) -> list[RunResult]:
    """Personalize every concept until `criterion` stops it, score samples at the end, and keep the adapters.

    Arguments, return value and errors are as in `record`.

    Raises:
        InvalidInput: also for a criterion that `check_live` refuses.
    """
    check_live(experiment, criterion)
    return _run(stopped_runs(experiment), run_specs(experiment, concepts, criterion), concepts, listeners)


@dataclass(frozen=True)
class RunKind:
    """What the runs of one kind, full-length or live, have in common.

    Attributes:
        experiment: what is trained, and on which resources.
        store: keeps their recordings.
        quality: when and how samples are scored.
    """

    experiment: Experiment
    store: RecordingStore
    quality: QualitySettings

    def config(self) -> RunConfig:
        """Return everything that a worker needs besides a run's concept and criterion.

        Raises:
            InvalidInput: the method is unknown, or a setting of it is wrong.
        """
        experiment = self.experiment
        method = MethodSpec(
            plugins.METHODS.spec(experiment.method.name), experiment.method.settings, experiment.method.recipe
        )
        # Report a wrong setting here, not on every worker, and defaults that no search could use before hours of it.
        method_defaults(experiment.method.name, method())
        return RunConfig(
            base_model=experiment.base_model,
            method=method,
            budget=experiment.budget,
            seed=experiment.seed,
            fixed_batch=experiment.fixed_batch,
            stratified_batch=experiment.stratified_batch,
            held_out=experiment.held_out,
            quality=self.quality,
            report_steps=experiment.resources.report_steps,
            checkpoint_seconds=experiment.resources.checkpoint_seconds,
        )

    def check(self, concepts: Sequence[Concept]) -> None:
        """Check here, before anything trains, that every caption of the concepts is read as meant.

        Raises:
            InvalidInput: a placeholder or a caption is unusable, or a setting of the method is wrong.
        """
        from trainables.training.words import check_words  # brings torch, as the method does

        check_words(self.config(), concepts)


def full_length_runs(experiment: Experiment) -> RunKind:
    """Return what runs that train for the full budget have in common."""
    return RunKind(experiment, recordings(experiment), experiment.quality)


def stopped_runs(experiment: Experiment) -> RunKind:
    """Return what runs that a criterion may stop have in common."""
    return RunKind(experiment, live_runs(experiment), live_quality(experiment))


def _run(
    kind: RunKind, specs: Sequence[RunSpec], concepts: Sequence[Concept], listeners: Sequence[Listener]
) -> list[RunResult]:
    experiment, store = kind.experiment, kind.store
    kind.config()  # reports a wrong setting before anything slow
    store.check_writable()
    listeners, errors = unobtrusive(listeners), dict[str, str]()
    summaries = [_summary(spec) for spec in specs]
    keys, folder = [spec.key for spec in specs], Path(store.url).name
    with lease.held(storage_of(experiment), keys, folder=folder, runs=summaries) as held:
        pending = [spec for spec in specs if store.state(spec.identity) not in DONE]
        if pending:
            kind.check(concepts)
            for listener in listeners:
                listener.runs_started(pending, experiment.budget)
            with connected(experiment.resources.address):
                trials = Trials.of(pending)
                train(kind, concepts, trials, listeners, lambda spec, error: errors.update({spec.key: error}), held)
    results = [run_result(store, spec, errors.get(spec.key, ""), is_new=spec in pending) for spec in specs]
    for result in results:
        if result.is_new:
            for listener in listeners:
                listener.run_ended(result)
    return results


def _summary(spec: RunSpec) -> JsonDict:
    """Return what the lease says about a run that may not have begun to be recorded."""
    identity = spec.identity
    return {
        "key": spec.key,
        "concept": spec.concept,
        "method": identity.method,
        "seed": identity.seed or 0,
        "budget": identity.budget,
    }


@dataclass(frozen=True)
class Trials:
    """Where the trials of a training come from: a list, or a searcher that hands them out as it goes.

    A trial's config holds `runs`, the specs of its runs; at present it is a single run per trial.

    Attributes:
        param_space, searcher, num_samples: as Ray Tune takes them.
    """

    param_space: dict[str, Any]
    searcher: "Searcher | None"
    num_samples: int

    @classmethod
    def of(cls, specs: Sequence[RunSpec]) -> "Trials":
        """Return one trial per run of a list that is known beforehand."""
        from ray import tune

        return cls({"runs": tune.grid_search([(spec,) for spec in specs])}, None, 1)

    @classmethod
    def from_source(cls, source: RunSource) -> "Trials":
        """Return one trial per run that a source hands out, until the source has ended."""
        from orchestrator.runs.searcher import RunSearcher

        return cls({}, RunSearcher(source), -1)


def train(
    kind: RunKind,
    concepts: Sequence[Concept],
    trials: Trials,
    listeners: Sequence[Listener],
    on_error: ErrorCallback,
    held: lease.Lease,
) -> None:
    """Train on the cluster, in one Ray Tune trial per run, until all trials have ended.

    Args:
        kind: what the runs have in common.
        concepts: every concept that a run may name.
        trials: where the runs come from.
        listeners: receive every report.
        on_error: called with a run whose trial failed, and the reason.
        held: the lease of the runs. Once another driver has taken it over, no trial begins or continues a recording.

    Raises:
        InvalidInput: a setting of the method is wrong, a trial fits on no node, the cluster cannot be used or does not
            share the storage, or another driver has taken the lease over.
    """
    experiment, config = kind.experiment, kind.config()
    listeners = unobtrusive(listeners)
    with connected(experiment.resources.address):
        from ray import tune

        from orchestrator.runs.stopper import StopEndedTrials
        from trainables.training.personalization import Personalization

        resources, place = experiment.resources, storage_of(experiment)
        cluster.check_fits(resources, say)
        cluster.check_storage(place)
        trainable = tune.with_parameters(
            Personalization,
            run_config=config,
            concepts={concept.name: concept for concept in concepts},
            sink=_RecorderFactory(kind.store, held),
        )
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}),
            param_space=trials.param_space,
            tune_config=tune.TuneConfig(
                search_alg=trials.searcher,
                num_samples=trials.num_samples,
                max_concurrent_trials=resources.max_concurrent,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=f"{Path(kind.store.url).name}-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=place.at("ray").url,
                stop=StopEndedTrials(),
                # The recording holds the checkpoints; Tune's own would be a second copy that nobody reads.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=resources.max_failures),
                callbacks=[_relay(listeners, on_error, held)],
                verbose=0,
            ),
        ).fit()


def _trial_name(trial: Any) -> str:
    return str(trial.trial_id)


@dataclass(frozen=True)
class _RecorderFactory:
    """Opens the recording of a run on the worker."""

    store: RecordingStore
    held: lease.Lease

    def __call__(self, spec: RunSpec) -> Sink:
        return self.store.recorder(spec.identity, self.held.check)


def _relay(listeners: Sequence[Listener], on_error: ErrorCallback, held: lease.Lease) -> Any:
    """Make the Ray callback that passes on reports and errors, and ends the experiment once the lease is lost.

    Ray's own list of results does not name the trial of an error if the trial failed before its first report.
    """
    from ray import tune

    class Relay(tune.Callback):  # type: ignore[misc]
        def __init__(self, listeners: Sequence[Listener], on_error: ErrorCallback) -> None:
            self._listeners, self._on_error = listeners, on_error

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Ray pickles callbacks with the experiment; connections and terminals cannot be

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            if held.is_lost:
                raise InvalidInput(held.lost_message())

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            for spec, report in zip(trial.config["runs"], result["reports"], strict=True):
                for listener in self._listeners:
                    listener.run_reported(spec, report)

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            for spec in trial.config["runs"]:
                say(f"{spec.concept}: {_reason(trial)}; it continues from its checkpoint")

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            for spec in trial.config["runs"]:
                self._on_error(spec, _reason(trial))

    return Relay(listeners, on_error)


def _reason(trial: Any) -> str:
    """Return why a trial failed last: the last line of its worker's traceback, or what Ray says of a dead worker."""
    path = trial.error_file  # Tune's own `get_error` reads the storage, to which it copies this file later
    trace = Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).is_file() else ""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return without_passwords(printable(lines[-1])) if lines else "its worker died"
