"""What a study found: every setting that was tried, judged by the paper's objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna

from orchestrator.criteria import Criterion
from orchestrator.replay.replay import Outcome, Summary
from orchestrator.runs.spec import RunResult
from orchestrator.study.search_space import Params
from trainables.errors import InvalidInput
from trainables.settings import TRAIN_IMAGE
from trainables.types import JsonDict

Cost = Literal["iterations", "seconds"]


@dataclass(frozen=True)
class TrialResult:
    """A setting and what it makes of the recordings.

    Attributes:
        name: of the criterion.
        cost: mean over concepts of what the study saves, in optimizer steps or in seconds.
        is_feasible: whether it keeps as much quality as the rule wants.
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
        """Mean optimizer steps over concepts."""
        return self.summary.iterations.mean

    @property
    def quality_kept(self) -> float:
        """Mean share of the best quality over concepts."""
        assert self.summary.quality_kept is not None
        return self.summary.quality_kept.mean

    @property
    def rank(self) -> tuple[float, float, float]:
        """Sorts the better setting first: feasible, then the lower cost, then more quality."""
        if self.is_feasible:
            return (0.0, self.cost, -self.quality_kept)
        return (1.0, -self.quality_kept, self.cost)


@dataclass(frozen=True)
class Objective:
    """How a setting is judged (paper, section 4.2): the lowest cost such that the mean quality kept reaches a share.

    Attributes:
        quality_kept: the share of the best quality to keep, 0..1.
        measure: the quality that counts.
        cost: what is saved: optimizer steps, or measured seconds with what the criterion itself costs.

    Raises:
        InvalidInput: the share is not above 0, or above 1.
    """

    quality_kept: float = 0.9
    measure: str = TRAIN_IMAGE
    cost: Cost = "iterations"

    def __post_init__(self) -> None:
        if not 0 < self.quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {self.quality_kept}")

    def judge(self, name: str, params: Params, criterion: Criterion, outcomes: Sequence[Outcome]) -> TrialResult:
        """Sum up what a setting made of every concept.

        Raises:
            InvalidInput: seconds are the cost, and were not measured.
        """
        summary = Summary.of(outcomes)
        assert summary.quality_kept is not None
        spread = summary.iterations if self.cost == "iterations" else summary.seconds
        if spread is None and criterion.l_det_schedule.inputs is not None:
            raise InvalidInput(
                f"{criterion}: what L_det of some inputs takes was never measured, so seconds are unknown; save "
                "iterations instead, or leave `inputs` out"
            )
        if spread is None:
            raise InvalidInput("a recording lacks measured seconds; save iterations instead, or record it anew")
        is_feasible = summary.quality_kept.mean >= self.quality_kept
        return TrialResult(name, criterion, params, tuple(outcomes), summary, spread.mean, is_feasible)

    def constrain(self, trial: optuna.Trial, evaluated: TrialResult) -> None:
        """Tell Optuna by how much a setting keeps too little."""
        trial.set_constraint("quality_kept", self.quality_kept - evaluated.quality_kept)

    def identity(self, pareto: bool) -> JsonDict:
        """Return what a study's figures depend on, as plain JSON; with two objectives no share is asked for."""
        return {"measure": self.measure, "kept": None if pareto else self.quality_kept, "cost": self.cost}


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        objective: how settings were judged.
        budget: optimizer steps of the recordings.
        trials: settings that were tried.
        best: the best of them, and of the settings around it where these are replayed; not feasible only when none is.
        defaults: for each criterion, the setting that was tried first: the paper's, or the method's, scaled; of a live
            study none whose runs failed.
        neighbours: the settings around the best one, each parameter 10 % down and up; none of a live study.
        tried: every setting that was evaluated, once.
        failed: runs of a live study that failed; their settings were not judged.
    """

    objective: Objective
    budget: int
    trials: int
    best: TrialResult
    defaults: tuple[TrialResult, ...]
    neighbours: tuple[TrialResult, ...]
    tried: tuple[TrialResult, ...]
    failed: tuple[RunResult, ...] = ()

    @property
    def name(self) -> str:
        """The best setting's criterion."""
        return self.best.name

    def best_of_each(self) -> tuple[TrialResult, ...]:
        """Return the best setting of every criterion, the best criterion first."""
        names = dict.fromkeys(result.name for result in self.tried)
        best = [
            min((result for result in self.tried if result.name == name), key=lambda result: result.rank)
            for name in names
        ]
        return tuple(sorted(best, key=lambda result: result.rank))

    def front(self) -> tuple[TrialResult, ...]:
        """Return the settings that no other one beats in cost and quality, the cheapest first."""
        front: list[TrialResult] = []
        for result in sorted(self.tried, key=lambda result: (result.cost, -result.quality_kept)):
            if not front or result.quality_kept > front[-1].quality_kept:
                front.append(result)
        return tuple(front)


class Tried:
    """The settings that were evaluated, each once, and the best of them: of equals, the first."""

    def __init__(self, evaluated: Sequence[TrialResult] = ()) -> None:
        self._found: dict[tuple[str, Criterion], TrialResult] = {}
        self._best: TrialResult | None = None
        self.trials: set[int] = set()
        for result in evaluated:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """Take in a setting."""
        self._found.setdefault((result.name, result.criterion), result)
        if self._best is None or result.rank < self._best.rank:
            self._best = result

    @property
    def best(self) -> TrialResult:
        """The best setting; there must be one."""
        assert self._best is not None
        return self._best

    def best_of(self, name: str, count: int) -> list[TrialResult]:
        """Return the best settings of a criterion."""
        return sorted(
            (result for result in self._found.values() if result.name == name), key=lambda result: result.rank
        )[:count]

    @property
    def all(self) -> tuple[TrialResult, ...]:
        """Every setting, in order."""
        return tuple(self._found.values())
