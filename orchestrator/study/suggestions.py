"""The queue of a live search: asks Optuna for settings, hands out their runs, and reports the results to Optuna."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.trial import TrialState

from orchestrator.criteria import Criterion
from orchestrator.runs.spec import Listener, RunResult, RunSpec
from orchestrator.study.objective import Objective
from orchestrator.study.result import TrialHistory, TrialResult, tell
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace
from trainables.errors import InvalidInput

#: Attribute of an Optuna trial that repeats an unfinished trial: the number of the latter.
AGAIN = "again"
#: The search gives up after so many consecutive suggestions with a failed run.
FAILURES = 3
#: A criterion's name and its parameters, in a form that can be compared.
Setting = tuple[str, tuple[tuple[str, object], ...]]


class Judge(Protocol):
    """The part of a live study that the queue needs: its space, its objective, and how its runs ended."""

    space: SearchSpace
    objective: Objective

    def specs(self, criterion: Criterion) -> list[RunSpec]:
        """Return the run of every concept under a criterion."""

    def is_done(self, spec: RunSpec) -> bool:
        """Whether a run is complete or was stopped by its criterion."""

    def run_result(self, spec: RunSpec, error: str = "") -> RunResult:
        """Return how a run ended, as its recording states; `error` is that of its trial, if any."""

    def evaluate(self, name: str, params: Params) -> TrialResult | None:
        """Judge a setting by its runs; return None if any of them is not done."""


@dataclass
class _Suggestion:
    """A setting that is being tried: its Optuna trial, and the keys of its runs that have not ended."""

    trial: optuna.Trial
    name: str
    params: Params
    open: set[str]


class SuggestionQueue:
    """A `runs.RunSource` that has every concept trained under each suggestion, and judges the suggestion by all runs.

    A run that is already done, or active for another suggestion, is not handed out again.

    Args:
        live: what is searched.
        study: where suggestions are kept; those that an earlier search left unfinished come first.
        trials: total number of settings to judge.
        listeners: notified of runs that begin and end.
        on_trial: called after every setting with the number of settings so far and the best result.

    Attributes:
        tried: every setting that was judged.
        failed: the runs that failed, by key.
        error: an error that Ray would have hidden; once it is set, no further suggestion follows.
        count: number of settings that were judged.
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
        """Whether the requested number of settings has been judged."""
        return self.count >= self._trials

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be handed out: finished, given up, or stopped by an error."""
        return not self._waiting and (self.is_finished or self._failures >= FAILURES or self.error is not None)

    def _resume(self) -> None:
        """Take over what earlier searches tried, and enqueue what they left unfinished as the first suggestions.

        A trial that was active when its driver died is repeated. So is a failed trial, but only once: a setting that
        always fails must not keep others from being tried.
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
        for trial in trials:  # only after they were enqueued: a death in between must lose none
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _sort_trials(
        self, trials: Sequence[optuna.trial.FrozenTrial]
    ) -> tuple[set[Setting], dict[Setting, tuple[int, str, Params]]]:
        """Add the judged settings; return those that need no repetition, and those that were left unfinished."""
        repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
        known: set[Setting] = set()
        undone: dict[Setting, tuple[int, str, Params]] = {}
        for trial in sorted(trials, key=lambda trial: trial.state == TrialState.FAIL):
            try:
                name, params = self._live.space.of_trial(trial)
            except KeyError:
                continue  # its driver died while the sampler was choosing
            if self._is_left(trial, name, params) and trial.number not in repeated:
                undone.setdefault(_setting(name, params), (trial.number, name, params))
            else:
                known.add(_setting(name, params))
        return known, undone

    def _is_left(self, trial: optuna.trial.FrozenTrial, name: str, params: Params) -> bool:
        """Add the trial's setting if it was judged; return whether the trial must be repeated."""
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
        """Return the next run; None while it depends on active runs, or once the search has ended."""
        try:
            while not self._waiting:
                # A failed setting is replaced by another: only judged and open settings count.
                if self.has_ended or self.count + len(self._open) >= self._trials:
                    return None
                self._ask()
            spec = self._waiting.popleft()
            for listener in self._listeners:
                listener.runs_started([spec], self._live.space.budget)
        except Exception as error:  # noqa: BLE001 - Ray would end the experiment without saying why
            self.error = error
            return None
        return spec

    def _ask(self) -> None:
        """Ask for a setting, and queue those of its runs that are neither done nor active."""
        with _clear_storage_errors("give a suggestion"):
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
        """Handle the end of a run; the last run of a suggestion has the suggestion judged."""
        if self.error is not None:
            return
        try:
            result = self._live.run_result(spec)
            if result.is_good:
                self.failed.pop(spec.key, None)
                self._tell_listeners(result)
            elif not has_failed:  # otherwise `run_failed` gets the reason
                self._note_failure(result)
            for suggestion in self._open:
                suggestion.open.discard(spec.key)
            self._close_ended()
        except Exception as error:  # noqa: BLE001 - Ray would take it for a failure of the trial, and retry the trial
            self.error = error

    def run_failed(self, spec: RunSpec, reason: str) -> None:
        """Handle the reason for which a run failed; Ray passes it on after `run_ended`."""
        try:
            self._note_failure(self._live.run_result(spec, reason))
        except Exception as error:  # noqa: BLE001 - Ray would end the experiment without saying why
            self.error = self.error or error

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
                with _clear_storage_errors("accept a result"):
                    self._study.tell(suggestion.trial, state=TrialState.FAIL)
            else:
                self._failures = 0
                self._tell(suggestion.trial, result)

    def _tell(self, trial: optuna.Trial, result: TrialResult) -> None:
        with _clear_storage_errors("accept a result"):
            tell(self._live.objective, self._study, trial, result)
        self.tried.add(result)
        self.count += 1
        if self._on_trial:
            self._on_trial(self.count, self.tried.best)


@contextmanager
def _clear_storage_errors(what: str) -> Iterator[None]:
    """Turn the errors of a study's storage, of which every kind raises its own, into one that says how to go on.

    Args:
        what: the storage did not do.

    Raises:
        InvalidInput: the storage failed.
    """
    try:
        yield
    except Exception as error:
        raise InvalidInput(
            f"the study's storage did not {what}; once it responds again, repeat the same command: the runs are kept"
        ) from error


def _setting(name: str, params: Params) -> Setting:
    return name, tuple(sorted(params.items()))
