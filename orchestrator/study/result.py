"""What a study results in: every setting that was tried, judged by the paper's objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import optuna

from orchestrator.config.experiment import StudySettings
from orchestrator.criteria import Criterion
from orchestrator.replay.outcome import Outcome, Summary
from orchestrator.study.search_space import Params
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE

if TYPE_CHECKING:
    from orchestrator.runs.spec import RunResult

Cost = Literal["iterations", "seconds"]


@dataclass(frozen=True)
class TrialResult:
    """A setting of a criterion, and how it did on the recordings.

    Attributes:
        name: of the criterion.
        criterion: with the setting.
        params: the setting.
        outcomes: one per recording.
        summary: of the outcomes.
        cost: mean over concepts of what the study saves, in optimizer steps or in seconds.
        is_feasible: whether it keeps as much quality as the objective demands.
    """

    name: str
    criterion: Criterion
    params: Params
    outcomes: tuple[Outcome, ...]
    summary: Summary
    cost: float
    is_feasible: bool

    @property
    def iterations(self) -> float:
        """Mean number of optimizer steps at the stop, over concepts."""
        return self.summary.iterations.mean

    @property
    def quality_kept(self) -> float:
        """Mean share of the best quality that is kept, over concepts."""
        assert self.summary.quality_kept is not None
        return self.summary.quality_kept.mean

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the better setting first: feasible before not, then the lower cost, then more quality."""
        if self.is_feasible:
            return (0.0, self.cost, -self.quality_kept)
        return (1.0, -self.quality_kept, self.cost)

    def number(self, name: str) -> float:
        """Return a parameter of the setting that is a number.

        Raises:
            TypeError: it is something else.
        """
        value = self.params[name]
        if not isinstance(value, int | float):
            raise TypeError(f"{name} of {self.criterion!r} is no number but {value!r}")
        return value


@dataclass(frozen=True)
class Objective:
    """How a setting is judged (paper, section 4.2): the lowest cost such that the mean quality kept reaches a share.

    Attributes:
        quality_kept: the share of the best quality to keep, above 0 and at most 1.
        metric: the quality that counts.
        cost: what is saved: optimizer steps, or measured seconds including what the criterion itself costs.

    Raises:
        InvalidInput: the share is out of range.
    """

    quality_kept: float = 0.9
    metric: str = TRAIN_IMAGE
    cost: Cost = "iterations"

    def __post_init__(self) -> None:
        if not 0 < self.quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {self.quality_kept}")

    @classmethod
    def of(cls, settings: StudySettings) -> "Objective":
        """Return the objective that an experiment's study names."""
        return cls(settings.quality_kept, settings.measure, settings.cost)

    def judge(self, name: str, params: Params, criterion: Criterion, outcomes: Sequence[Outcome]) -> TrialResult:
        """Sum up how a setting did on every concept.

        Args:
            name: of the criterion.
            params: the setting.
            criterion: with the setting.
            outcomes: at least one, each with its quality.

        Raises:
            InvalidInput: seconds are the cost, but were not measured.
        """
        summary = Summary.of(outcomes)
        assert summary.quality_kept is not None
        spread = summary.iterations if self.cost == "iterations" else summary.seconds
        if spread is None and criterion.l_det_schedule.inputs is not None:
            raise InvalidInput(
                f"{criterion}: the time of L_det on some of the inputs was never measured, so seconds are unknown; "
                "save iterations instead, or leave `inputs` out"
            )
        if spread is None:
            raise InvalidInput("a recording lacks measured seconds; use iterations as the cost, or record it again")
        is_feasible = summary.quality_kept.mean >= self.quality_kept
        return TrialResult(name, criterion, params, tuple(outcomes), summary, spread.mean, is_feasible)

    def tell(self, study: optuna.Study, trial: optuna.Trial, result: TrialResult) -> None:
        """Tell Optuna how a setting did: its cost, and its quality as the second objective or as a constraint."""
        if len(study.directions) > 1:
            study.tell(trial, [result.cost, result.quality_kept])
            return
        # By how much it falls short of the quality to keep; negative where it keeps more.
        trial.set_constraint("quality_kept", self.quality_kept - result.quality_kept)
        study.tell(trial, result.cost)

    def identity(self, pareto: bool) -> dict[str, object]:
        """Return what the results of a study depend on, as plain JSON; with two objectives no share is demanded."""
        return {"measure": self.metric, "kept": None if pareto else self.quality_kept, "cost": self.cost}


@dataclass(frozen=True)
class StudyResult:
    """What a study results in.

    Attributes:
        objective: how settings were judged.
        budget: optimizer steps of the recordings.
        trials: number of settings that the sampler tried.
        best: the best of them, and of the settings around it where these are replayed; infeasible only when all are.
        default_results: for each criterion, the setting that was tried first: the paper's, or the method's, scaled; in
            a live study, those of them whose runs succeeded.
        neighbours: the settings around the best, each parameter 10 % down and up; empty in a live study.
        tried: every setting that was evaluated, once.
        failed: runs of a live study that failed; their settings were not judged.
    """

    objective: Objective
    budget: int
    trials: int
    best: TrialResult
    default_results: tuple[TrialResult, ...]
    neighbours: tuple[TrialResult, ...]
    tried: tuple[TrialResult, ...]
    failed: "tuple[RunResult, ...]" = ()

    @property
    def name(self) -> str:
        """The criterion that the best setting is of."""
        return self.best.name

    def best_of_each(self) -> tuple[TrialResult, ...]:
        """Return the best setting of every criterion, the best criterion first."""
        best: dict[str, TrialResult] = {}
        for result in self.tried:
            if result.name not in best or result.rank < best[result.name].rank:
                best[result.name] = result
        return tuple(sorted(best.values(), key=lambda result: result.rank))

    def front(self) -> tuple[TrialResult, ...]:
        """Return the settings that no other beats in cost and quality, the cheapest first."""
        front: list[TrialResult] = []
        for result in sorted(self.tried, key=lambda result: (result.cost, -result.quality_kept)):
            if not front or result.quality_kept > front[-1].quality_kept:
                front.append(result)
        return tuple(front)


class TrialHistory:
    """The settings that a study has evaluated so far, each once, and the best of them: of equals, the first.

    Args:
        results: to begin with.
    """

    def __init__(self, results: Sequence[TrialResult] = ()) -> None:
        self._results: dict[tuple[str, Criterion], TrialResult] = {}
        self._best: TrialResult | None = None
        for result in results:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """Take in a setting; a setting that is there already stays as it is."""
        self._results.setdefault((result.name, result.criterion), result)
        if self._best is None or result.rank < self._best.rank:
            self._best = result

    @property
    def best(self) -> TrialResult:
        """The best setting; there must be at least one."""
        assert self._best is not None
        return self._best

    def best_of(self, name: str, count: int) -> list[TrialResult]:
        """Return the best settings of a criterion, at most `count` of them, the best first."""
        of_name = (result for result in self._results.values() if result.name == name)
        return sorted(of_name, key=lambda result: result.rank)[:count]

    @property
    def all(self) -> tuple[TrialResult, ...]:
        """Every setting, in the order in which they came."""
        return tuple(self._results.values())
