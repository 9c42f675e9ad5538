"""The study: Optuna searches the settings of criteria over replays of recordings, by the paper's objective."""

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

#: Settings of each criterion from which its neighbours are climbed.
CLIMBS = 3


class Study:
    """The search for the best setting of one or several criteria on some recordings.

    The paper's rule (section 4.2): the lowest cost such that the mean quality kept reaches a share of the best. For
    each criterion the paper's own setting for the method, or the method's own, is tried first, so that a result is
    never worse.

    Args:
        recordings: complete ones of the tuning concepts, all of one budget; several seeds of a concept count as one.
        names: of the criteria, whose ranges are in `search_spaces`; they take turns.
        method: personalization method, whose usual setting is tried first.
        quality_kept: the share to keep, 0..1.
        measure: the quality that counts.
        cost: what is saved: optimizer steps, or measured seconds with what the criterion itself costs.
        fixed: for a criterion, settings that stay as they are, such as {"dvar": {"stride": 10}}; the setting that is
            tried first has them too.
        name: of the study in a storage; a hash of recordings, objective and ranges is appended, so that a study never
            goes on with what others' results taught it.

    Raises:
        InvalidInput: there is no recording, their budgets differ, no criterion is named, one has no search space, or
            settings are fixed of a criterion that is not searched.
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
        """Replay one setting of a criterion over every recording.

        Raises:
            InvalidInput: a recording lacks what the criterion watches, or seconds where these are the cost.
        """
        params, criterion = self.space.criterion(name, params)
        outcomes = [replay(criterion, recording, self._objective.measure) for recording in self._recordings]
        return self._objective.judge(name, params, criterion, outcomes)

    def defaults(self, name: str) -> TrialResult:
        """Replay the setting of a criterion that is tried first."""
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
        """Try settings until there are `trials` of them.

        Args:
            trials: how many in all, those of an earlier call or of others on the same storage included.
            seed: of the sampler; the same one repeats a study in memory.
            storage: see `study_storage.open_storage`, to keep the study and go on with it, also by several processes at
                once; None keeps it in memory.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: told the number of settings so far and the best one.

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
            self._take_in(study, tried)  # what others tried meanwhile
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
        """Evaluate what the sampler suggests, and tell it what came of it."""
        try:
            evaluated = self.evaluate(*self.space.suggest(trial))
        except BaseException:  # also an interrupt: a kept study must not hold a trial that runs for ever
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        if not pareto:
            self._objective.constrain(trial, evaluated)
        study.tell(trial, [evaluated.cost, evaluated.quality_kept] if pareto else evaluated.cost)
        return evaluated

    def _take_in(self, study: optuna.Study, tried: "Tried") -> None:
        """Add what the storage holds, whoever tried it."""
        for trial in finished(study):
            if trial.number not in tried.trials:
                tried.trials.add(trial.number)
                tried.add(self.evaluate(*self.space.of_trial(trial)))

    def _fingerprint(self, pareto: bool) -> str:
        keys = {"keys": sorted(recording.key for recording in self._recordings)}
        return json_hash(keys | self.space.identity() | self._objective.identity(pareto))[:8]

    def _climb(self, best: TrialResult, tried: "Tried") -> None:
        """Move to the best neighbour as long as one is better: the sampler seldom hits the edge of the constraint."""
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
    """Return the budget of recordings.

    Raises:
        InvalidInput: there is none, or their budgets differ.
    """
    if not recordings:
        raise InvalidInput("there are no recordings to search on; make some with `dvar record`")
    budgets = {recording.budget for recording in recordings}
    if len(budgets) > 1:
        listed = ", ".join(f"{recording.concept}: {recording.budget}" for recording in recordings)
        raise InvalidInput(f"the recordings have different budgets ({listed}); search on those of one budget")
    return budgets.pop()
