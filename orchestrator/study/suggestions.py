"""The queue of a live search: asks Optuna for settings, hands out their runs, and tells Optuna what came of each."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.trial import TrialState

from orchestrator.criteria import Criterion
from orchestrator.runs.spec import Listener, RunResult, RunSpec
from orchestrator.study.result import Objective, TrialHistory, TrialResult
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace
from trainables.errors import InvalidInput

#: Attribute of an Optuna trial that repeats one that was left undone: the number of that one.
AGAIN = "again"
#: The search gives up after so many suggestions in a row under which a run failed.
FAILURES = 3
#: A criterion's name and its parameters, to compare.
Setting = tuple[str, tuple[tuple[str, object], ...]]


class Judge(Protocol):
    """What the queue needs of a live study."""

    space: SearchSpace
    objective: Objective

    def specs(self, criterion: Criterion) -> list[RunSpec]:
        """Return the run of every concept under a criterion."""

    def is_done(self, spec: RunSpec) -> bool:
        """Whether a run ended as it should."""

    def run_result(self, spec: RunSpec, error: str = "") -> RunResult:
        """Return how a run ended."""

    def evaluate(self, name: str, params: Params) -> TrialResult | None:
        """Judge a setting by its runs, or return None where one of them is not done."""


@dataclass
class _Suggestion:
    """A setting under way: its Optuna trial, and the keys of its runs that have not ended."""

    trial: optuna.Trial
    name: str
    params: Params
    open: set[str]


class SuggestionQueue:
    """Has every concept trained under each suggestion, and judges them together; a `runs.RunSource`.

    A run that is already done, or under way for another suggestion, is not handed out again.

    Args:
        live: what is searched.
        study: where suggestions are kept; those that an earlier search left undone come first.
        trials: how many settings to judge in all.
        listeners: are told of runs that begin and end.
        on_trial: is told of every setting that was judged.

    Attributes:
        tried: every setting that was judged.
        failed: the runs that failed, by key.
        error: what went wrong where Ray would have hidden it; nothing is suggested any more.
        count: settings that were judged.
    """

    def __init__(
        self,
        live: Judge,
        study: optuna.Study,
        trials: int,
        listeners: Sequence[Listener],
        on_trial: TrialCallback | None,
    ) -> None:
        self._live, self._study, self._listeners, self._on_trial = live, study, listeners, on_trial
        self._trials = trials
        self.tried, self.failed = TrialHistory(), dict[str, RunResult]()
        self.error: Exception | None = None
        self.count = 0
        self._open: list[_Suggestion] = []
        self._waiting: deque[RunSpec] = deque()
        self._failures = 0
        self._resume()

    @property
    def is_finished(self) -> bool:
        """Whether as many settings were judged as were asked for."""
        return self.count >= self._trials

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be handed out: finished, given up, or stopped by an error."""
        return not self._waiting and (self.is_finished or self._failures >= FAILURES or self.error is not None)

    def _resume(self) -> None:
        """Learn what earlier searches tried, and let what they left undone be suggested first.

        What was under way when a driver died is suggested again, and what failed as well, but that only once: a setting
        that always fails must not keep others from being tried.
        """
        trials = self._study.get_trials(deepcopy=False)
        known, undone = self._sort_trials(trials)
        space = self._live.space
        for name, params in space.default_params.items():
            if _setting(name, params) not in known | undone.keys():
                space.enqueue(self._study, name, params)
        for setting, (number, name, params) in undone.items():
            if setting not in known:
                space.enqueue(self._study, name, params, {AGAIN: number})
        for trial in trials:  # after they were enqueued: a death in between must lose none
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _sort_trials(
        self, trials: Sequence[optuna.trial.FrozenTrial]
    ) -> tuple[set[Setting], dict[Setting, tuple[int, str, Params]]]:
        """Take in the judged settings; return those that need no repetition, and those that were left undone."""
        repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
        known: set[Setting] = set()
        undone: dict[Setting, tuple[int, str, Params]] = {}
        for trial in sorted(trials, key=lambda trial: trial.state == TrialState.FAIL):
            try:
                name, params = self._live.space.of_trial(trial)
            except KeyError:
                continue  # its driver died while the sampler chose
            if self._is_left(trial, name, params) and trial.number not in repeated:
                undone.setdefault(_setting(name, params), (trial.number, name, params))
            else:
                known.add(_setting(name, params))
        return known, undone

    def _is_left(self, trial: optuna.trial.FrozenTrial, name: str, params: Params) -> bool:
        """Take in a judged setting; return whether a trial must be repeated."""
        if trial.state == TrialState.COMPLETE:
            result = self._live.evaluate(name, params)
            if result is None:
                return True  # its runs were deleted
            self.tried.add(result)
            self.count += 1
            return False
        if trial.state == TrialState.FAIL:
            return AGAIN not in trial.user_attrs
        return bool(trial.state == TrialState.RUNNING)

    def next_run(self) -> RunSpec | None:
        """Return the next run; None while it depends on runs under way, or once the search has ended."""
        try:
            while not self._waiting:
                # One that fails is replaced, so that more are asked for than are under way.
                if self.has_ended or self.count + len(self._open) >= self._trials:
                    return None
                self._ask()
        except Exception as error:  # noqa: BLE001 - Ray would end the experiment without saying why
            self.error = error
            return None
        spec = self._waiting.popleft()
        for listener in self._listeners:
            listener.runs_started([spec], self._live.space.budget)
        return spec

    def _ask(self) -> None:
        """Ask for a setting, and put those of its runs in line that are neither done nor under way."""
        trial = self._study.ask()
        name, params = self._live.space.suggest(trial)
        _, criterion = self._live.space.criterion(name, params)
        suggestion = _Suggestion(trial, name, params, set())
        under_way = {key for other in self._open for key in other.open}
        for spec in self._live.specs(criterion):
            if self._live.is_done(spec):
                continue
            suggestion.open.add(spec.key)
            if spec.key not in under_way:
                self._waiting.append(spec)
        self._open.append(suggestion)
        self._close_ended()

    def run_ended(self, spec: RunSpec, *, has_failed: bool) -> None:
        """Take note that a run ended; with the last run of a suggestion that is judged."""
        if self.error is not None:
            return
        try:
            result = self._live.run_result(spec)
            if result.is_good:
                self.failed.pop(spec.key, None)
                self._tell_listeners(result)
            elif not has_failed:  # otherwise `run_failed` is told why
                self._note_failure(result)
            for suggestion in self._open:
                suggestion.open.discard(spec.key)
            self._close_ended()
        except Exception as error:  # noqa: BLE001 - Ray would take it for a failure of the trial, and train it again
            self.error = error

    def run_failed(self, spec: RunSpec, reason: str) -> None:
        """Take note of why a run failed; Ray says so after `run_ended`."""
        self._note_failure(self._live.run_result(spec, reason))

    def _note_failure(self, result: RunResult) -> None:
        self.failed[result.spec.key] = result
        self._tell_listeners(result)

    def _tell_listeners(self, result: RunResult) -> None:
        for listener in self._listeners:
            listener.run_ended(result)

    def _close_ended(self) -> None:
        for suggestion in [suggestion for suggestion in self._open if not suggestion.open]:
            self._open.remove(suggestion)
            result = self._live.evaluate(suggestion.name, suggestion.params)
            if result is None:
                self._failures += AGAIN not in suggestion.trial.user_attrs
                self._study.tell(suggestion.trial, state=TrialState.FAIL)
            else:
                self._failures = 0
                self._tell(suggestion.trial, result)

    def _tell(self, trial: optuna.Trial, result: TrialResult) -> None:
        is_pareto = len(self._study.directions) > 1
        try:
            if not is_pareto:
                self._live.objective.constrain(trial, result)
            self._study.tell(trial, [result.cost, result.quality_kept] if is_pareto else result.cost)
        except Exception as error:  # every kind of storage raises its own
            raise InvalidInput(
                "the study's storage did not take a result; once it answers again, start the same command again: the "
                "runs are kept"
            ) from error
        self.tried.add(result)
        self.count += 1
        if self._on_trial:
            self._on_trial(self.count, self.tried.best)


def _setting(name: str, params: Params) -> Setting:
    return name, tuple(sorted(params.items()))
