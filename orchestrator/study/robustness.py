"""Robustness: how strongly a study's choice depends on the few concepts on which it was made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.recordings.recording import Floats
from orchestrator.study.objective import Objective
from orchestrator.study.recommendation import tables
from orchestrator.study.result import StudyResult, TrialResult

RESAMPLES = 2000
#: Settings within this factor of the best cost are as good for every practical purpose.
NEAR = 1.05
#: By how much less than demanded concepts may keep that were left out of the choice, or that were resampled, before the
#: choice is called inconclusive.
LEFT_OUT_MARGIN, INTERVAL_MARGIN = 0.02, 0.05


@dataclass(frozen=True)
class Interval:
    """A mean over concepts, and the bounds within which nine of ten resampled sets of concepts put it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LeftOut:
    """The outcome of a concept under the setting that was chosen without it.

    Attributes:
        concept: name of the concept that was left out.
        chosen: the best setting on the other concepts.
        cost: of `chosen` on the concept that was left out.
        quality_kept: by the concept that was left out.
    """

    concept: str
    chosen: TrialResult
    cost: float
    quality_kept: float


@dataclass(frozen=True)
class Robustness:
    """How far to trust a study's best setting.

    Attributes:
        cost: of the best setting, with its interval over concepts.
        quality_kept: of the best setting, with its interval.
        objective: by which it was chosen.
        resampled_below: share of resampled sets of concepts on which the best setting keeps less than the target on
            average, 0..1.
        left_out: for each concept, what it gets from the choice made without it; empty for a single concept.
        near_ranges: for each parameter of the best criterion, the least and the greatest value among the tried settings
            that keep the quality demanded at a cost within 5 % of the best; empty where none keeps it.
    """

    cost: Interval
    quality_kept: Interval
    objective: Objective
    resampled_below: float
    left_out: tuple[LeftOut, ...]
    near_ranges: dict[str, tuple[float, float]]

    @property
    def left_out_cost(self) -> float:
        """Mean cost of the concepts that were left out."""
        return float(np.mean([concept.cost for concept in self.left_out]))

    @property
    def left_out_quality(self) -> float:
        """Mean quality kept by the concepts that were left out."""
        return float(np.mean([concept.quality_kept for concept in self.left_out]))

    @property
    def left_out_below(self) -> float:
        """Share of the concepts that were left out that keep less than the target, 0..1."""
        return float(self.objective.falls_below([concept.quality_kept for concept in self.left_out]).mean())

    @property
    def is_inconclusive(self) -> bool:
        """Whether the concepts are too few, or too different, to say that such a choice keeps the quality demanded."""
        if not self.left_out:
            return True
        falls_short = self.left_out_quality < self.objective.quality_kept - LEFT_OUT_MARGIN
        return falls_short or self.quality_kept.low < self.objective.quality_kept - INTERVAL_MARGIN


def assess(result: StudyResult, seed: int = 0) -> Robustness:
    """Assess a study's choice by resampling its concepts, and by leaving out each concept in turn.

    Args:
        result: of a study; each choice is among all settings that it tried, for "reliable" among those of the criterion
            that was chosen.
        seed: of the resampling.
    """
    tried = [trial for trial in result.tried if trial.name == result.name or not result.objective.is_reliable]
    costs, kept = tables(tried)
    best, concepts = result.best, len(result.best.concepts)
    drawn = np.random.default_rng(seed).integers(concepts, size=(RESAMPLES, concepts))
    return Robustness(
        cost=_interval(np.array(best.costs), drawn),
        quality_kept=_interval(np.array(best.kept), drawn),
        objective=result.objective,
        resampled_below=float(np.mean(np.array(best.kept)[drawn].mean(axis=1) < result.objective.quality_kept)),
        left_out=tuple(_left_out(result.objective, tried, costs, kept)),
        near_ranges=_near_ranges(result),
    )


def _near_ranges(result: StudyResult) -> dict[str, tuple[float, float]]:
    if not result.best.is_feasible:
        return {}
    limit = NEAR * result.best.cost
    near = [tried for tried in result.tried if tried.is_feasible and tried.cost <= limit and tried.name == result.name]
    names = [name for name, value in result.best.params.items() if isinstance(value, int | float)]
    numbers = {name: [tried.number(name) for tried in near] for name in names}
    return {name: (min(values), max(values)) for name, values in numbers.items()}


def _interval(values: Floats, drawn: NDArray[np.int64]) -> Interval:
    low, high = np.quantile(values[drawn].mean(axis=1), [0.05, 0.95])
    return Interval(float(values.mean()), float(low), float(high))


def _left_out(objective: Objective, tried: Sequence[TrialResult], costs: Floats, kept: Floats) -> Iterator[LeftOut]:
    concepts = tried[0].concepts
    if len(concepts) < 2 or not objective.carries(len(concepts) - 1):
        return
    for index, concept in enumerate(concepts):
        others = np.arange(len(concepts)) != index
        chosen = objective.choose(costs[:, others], kept[:, others])
        if chosen is None:  # as `TrialResult.rank`: what falls least short
            chosen = int(np.argmin(objective.shortfall(kept[:, others])))
        yield LeftOut(concept, tried[chosen], float(costs[chosen, index]), float(kept[chosen, index]))
