"""The live study: Optuna suggests settings, and Ray Tune trains every tuning concept under each setting."""

import copy
from collections.abc import Sequence
from dataclasses import replace

from optuna.storages import JournalStorage

from orchestrator import runs
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.recordings.identity import json_hash
from orchestrator.recordings.recording import DONE, Recording
from orchestrator.replay.replay import check_replayable, live_outcome
from orchestrator.runs import lease
from orchestrator.runs.connection import connected
from orchestrator.runs.observing import unobtrusive
from orchestrator.study.objective import Objective
from orchestrator.study.recommendation import FIXED, PER_IMAGE
from orchestrator.study.references import finished_result
from orchestrator.study.replays import Replays
from orchestrator.study.result import StudyResult, TrialResult, judge, marked
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace
from orchestrator.study.storage import FilesJournal, open_storage, open_study, quiet_optuna
from orchestrator.study.suggestions import SuggestionQueue
from trainables.data.concept import Concept

STUDIES = "studies"


class SearchIncomplete(RuntimeError):
    """A live search ended before it had judged as many settings as requested, because too many runs failed.

    The judged settings are kept, and the same search resumes from there.

    Attributes:
        judged: number of settings that were judged.
        failed: the runs that failed; a setting with a failed run is not judged.
    """

    def __init__(self, judged: int, trials: int, failed: Sequence[runs.RunResult]) -> None:
        super().__init__(f"{judged} of {trials} settings were judged, {len(failed)} runs failed")
        self.judged, self.failed = judged, tuple(failed)


class LiveStudy:
    """The search for the best setting by training: same space and objective as `study.Study`, but no replay.

    Each suggestion personalizes every tuning concept until its criterion stops it, and is judged by the outcomes. The
    runs are those of `runs.live`, stored by what determines them, so that none is trained twice. The suggestions are
    stored too: an interrupted search resumes where it was.

    Args:
        experiment: what is trained, and where it is kept.
        concepts: the tuning concepts.
        recordings: the complete full-length recording of each concept, in the same order; they give the best quality.
        space: the settings to search.
        objective: how settings are judged.

    Raises:
        InvalidInput: a criterion cannot stop a live run, see `runs.check_live`; a recording cannot serve; or there are
            too few concepts for what the objective promises.
    """

    def __init__(
        self,
        experiment: Experiment,
        concepts: Sequence[Concept],
        recordings: Sequence[Recording],
        *,
        space: SearchSpace,
        objective: Objective,
    ) -> None:
        space = space.of_families() if objective.is_reliable else space
        check_space(experiment, space)
        for recording in recordings:
            check_replayable(recording, objective.metric)
        objective.check_carries(len(concepts))
        self.experiment, self.concepts = experiment, tuple(concepts)
        self.space, self.objective = space, objective
        self._full = tuple(recordings)
        self._listeners: tuple[runs.Listener, ...] = ()
        self._store = runs.live_runs(experiment)

    def followed_by(self, *listeners: runs.Listener) -> "LiveStudy":
        """Return the same study, whose runs these listeners follow."""
        study = copy.copy(self)
        study._listeners = listeners
        return study

    def specs(self, criterion: Criterion) -> list[runs.RunSpec]:
        """Return the run of every concept under a criterion."""
        return runs.run_specs(self.experiment, self.concepts, criterion)

    def is_done(self, spec: runs.RunSpec) -> bool:
        """Whether a run is complete or was stopped by its criterion."""
        return self._store.state(spec.identity) in DONE

    def run_result(self, spec: runs.RunSpec, error: str = "") -> runs.RunResult:
        """Return how a run ended, as its recording states; `error` is that of its trial, if any."""
        return runs.run_result(self._store, spec, error)

    def evaluate(self, name: str, params: Params) -> TrialResult | None:
        """Judge a setting by its runs; return None if any of them is not done.

        Raises:
            InvalidInput: a recording is damaged.
        """
        params, criterion = self.space.criterion(name, params)
        specs = self.specs(criterion)
        if not all(self.is_done(spec) for spec in specs):
            return None
        stopped = [run for spec in specs if (run := self._store.find(spec.identity))]
        pairs = zip(stopped, self._full, strict=True)
        outcomes = [live_outcome(run, full, self.objective.metric) for run, full in pairs]
        return judge(self.objective, name, params, criterion, outcomes)

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, including those of earlier calls.

        Args:
            trials: total number of settings.
            seed: of the sampler. If several runs train at once, the order in which they end affects the suggestions.
            storage: see `study.storage.open_storage`; None keeps the study beside the runs.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: called after every setting with the number of settings so far and the best result.

        Raises:
            SearchIncomplete: too many runs failed.
            InvalidInput: a storage or the cluster cannot be used, or another driver works on the same search.
        """
        place, name = runs.storage_of(self.experiment), self._study_name(pareto, storage)
        self._store.check_writable()
        with lease.held(place, [name], folder=runs.LIVE) as held, quiet_optuna():
            backend = open_storage(storage) if storage else JournalStorage(FilesJournal(place.at(STUDIES, name)))
            study = open_study(backend, name, seed, pareto, is_shared=False)
            listeners = unobtrusive(self._listeners)
            queue = SuggestionQueue(self, study, trials, listeners, on_trial)
            if not queue.is_finished:
                kind = runs.stopped_runs(self.experiment)
                kind.check(self.concepts)
                with connected(self.experiment.resources.address):
                    source = runs.Trials.from_source(queue)
                    runs.train(kind, self.concepts, source, listeners, queue.run_failed, held)
            if queue.error is not None:
                raise queue.error
        if not queue.is_finished:
            raise SearchIncomplete(queue.count, trials, tuple(queue.failed.values()))
        return self._result(queue)

    def _result(self, queue: SuggestionQueue) -> StudyResult:
        tried = queue.tried.all
        by_name = {
            name: self._ordered(name, [each for each in tried if each.name == name]) for name in self.space.ranges
        }
        replays = Replays(self._full, self.space, self.objective)
        # Numbers of steps are replayed exactly, and never worth a training.
        for name in set(self.experiment.study.criteria) & {FIXED, PER_IMAGE} - set(by_name):
            by_name[name] = replays.family(name)
        defaults = {self.space.criterion(name, params)[1] for name, params in self.space.default_params.items()}
        result = finished_result(
            replays,
            self._full,
            {name: results for name, results in by_name.items() if results},
            trials=queue.count,
            neighbours_of=lambda best: (),
        )
        return replace(
            result,
            default_results=tuple(each for each in tried if each.criterion in defaults),
            failed=tuple(queue.failed.values()),
        )

    def _ordered(self, name: str, results: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
        """Return a criterion's settings, for "reliable" from late stops to early ones, each feasible as in a family."""
        if not self.objective.is_reliable or not results:
            return tuple(results)
        key, sign = self.space.order(name)
        return marked(self.objective, sorted(results, key=lambda result: sign * result.number(key)))

    def _study_name(self, pareto: bool, storage: str | None) -> str:
        keys = sorted(spec.key for spec in runs.run_specs(self.experiment, self.concepts))
        # In a storage for many studies, the name must include the place of the runs; beside the runs, it moves along.
        where = {"live": runs.storage_of(self.experiment).url if storage else None, "keys": keys}
        return f"live-{json_hash(where | self.space.identity() | self.objective.identity(pareto))[:8]}"


def check_space(experiment: Experiment, space: SearchSpace) -> None:
    """Check that every criterion of a space can stop a live run.

    Raises:
        InvalidInput: see `runs.check_live`.
    """
    for name, params in space.default_params.items():
        runs.check_live(experiment, space.criterion(name, params)[1])
