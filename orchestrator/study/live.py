"""The live study: OptunaSearch suggests settings, and Ray Tune trains every tuning concept under each of them."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.config.experiment import Experiment
from orchestrator.criteria import Criterion
from orchestrator.recordings.recording import DONE, Recording, recording_key
from orchestrator.replay.replay import check_replayable, live_outcome
from orchestrator.runs import launch as runs
from orchestrator.runs import lease
from orchestrator.study.result import Objective, StudyResult, TrialHistory, TrialResult
from orchestrator.study.search_space import Params, SearchSpace
from orchestrator.study.storage import FilesJournal, open_storage, open_study, quiet_optuna
from trainables.data.concept import Concept
from trainables.errors import InvalidInput

STUDIES = "studies"
#: Attribute of an Optuna trial that repeats one that was left undone: the number of that one.
AGAIN = "again"
#: A criterion's name and its parameters, to compare.
Setting = tuple[str, tuple[tuple[str, Any], ...]]
#: The search gives up after so many suggestions one after the other under which a run failed.
FAILURES = 3


@dataclass(frozen=True)
class LiveResult:
    """What a live study came to.

    Attributes:
        result: None when no suggestion could be judged.
        failed: the runs that failed; a suggestion with one is not judged.
        is_finished: whether as many settings were judged as were asked for; otherwise it was interrupted, or gave up.
    """

    result: StudyResult | None
    failed: tuple[runs.Ended, ...]
    is_finished: bool


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
    ) -> None:
        check_space(experiment, space)
        for recording in recordings:
            check_replayable(recording, objective.metric)
        self.experiment, self.concepts = experiment, tuple(concepts)
        self.space, self.objective = space, objective
        self._full = tuple(recordings)
        self._store = runs.live_runs(experiment)

    def jobs(self, criterion: Criterion) -> list[runs.Job]:
        """Return the run of every concept under a criterion."""
        return runs.jobs(self.experiment, self.concepts, criterion)

    def is_done(self, job: runs.Job) -> bool:
        """Whether a run ended as it should."""
        return self._store.state(job.identity) in DONE

    def ended(self, job: runs.Job, error: str = "") -> runs.Ended:
        """Return how a run ended."""
        return runs.ended(self._store, job, error)

    def evaluate(self, name: str, params: Params) -> TrialResult | None:
        """Judge a setting by its runs, or return None where one of them is not done.

        Raises:
            InvalidInput: a recording is damaged.
        """
        params, criterion = self.space.criterion(name, params)
        jobs = self.jobs(criterion)
        if not all(self.is_done(job) for job in jobs):
            return None
        found = [run for job in jobs if (run := self._store.find(job.identity))]
        outcomes = [live_outcome(run, full, self.objective.metric) for run, full in zip(found, self._full, strict=True)]
        return self.objective.judge(name, params, criterion, outcomes)

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        listeners: Sequence[runs.Listener] = (),
        on_trial: Callable[[int, TrialResult], None] | None = None,
    ) -> LiveResult:
        """Try settings until there are `trials` of them, those of earlier calls included.

        Args:
            trials: how many in all.
            seed: of the sampler. With several runs at once the order in which they end decides what is suggested.
            storage: see `study_storage.open_storage`; None keeps the study beside the runs.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            listeners: follow the runs.
            on_trial: told the number of settings so far and the best one.

        Raises:
            InvalidInput: a storage or the cluster cannot be used, or another driver is at work on the same search.
        """
        url, name = runs.storage_folder(self.experiment), self._study_name(pareto, storage)
        self._store.check_writable()
        with lease.held(url, [name]), quiet_optuna():
            kept = open_storage(storage) if storage else JournalStorage(FilesJournal(f"{url}/{STUDIES}/{name}"))
            study = open_study(kept, name, seed, pareto, is_shared=False)
            searcher = ConceptSearcher(self, study, kept, trials, listeners, on_trial)
            if not searcher.is_finished:
                runs.train(
                    self.experiment,
                    self.concepts,
                    searcher.jobs,
                    listeners,
                    searcher.on_run_error,
                    is_live=True,
                    searcher=searcher,
                )
            if searcher.error is not None:
                raise searcher.error
        return LiveResult(self._result(searcher), tuple(searcher.failed.values()), searcher.is_finished)

    def _result(self, searcher: "ConceptSearcher") -> StudyResult | None:
        tried = searcher.tried
        if not tried.all:
            return None
        defaults = {self.space.criterion(name, params)[1] for name, params in self.space.default_params.items()}
        return StudyResult(
            objective=self.objective,
            budget=self.space.budget,
            trials=searcher.count,
            best=tried.best,
            default_results=tuple(one for one in tried.all if one.criterion in defaults),
            neighbours=(),
            tried=tried.all,
        )

    def _study_name(self, pareto: bool, storage: str | None) -> str:
        keys = sorted(job.key for job in runs.jobs(self.experiment, self.concepts))
        # In a storage for many studies, this one belongs to its runs; beside them it moves with them.
        where = {"live": runs.storage_folder(self.experiment) if storage else None, "keys": keys}
        return f"live-{recording_key(where | self.space.identity() | self.objective.identity(pareto))[:8]}"


def check_space(experiment: Experiment, space: SearchSpace) -> None:
    """Refuse a space with a criterion that cannot stop a live run.

    Raises:
        InvalidInput: see `runs.check_live`.
    """
    for name, params in space.default_params.items():
        runs.check_live(experiment, space.criterion(name, params)[1])


@dataclass
class _Suggestion:
    """A setting under way: OptunaSearch's name of it, Optuna's trial, and the keys of its runs that have not ended."""

    id: str
    trial: optuna.Trial
    name: str
    params: Params
    open: set[str]


class ConceptSearcher(Searcher):  # type: ignore[misc]
    """Has every concept trained under each suggestion of OptunaSearch, a Tune trial each, and judges them together.

    Ray's `Repeater` does the like, but it tells the searcher the mean of one figure, while a setting is judged by cost
    and quality; and it repeats everything, while here a run that is done already is not trained again.

    Args:
        live: what is searched.
        study: where suggestions are kept; those that an earlier search left undone come first.
        storage: of that study.
        trials: how many in all.
        listeners: are told of runs that begin and end.
        on_trial: told the number of settings so far and the best one.
    """

    def __init__(
        self,
        live: LiveStudy,
        study: optuna.Study,
        storage: BaseStorage,
        trials: int,
        listeners: Sequence[runs.Listener],
        on_trial: Callable[[int, TrialResult], None] | None,
    ) -> None:
        super().__init__()
        self._live, self._study, self._listeners, self._on_trial = live, study, listeners, on_trial
        self._is_pareto = len(study.directions) > 1
        self._inner = OptunaSearch(
            self._define,
            metric=["cost", "quality_kept"] if self._is_pareto else "cost",
            mode=["min", "max"] if self._is_pareto else "min",
            sampler=study.sampler,
            study_name=study.study_name,
            storage=storage,
        )
        self.tried, self.failed = TrialHistory(), dict[str, runs.Ended]()
        #: Every run that was handed out, by concept and criterion.
        self.jobs: dict[runs.Assignment, runs.Job] = {}
        #: What went wrong where Ray would have hidden it; nothing is suggested any more.
        self.error: Exception | None = None
        #: Settings that were judged.
        self.count = 0
        self._trials = trials
        self._defined: tuple[optuna.Trial, str, Params] | None = None
        self._open: list[_Suggestion] = []
        self._waiting: deque[runs.Assignment] = deque()
        self._running: dict[str, runs.Job] = {}
        self._failures = 0
        self._take_up()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles the searcher with the experiment; what it knows is in the study and in the recordings

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: see `__getstate__`."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Take nothing: see `__getstate__`."""

    @property
    def is_finished(self) -> bool:
        """Whether as many settings were judged as were asked for."""
        return self.count >= self._trials

    def _take_up(self) -> None:
        """Learn what earlier searches tried, and let what they left undone be suggested first.

        What was under way when a driver died is suggested again, and what failed as well, but that once: a setting that
        always fails must not keep others from being tried.
        """
        space, trials = self._live.space, self._study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get(AGAIN) for trial in trials}
        known = set[Setting]()
        undone: dict[Setting, tuple[int, str, Params]] = {}
        for trial in sorted(trials, key=lambda one: one.state == TrialState.FAIL):
            try:
                name, params = space.of_trial(trial)
            except KeyError:
                continue  # its driver died while the sampler chose
            is_left = trial.state == TrialState.RUNNING
            if trial.state == TrialState.COMPLETE:
                if evaluated := self._live.evaluate(name, params):
                    self.tried.add(evaluated)
                    self.count += 1
                is_left = evaluated is None  # its runs were deleted
            elif trial.state == TrialState.FAIL:
                is_left = AGAIN not in trial.user_attrs
            if is_left and trial.number not in again:
                undone.setdefault(_setting(name, params), (trial.number, name, params))
            else:
                known.add(_setting(name, params))
        for name, params in space.default_params.items():
            if _setting(name, params) not in known | undone.keys():
                space.enqueue(self._study, name, params)
        for setting, (number, name, params) in undone.items():
            if setting not in known:
                space.enqueue(self._study, name, params, {AGAIN: number})
        for trial in trials:  # after they were enqueued: a death in between must lose none
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _define(self, trial: Any) -> None:
        """Let the sampler choose; `trial` is OptunaSearch's wrapper, which does all that Optuna's own does."""
        self._defined = (trial, *self._live.space.suggest(trial))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next run; None while it depends on runs under way, `FINISHED` when all is done."""
        while not self._waiting:
            if self.is_finished or self._failures >= FAILURES or self.error is not None:
                return str(Searcher.FINISHED)
            if self.count + len(self._open) >= self._trials:
                return None  # one that fails is replaced
            self._begin(f"suggestion for {trial_id}, {self.count} judged")
        run = self._waiting.popleft()
        job = self._running[trial_id] = self.jobs[run]
        for listener in self._listeners:
            listener.begun([job], self._live.space.budget)
        return {"run": run}

    def _begin(self, suggestion_id: str) -> None:
        """Ask for a setting, and put those of its runs in line that are neither done nor under way."""
        self._inner.suggest(suggestion_id)
        assert self._defined is not None
        trial, name, params = self._defined
        _, criterion = self._live.space.criterion(name, params)
        suggestion = _Suggestion(suggestion_id, trial, name, params, set())
        under_way = {key for one in self._open for key in one.open}
        for job in self._live.jobs(criterion):
            if self._live.is_done(job):
                continue
            suggestion.open.add(job.key)
            if job.key not in under_way:
                self.jobs[job.concept.name, criterion] = job
                self._waiting.append((job.concept.name, criterion))
        self._open.append(suggestion)
        self._close_ended()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that a run ended; with the last one of a suggestion that is judged."""
        job = self._running.pop(trial_id, None)
        if job is None or self.error is not None:
            return
        try:
            ended = self._live.ended(job)
            if ended.is_good:
                self.failed.pop(job.key, None)
                for listener in self._listeners:
                    listener.ended(ended)
            elif not error:  # otherwise `on_run_error` is told why
                self._note_failure(ended)
            for suggestion in self._open:
                suggestion.open.discard(job.key)
            self._close_ended()
        except Exception as trouble:  # noqa: BLE001 - Ray would take it for a failure of the trial, and train it again
            self.error = trouble

    def on_run_error(self, job: runs.Job, reason: str) -> None:
        """Take note of why a run failed; Ray tells so after `on_trial_complete`."""
        self._note_failure(self._live.ended(job, reason))

    def _note_failure(self, ended: runs.Ended) -> None:
        self.failed[ended.job.key] = ended
        for listener in self._listeners:
            listener.ended(ended)

    def _close_ended(self) -> None:
        for suggestion in [one for one in self._open if not one.open]:
            self._open.remove(suggestion)
            evaluated = self._live.evaluate(suggestion.name, suggestion.params)
            if evaluated is None:
                self._failures += AGAIN not in suggestion.trial.user_attrs
                self._inner.on_trial_complete(suggestion.id, error=True)
            else:
                self._failures = 0
                self._tell(suggestion, evaluated)

    def _tell(self, suggestion: _Suggestion, evaluated: TrialResult) -> None:
        if not self._is_pareto:
            self._live.objective.constrain(suggestion.trial, evaluated)
        figures = {"cost": evaluated.cost, "quality_kept": evaluated.quality_kept}
        self._inner.on_trial_complete(suggestion.id, figures)
        # OptunaSearch makes a warning of a storage that fails.
        if self._study.get_trials(deepcopy=False)[suggestion.trial.number].state != TrialState.COMPLETE:
            raise InvalidInput(
                "the study's storage did not take a result; once it answers again, start the same command again: the "
                "runs are kept"
            )
        self.tried.add(evaluated)
        self.count += 1
        if self._on_trial:
            self._on_trial(self.count, self.tried.best)


def _setting(name: str, params: Params) -> Setting:
    return name, tuple(sorted(params.items()))
