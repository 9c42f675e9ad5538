"""The replayed study: Optuna searches for the best setting of criteria by replaying recordings."""

from collections.abc import Mapping, Sequence

import optuna

from orchestrator.recordings.identity import json_hash
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import replay
from orchestrator.study.result import Objective, StudyResult, TrialHistory, TrialResult
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace, stated_defaults
from orchestrator.study.storage import finished, open_storage, open_study, quiet_optuna
from trainables.errors import InvalidInput

#: Settings of each criterion whose neighbours are climbed.
CLIMBS = 3


class Study:
    """The search for the best setting of criteria on some recordings.

    The paper's objective (section 4.2): the lowest cost such that the mean quality kept reaches a share of the best.
    For each criterion the paper's own setting for the method, or the method's own, is tried first, so a result is never
    worse than that.

    Example:
        >>> from orchestrator.recordings.collection import by_method, read_place
        >>> recordings = by_method(read_place("builtin"), "builtin", ["svdiff"])["svdiff"][:4]
        >>> study = Study(recordings, method="svdiff", objective=Objective(quality_kept=0.9))
        >>> result = study.search(trials=20)
        >>> result.best.is_feasible, result.best.iterations <= result.default_results[0].iterations
        (True, True)

    Args:
        recordings: complete recordings of the tuning concepts, all with the same budget; the seeds of a concept are
            averaged.
        names: of the criteria, whose ranges are in `search_spaces`; they take turns.
        method: personalization method, whose default setting is tried first.
        objective: how settings are judged.
        fixed: for a criterion, parameters that stay as they are, such as {"dvar": {"stride": 10}}; the setting that is
            tried first has them too.
        name: of the study in a storage; a hash of recordings, objective and ranges is appended, so that a study never
            goes on with what other recordings or ranges taught it.

    Raises:
        InvalidInput: there are no recordings, their budgets differ, no criterion is named, a criterion has no search
            space, or parameters are fixed of a criterion that is not searched.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        names: Sequence[str] = ("dvar",),
        method: str = "textual_inversion",
        objective: Objective | None = None,
        fixed: Mapping[str, Params] | None = None,
        name: str = "study",
    ) -> None:
        self._name = name
        self._objective = objective or Objective()
        self._recordings, self.budget = tuple(recordings), common_budget(recordings)
        defaults = stated_defaults(method, recordings[0])
        self.space = SearchSpace(names, self.budget, method=method, defaults=defaults, fixed=fixed)

    def evaluate(self, name: str, params: Params) -> TrialResult:
        """Replay a setting of a criterion over every recording.

        Args:
            name: of a criterion that is searched.
            params: its setting, without what is fixed.

        Raises:
            InvalidInput: the criterion refuses the setting, or a recording lacks what the criterion watches, or the
                seconds if these are the cost.
        """
        params, criterion = self.space.criterion(name, params)
        outcomes = [replay(criterion, recording, self._objective.metric) for recording in self._recordings]
        return self._objective.judge(name, params, criterion, outcomes)

    def evaluate_default(self, name: str) -> TrialResult:
        """Replay the setting of a criterion that is tried first; see `evaluate`."""
        return self.evaluate(name, self.space.default_params[name])

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, then climb from the best to better neighbours.

        Args:
            trials: how many in all, including those of an earlier call and of others on the same storage.
            seed: of the sampler; the same seed repeats a study in memory.
            storage: see `orchestrator.study.storage.open_storage`, to keep the study and go on with it, also by several
                processes at once; None keeps it in memory.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: called with the number of settings so far and the best of them.

        Raises:
            InvalidInput: the storage cannot be used.
        """
        with quiet_optuna():
            name = f"{self._name} {self._fingerprint(pareto)}"
            backend = open_storage(storage) if storage else None
            study = open_study(backend, name, seed, pareto, is_shared=storage is not None)
            if not study.trials:
                for criterion, params in self.space.default_params.items():
                    self.space.enqueue(study, criterion, params)
            default_results = tuple(self.evaluate_default(criterion) for criterion in self.space.default_params)
            history = TrialHistory(default_results)
            count = self._sample(study, history, trials, on_trial)
        for start in [result for name in self.space.ranges for result in history.best_of(name, CLIMBS)]:
            self._climb(start, history)
        return StudyResult(
            objective=self._objective,
            budget=self.budget,
            trials=count,
            best=history.best,
            default_results=default_results,
            neighbours=tuple(self._neighbours(history.best)),
            tried=history.all,
        )

    def _sample(self, study: optuna.Study, history: TrialHistory, trials: int, on_trial: TrialCallback | None) -> int:
        """Try what the sampler suggests until the study has enough trials; return how many it has."""
        known: set[int] = set()
        self._take_in(study, history, known)
        while (count := len(finished(study))) < trials:
            trial = study.ask()
            known.add(trial.number)
            history.add(self._try(study, trial))
            if on_trial:
                on_trial(count + 1, history.best)
        self._take_in(study, history, known)  # what others tried meanwhile
        return count

    def _try(self, study: optuna.Study, trial: optuna.Trial) -> TrialResult:
        """Evaluate what the sampler suggests, and tell it the result."""
        try:
            result = self.evaluate(*self.space.suggest(trial))
        except BaseException:  # also an interrupt: a kept study must not hold a trial that runs for ever
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        self._objective.tell(study, trial, result)
        return result

    def _take_in(self, study: optuna.Study, history: TrialHistory, known: set[int]) -> None:
        """Add what the storage holds, whoever tried it, except the trials with a known number; then these are known."""
        for trial in finished(study):
            if trial.number not in known:
                known.add(trial.number)
                history.add(self.evaluate(*self.space.of_trial(trial)))

    def _fingerprint(self, pareto: bool) -> str:
        keys = {"keys": sorted(recording.key for recording in self._recordings)}
        return json_hash(keys | self.space.identity() | self._objective.identity(pareto))[:8]

    def _climb(self, best: TrialResult, history: TrialHistory) -> None:
        """Move to the best neighbour as long as it is better: the sampler seldom hits the edge of the constraint."""
        while True:
            neighbours = self._neighbours(best)
            for result in neighbours:
                history.add(result)
            better = min(neighbours, key=lambda result: result.rank, default=best)
            if better.rank >= best.rank:
                return
            best = better

    def _neighbours(self, result: TrialResult) -> list[TrialResult]:
        return [self.evaluate(result.name, params) for params in self.space.around(result.name, result.params)]


def common_budget(recordings: Sequence[Recording]) -> int:
    """Return the budget that all recordings have.

    Raises:
        InvalidInput: there are no recordings, or their budgets differ.
    """
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(f"the recordings have different budgets ({listed}); search on those of a single budget")
    return budgets.pop()
