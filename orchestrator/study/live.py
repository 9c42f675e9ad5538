"""The live study: Optuna suggests settings, and Ray Tune trains every tuning concept under each of them."""

from collections.abc import Sequence

from optuna.storages import JournalStorage

from orchestrator import runs
from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.recordings.identity import json_hash
from orchestrator.recordings.recording import DONE, Recording
from orchestrator.replay.replay import check_replayable, live_outcome
from orchestrator.runs import lease
from orchestrator.study.result import Objective, StudyResult, TrialResult
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace
from orchestrator.study.storage import FilesJournal, open_storage, open_study, quiet_optuna
from orchestrator.study.suggestions import SuggestionQueue
from trainables.data.concept import Concept

STUDIES = "studies"


class SearchIncomplete(RuntimeError):
    """A live search ended before as many settings were judged as were asked for: too many runs failed.

    What was judged is kept, and the same search goes on from there.

    Attributes:
        judged: settings that were judged.
        failed: the runs that failed; a setting with one is not judged.
    """

    def __init__(self, judged: int, trials: int, failed: Sequence[runs.RunResult]) -> None:
        super().__init__(f"{judged} of {trials} settings were judged, {len(failed)} runs failed")
        self.judged, self.failed = judged, tuple(failed)


class LiveStudy:
    """The search for the best setting by training: space and rule are those of `study.Study`, but nothing is replayed.

    Each suggestion personalizes every tuning concept until its criterion stops it, and is judged by what came of them.
    The runs are those of `runs.live`, kept by what determines them, so that none is trained twice. What was suggested
    is kept too: a search that was cut off goes on where it was.

    Args:
        experiment: what is trained, and where it is kept.
        concepts: the tuning concepts.
        recordings: their complete full-length ones, in the same order: they say what the best quality is.
        space: the settings to search.
        objective: how they are judged.
        listeners: follow the runs.

    Raises:
        InvalidInput: a criterion cannot stop a live run, see `runs.check_live`; or a recording cannot serve.
    """

    def __init__(
        self,
        experiment: Experiment,
        concepts: Sequence[Concept],
        recordings: Sequence[Recording],
        *,
        space: SearchSpace,
        objective: Objective,
        listeners: Sequence[runs.Listener] = (),
    ) -> None:
        check_space(experiment, space)
        for recording in recordings:
            check_replayable(recording, objective.metric)
        self.experiment, self.concepts = experiment, tuple(concepts)
        self.space, self.objective = space, objective
        self._full, self._listeners = tuple(recordings), tuple(listeners)
        self._store = runs.live_runs(experiment)

    def specs(self, criterion: Criterion) -> list[runs.RunSpec]:
        """Return the run of every concept under a criterion."""
        return runs.run_specs(self.experiment, self.concepts, criterion)

    def is_done(self, spec: runs.RunSpec) -> bool:
        """Whether a run ended as it should."""
        return self._store.state(spec.identity) in DONE

    def run_result(self, spec: runs.RunSpec, error: str = "") -> runs.RunResult:
        """Return how a run ended."""
        return runs.run_result(self._store, spec, error)

    def evaluate(self, name: str, params: Params) -> TrialResult | None:
        """Judge a setting by its runs, or return None where one of them is not done.

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
        return self.objective.judge(name, params, criterion, outcomes)

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, those of earlier calls included.

        Args:
            trials: how many in all.
            seed: of the sampler. With several runs at once the order in which they end decides what is suggested.
            storage: see `study_storage.open_storage`; None keeps the study beside the runs.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: is told of every setting that was judged.

        Raises:
            SearchIncomplete: too many runs failed.
            InvalidInput: a storage or the cluster cannot be used, or another driver is at work on the same search.
        """
        place, name = runs.storage_of(self.experiment), self._study_name(pareto, storage)
        self._store.check_writable()
        with lease.held(place, [name]), quiet_optuna():
            backend = open_storage(storage) if storage else JournalStorage(FilesJournal(place.at(STUDIES, name).url))
            study = open_study(backend, name, seed, pareto, is_shared=False)
            queue = SuggestionQueue(self, study, trials, self._listeners, on_trial)
            if not queue.is_finished:
                kind = runs.stopped_runs(self.experiment)
                runs.train(kind, self.concepts, runs.Trials.from_source(queue), self._listeners, queue.run_failed)
            if queue.error is not None:
                raise queue.error
        if not queue.is_finished:
            raise SearchIncomplete(queue.count, trials, tuple(queue.failed.values()))
        return self._result(queue)

    def _result(self, queue: SuggestionQueue) -> StudyResult:
        tried = queue.tried
        defaults = {self.space.criterion(name, params)[1] for name, params in self.space.default_params.items()}
        return StudyResult(
            objective=self.objective,
            budget=self.space.budget,
            trials=queue.count,
            best=tried.best,
            default_results=tuple(result for result in tried.all if result.criterion in defaults),
            neighbours=(),
            tried=tried.all,
            failed=tuple(queue.failed.values()),
        )

    def _study_name(self, pareto: bool, storage: str | None) -> str:
        keys = sorted(spec.key for spec in runs.run_specs(self.experiment, self.concepts))
        # In a storage for many studies, this one belongs to its runs; beside them it moves with them.
        where = {"live": runs.storage_of(self.experiment).url if storage else None, "keys": keys}
        return f"live-{json_hash(where | self.space.identity() | self.objective.identity(pareto))[:8]}"


def check_space(experiment: Experiment, space: SearchSpace) -> None:
    """Refuse a space with a criterion that cannot stop a live run.

    Raises:
        InvalidInput: see `runs.check_live`.
    """
    for name, params in space.default_params.items():
        runs.check_live(experiment, space.criterion(name, params)[1])
