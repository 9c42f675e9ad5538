"""The replayed study: the best setting of criteria is searched by replaying recordings."""

from collections.abc import Mapping, Sequence

import optuna

from orchestrator.config.experiment import REPLAYED_TRIALS
from orchestrator.recordings.identity import json_hash
from orchestrator.recordings.recording import Recording
from orchestrator.study.objective import Objective
from orchestrator.study.plane import best_on_plane
from orchestrator.study.references import finished_result
from orchestrator.study.replays import Replays, common_budget
from orchestrator.study.result import StudyResult, TrialHistory, TrialResult, tell
from orchestrator.study.search import TrialCallback
from orchestrator.study.search_space import Params, SearchSpace, stated_defaults
from orchestrator.study.storage import finished, open_storage, open_study, quiet_optuna

#: Settings of each criterion whose neighbours are climbed.
CLIMBS = 3


class Study:
    """The search for the best setting of criteria on some recordings.

    For the objective "reliable" every member of each criterion's ordered family is replayed. For the others Optuna
    samples settings, beginning with the paper's or the method's own, and DVAR's plane is then searched exactly. A fixed
    number of steps, and a number of steps per image, are always chosen beside them by the same objective.

    Example:
        >>> from orchestrator.recordings.collection import by_method, read_place
        >>> recordings = by_method(read_place("builtin"), "builtin", ["svdiff"])["svdiff"][:8]
        >>> result = Study(recordings, method="svdiff").search()
        >>> result.best.name, result.best.share_below <= 1 / 8
        ('dvar', True)

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
        self._name, self._recordings = name, tuple(recordings)
        self.objective, self.budget = objective or Objective(), common_budget(recordings)
        defaults = stated_defaults(method, recordings[0])
        self.space = SearchSpace(names, self.budget, method=method, defaults=defaults, fixed=fixed)
        self._replays = Replays(recordings, self.space, self.objective)

    def evaluate(self, name: str, params: Params) -> TrialResult:
        """Replay a setting of a criterion over every recording; see `Replays.evaluate`."""
        return self._replays.evaluate(name, params)

    def evaluate_default(self, name: str) -> TrialResult:
        """Replay the setting of a criterion that is tried first; see `evaluate`."""
        return self.evaluate(name, self.space.default_params[name])

    def settings_to_try(self, trials: int) -> int:
        """Return how many settings a search replays that is asked for a number of trials.

        Raises:
            InvalidInput: see `search`.
        """
        if not self.objective.is_reliable:
            return trials
        return sum(len(self.space.family(name)) for name in self.space.ranges)

    def search(
        self,
        trials: int = REPLAYED_TRIALS,
        *,
        seed: int = 0,
        storage: str | None = None,
        pareto: bool = False,
        on_trial: TrialCallback | None = None,
    ) -> StudyResult:
        """Search for the best setting.

        Args:
            trials: of the sampler, how many settings in all, including those of an earlier call and of others on the
                same storage. "reliable" replays all members of each family, however many they are.
            seed: of the sampler; the same seed repeats a study in memory.
            storage: see `orchestrator.study.storage.open_storage`, to keep the sampler's study and go on with it, also
                by several processes at once; None keeps it in memory.
            pareto: whether cost and quality are two objectives; otherwise quality is a constraint.
            on_trial: called with the number of settings so far and the best of them.

        Raises:
            InvalidInput: the storage cannot be used, a criterion has no ordered family and "reliable" demands one, or
                there are too few concepts for what is to be promised.
        """
        if self.objective.is_reliable:
            return self._search_families(on_trial)
        return self._search_by_sampling(trials, seed, storage, pareto, on_trial)

    def _search_families(self, on_trial: TrialCallback | None) -> StudyResult:
        by_name, history = {}, TrialHistory()
        for name in self.space.ranges:
            by_name[name] = self._replays.family(name)
            for result in by_name[name]:
                history.add(result)
            if on_trial:
                on_trial(len(history.all), history.best)
        return finished_result(self._replays, self._recordings, by_name, trials=len(history.all))

    def _search_by_sampling(
        self, trials: int, seed: int, storage: str | None, pareto: bool, on_trial: TrialCallback | None
    ) -> StudyResult:
        """Try settings until there are `trials` of them, then climb from the best to better neighbours."""
        with quiet_optuna():
            name = f"{self._name} {self._fingerprint(pareto)}"
            backend = open_storage(storage) if storage else None
            study = open_study(backend, name, seed, pareto, is_shared=storage is not None)
            if not study.trials:
                for criterion, params in self.space.default_params.items():
                    self.space.enqueue(study, criterion, params)
            history = TrialHistory(self._replays.defaults())
            count = self._sample(study, history, trials, on_trial)
        for start in [result for name in self.space.ranges for result in history.best_of(name, CLIMBS)]:
            self._climb(start, history)
        sampled = None
        if optimum := best_on_plane(self._replays, self._recordings):
            sampled = history.best_of("dvar", 1)[0]
            history.add(optimum)
        by_name = {name: tuple(result for result in history.all if result.name == name) for name in self.space.ranges}
        return finished_result(
            self._replays, self._recordings, by_name, trials=count, sampled=sampled, neighbours_of=self._neighbours
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
        tell(self.objective, study, trial, result)
        return result

    def _take_in(self, study: optuna.Study, history: TrialHistory, known: set[int]) -> None:
        """Add what the storage holds, whoever tried it, except the trials with a known number; then these are known."""
        for trial in finished(study):
            if trial.number not in known:
                known.add(trial.number)
                history.add(self.evaluate(*self.space.of_trial(trial)))

    def _fingerprint(self, pareto: bool) -> str:
        keys = {"keys": sorted(recording.key for recording in self._recordings)}
        return json_hash(keys | self.space.identity() | self.objective.identity(pareto))[:8]

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
