"""The replayed study: Optuna searches for the best setting of criteria by replaying recordings."""

from collections.abc import Callable, Mapping, Sequence

import optuna

from orchestrator.recordings.identity import json_hash
from orchestrator.recordings.recording import Recording
from orchestrator.replay.replay import replay
from orchestrator.study.result import Cost, Objective, StudyResult, TrialResult, Tried
from orchestrator.study.search_space import Params, SearchSpace
from orchestrator.study.storage import finished, open_storage, open_study, quiet_optuna
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE

#: Number of each criterion's best settings from which the search climbs to better neighbours.
CLIMBS = 3


class Study:
    """The search for the best setting of criteria on some recordings.

    The paper's objective (section 4.2) is the lowest cost such that the mean quality kept reaches a share of the best.
    Each criterion's default parameters, the paper's for the method or the method's own, are tried first, so that the
    result is never worse.

    Args:
        recordings: complete recordings of the tuning concepts, all with the same budget; the seeds of a concept are
            averaged.
        names: of the criteria, whose ranges are in `search_spaces`; they take turns.
        method: personalization method, whose default parameters are tried first.
        quality_kept: share of the best quality to keep, 0..1.
        measure: the quality metric that counts.
        cost: what to minimize: optimizer steps, or measured seconds including the criterion's own cost.
        fixed: for each criterion, the settings that are not searched, such as {"dvar": {"stride": 10}}; they also
            apply to the default parameters.
        name: of the study in a storage; a hash of recordings, objective and ranges is appended, so that no study
            resumes from the results of a different search.

    Raises:
        InvalidInput: there is no recording, budgets differ, no criterion is named, a criterion has no search space, or
            settings are fixed for a criterion that is not searched.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        names: Sequence[str] = ("dvar",),
        method: str = "textual_inversion",
        quality_kept: float = 0.9,
        measure: str = TRAIN_IMAGE,
        cost: Cost = "iterations",
        fixed: Mapping[str, Params] | None = None,
        name: str = "study",
    ) -> None:
        self._name = name
        self._objective = Objective(quality_kept, measure, cost)
        self._recordings, self.budget = tuple(recordings), common_budget(recordings)
        self.space = SearchSpace(names, self.budget, method=method, defaults=recordings[0].method_defaults, fixed=fixed)

    def evaluate(self, name: str, params: Params) -> TrialResult:
        """Replay a setting of a criterion over every recording, and judge it.

        Raises:
            InvalidInput: the criterion refuses the setting, or a recording lacks what the criterion watches, or the
                seconds if these are the cost.
        """
        params, criterion = self.space.criterion(name, params)
        outcomes = [replay(criterion, recording, self._objective.measure) for recording in self._recordings]
        return self._objective.judge(name, params, criterion, outcomes)

    def defaults(self, name: str) -> TrialResult:
        """Replay a criterion's default parameters, and judge them."""
        return self.evaluate(name, self.space.defaults[name])

    def search(
        self,
        trials: int,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: Callable[[int, TrialResult], None] | None = None,
    ) -> StudyResult:
        """Try settings until there are `trials` of them, then climb from the best to better neighbours.

        Args:
            trials: total number of settings, including those of earlier calls and other processes on the same storage.
            seed: of the sampler; the same seed repeats a study in memory.
            storage: see `study.storage.open_storage`; keeps the study, to resume it or to share it between processes.
                None keeps it in memory.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: called after every setting with the number of settings so far and the best result.

        Raises:
            InvalidInput: the storage cannot be used.
        """
        with quiet_optuna():
            name = f"{self._name} {self._fingerprint(pareto)}"
            backend = open_storage(storage) if storage else None
            study = open_study(backend, name, seed, pareto, is_shared=storage is not None)
            if not study.trials:
                for criterion, params in self.space.defaults.items():
                    self.space.enqueue(study, criterion, params)
            defaults = tuple(self.defaults(criterion) for criterion in self.space.defaults)
            tried = Tried(defaults)
            self._take_in(study, tried)
            while (count := len(finished(study))) < trials:
                trial = study.ask()
                tried.trials.add(trial.number)
                tried.add(self._try(study, trial, pareto))
                if on_trial:
                    on_trial(count + 1, tried.best)
            self._take_in(study, tried)  # other processes may have added trials
        for start in [result for name in self.space.ranges for result in tried.best_of(name, CLIMBS)]:
            self._climb(start, tried)
        return StudyResult(
            objective=self._objective,
            budget=self.budget,
            trials=count,
            best=tried.best,
            defaults=defaults,
            neighbours=tuple(self._neighbours(tried.best)),
            tried=tried.all,
        )

    def _try(self, study: optuna.Study, trial: optuna.Trial, pareto: bool) -> TrialResult:
        """Evaluate the sampler's suggestion, and report the result to it."""
        try:
            evaluated = self.evaluate(*self.space.suggest(trial))
        except BaseException:  # also an interrupt: a stored study must not hold a trial that runs for ever
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        if not pareto:
            self._objective.constrain(trial, evaluated)
        study.tell(trial, [evaluated.cost, evaluated.quality_kept] if pareto else evaluated.cost)
        return evaluated

    def _take_in(self, study: optuna.Study, tried: "Tried") -> None:
        """Add the trials that the storage holds, whichever process tried them."""
        for trial in finished(study):
            if trial.number not in tried.trials:
                tried.trials.add(trial.number)
                tried.add(self.evaluate(*self.space.of_trial(trial)))

    def _fingerprint(self, pareto: bool) -> str:
        keys = {"keys": sorted(recording.key for recording in self._recordings)}
        return json_hash(keys | self.space.identity() | self._objective.identity(pareto))[:8]

    def _climb(self, best: TrialResult, tried: "Tried") -> None:
        """Move to the best neighbour while it is better: the sampler seldom hits the edge of the constraint."""
        while True:
            neighbours = self._neighbours(best)
            for neighbour in neighbours:
                tried.add(neighbour)
            better = min(neighbours, key=lambda neighbour: neighbour.rank, default=best)
            if better.rank >= best.rank:
                return
            best = better

    def _neighbours(self, result: TrialResult) -> list[TrialResult]:
        return [self.evaluate(result.name, params) for params in self.space.around(result.name, result.params)]


def common_budget(recordings: Sequence[Recording]) -> int:
    """Return the budget that all recordings share.

    Raises:
        InvalidInput: there is no recording, or their budgets differ.
    """
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(
            f"the recordings have different budgets ({listed}); search on recordings with the same budget"
        )
    return budgets.pop()
