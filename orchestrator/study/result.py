"""The result of a study: every setting that was tried, judged by the paper's objective."""

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
    """A setting, and its outcomes on the recordings.

    Attributes:
        name: of the criterion.
        criterion: with the setting.
        params: the setting.
        outcomes: one per recording.
        summary: of the outcomes.
        cost: mean over concepts of what the study minimizes, in optimizer steps or in seconds.
        is_feasible: whether it keeps as much quality as the objective requires.
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
        """Sort key that puts the better setting first: feasible, then lower cost, then more quality.

        Infeasible settings follow, the setting that keeps most quality first.
        """
        if self.is_feasible:
            return (0.0, self.cost, -self.quality_kept)
        return (1.0, -self.quality_kept, self.cost)


@dataclass(frozen=True)
class Objective:
    """How a setting is judged (paper, section 4.2): the lowest cost such that the mean quality kept reaches a share.

    Attributes:
        quality_kept: the share of the best quality to keep, 0..1.
        measure: the quality metric that counts.
        cost: what to minimize: optimizer steps, or measured seconds including the criterion's own cost.

    Raises:
        InvalidInput: the share is not above 0, or is above 1.
    """

    quality_kept: float = 0.9
    measure: str = TRAIN_IMAGE
    cost: Cost = "iterations"

    def __post_init__(self) -> None:
        if not 0 < self.quality_kept <= 1:
            raise InvalidInput(f"quality_kept must lie above 0 and at most at 1, got {self.quality_kept}")

    def judge(self, name: str, params: Params, criterion: Criterion, outcomes: Sequence[Outcome]) -> TrialResult:
        """Judge a setting by its outcomes.

        Args:
            name: of the criterion.
            params: the setting.
            criterion: with the setting.
            outcomes: one per recording, at least one in all.

        Raises:
            InvalidInput: seconds are the cost, but were not measured.
        """
        summary = Summary.of(outcomes)
        assert summary.quality_kept is not None
        spread = summary.iterations if self.cost == "iterations" else summary.seconds
        if spread is None and criterion.l_det_schedule.inputs is not None:
            raise InvalidInput(
                f"{criterion}: the time of L_det on a part of the inputs was never measured, so seconds are unknown; "
                "use iterations as the cost, or omit `inputs`"
            )
        if spread is None:
            raise InvalidInput("a recording lacks measured seconds; use iterations as the cost, or record it again")
        is_feasible = summary.quality_kept.mean >= self.quality_kept
        return TrialResult(name, criterion, params, tuple(outcomes), summary, spread.mean, is_feasible)

    def constrain(self, trial: optuna.Trial, evaluated: TrialResult) -> None:
        """Pass the quality constraint to Optuna: by how much the setting keeps too little, negative if enough."""
        trial.set_constraint("quality_kept", self.quality_kept - evaluated.quality_kept)

    def identity(self, pareto: bool) -> JsonDict:
        """Return what a study's values depend on, as plain JSON; with two objectives, no share is required."""
        return {"measure": self.measure, "kept": None if pareto else self.quality_kept, "cost": self.cost}


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes:
        objective: how settings were judged.
        budget: optimizer steps of the recordings.
        trials: number of settings that the sampler tried.
        best: the best of all evaluated settings; infeasible only if all are.
        defaults: for each criterion the default parameters, tried first: the paper's or the method's, scaled; a live
            study omits those whose runs failed.
        neighbours: the settings around the best, each parameter 10 % down and up; empty for a live study.
        tried: every setting that was evaluated, without repeats; a replayed study includes the neighbours it climbed.
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
        """Name of the criterion that the best setting belongs to."""
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
        """Return the Pareto front: the settings that no other beats in cost and quality, the cheapest first."""
        front: list[TrialResult] = []
        for result in sorted(self.tried, key=lambda result: (result.cost, -result.quality_kept)):
            if not front or result.quality_kept > front[-1].quality_kept:
                front.append(result)
        return tuple(front)


class Tried:
    """The settings that were evaluated, without repeats, and the best of them; among equals, the first.

    Args:
        evaluated: settings to begin with.

    Attributes:
        trials: numbers of the Optuna trials that were added.
    """

    def __init__(self, evaluated: Sequence[TrialResult] = ()) -> None:
        self._found: dict[tuple[str, Criterion], TrialResult] = {}
        self._best: TrialResult | None = None
        self.trials: set[int] = set()
        for result in evaluated:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """Add a setting's result; a repeated setting changes nothing."""
        self._found.setdefault((result.name, result.criterion), result)
        if self._best is None or result.rank < self._best.rank:
            self._best = result

    @property
    def best(self) -> TrialResult:
        """The result that ranks first; at least one must have been added."""
        assert self._best is not None
        return self._best

    def best_of(self, name: str, count: int) -> list[TrialResult]:
        """Return the results of a criterion, the best first, at most `count` of them."""
        return sorted(
            (result for result in self._found.values() if result.name == name), key=lambda result: result.rank
        )[:count]

    @property
    def all(self) -> tuple[TrialResult, ...]:
        """Every result, in the order in which they were added."""
        return tuple(self._found.values())
