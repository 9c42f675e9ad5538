"""Robustness: how strongly a study's choice depends on the few concepts on which it was made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.recordings.recording import Floats
from orchestrator.replay.aggregate import mean_by_concept
from orchestrator.replay.outcome import Outcome
from orchestrator.study.result import Cost, StudyResult, TrialResult

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
        wanted: the quality that a setting must keep.
        risk: share of resampled sets of concepts on which the best setting keeps less than that, 0..1.
        left_out: for each concept, what it gets from the choice made without it; empty for a single concept.
        near_ranges: for each parameter of the best criterion, the least and the greatest value among the tried settings
            that keep the quality demanded at a cost within 5 % of the best; empty where none keeps it.
    """

    cost: Interval
    quality_kept: Interval
    wanted: float
    risk: float
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
    def is_inconclusive(self) -> bool:
        """Whether the concepts are too few, or too different, to say that such a choice keeps the quality demanded."""
        if not self.left_out:
            return True
        falls_short = self.left_out_quality < self.wanted - LEFT_OUT_MARGIN
        return falls_short or self.quality_kept.low < self.wanted - INTERVAL_MARGIN


def assess(result: StudyResult, seed: int = 0) -> Robustness:
    """Assess a study's choice by resampling its concepts, and by leaving out each concept in turn.

    Args:
        result: of a study; each choice is among all settings that it tried.
        seed: of the resampling.
    """
    concepts, costs, kept = _tables(result)
    best = next(index for index, tried in enumerate(result.tried) if tried is result.best or tried == result.best)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(concepts), size=(RESAMPLES, len(concepts)))
    return Robustness(
        cost=_interval(costs[best], drawn),
        quality_kept=_interval(kept[best], drawn),
        wanted=result.objective.quality_kept,
        risk=float(np.mean(kept[best][drawn].mean(axis=1) < result.objective.quality_kept)),
        left_out=tuple(_left_out(result, concepts, costs, kept)),
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


def _tables(result: StudyResult) -> tuple[list[str], Floats, Floats]:
    """Return the concepts, and costs and qualities kept, shape (settings, concepts) each, averaged over seeds."""
    concepts = sorted({outcome.concept for outcome in result.best.outcomes})
    costs = np.array([_by_concept(tried.outcomes, concepts, result.objective.cost) for tried in result.tried])
    kept = np.array([_by_concept(tried.outcomes, concepts, None) for tried in result.tried])
    return concepts, costs, kept


def _by_concept(outcomes: Sequence[Outcome], concepts: Sequence[str], cost: Cost | None) -> list[Floats]:
    """Return each concept's mean cost over its seeds, or its mean quality kept where no cost is asked for."""
    values = [outcome.quality_kept for outcome in outcomes]
    if cost is not None:
        values = [outcome.stop_step if cost == "iterations" else outcome.seconds for outcome in outcomes]
    means = mean_by_concept([outcome.concept for outcome in outcomes], [value for value in values if value is not None])
    return [means[concept] for concept in concepts]


def _interval(values: Floats, drawn: NDArray[np.int64]) -> Interval:
    low, high = np.quantile(values[drawn].mean(axis=1), [0.05, 0.95])
    return Interval(float(values.mean()), float(low), float(high))


def _left_out(result: StudyResult, concepts: Sequence[str], costs: Floats, kept: Floats) -> list[LeftOut]:
    if len(concepts) < 2:
        return []
    left_out = []
    for index, concept in enumerate(concepts):
        others = [other for other in range(len(concepts)) if other != index]
        cost, quality = costs[:, others].mean(axis=1), kept[:, others].mean(axis=1)
        feasible = quality >= result.objective.quality_kept - 1e-12  # means of equal shares differ in their last bit
        # As `TrialResult.rank`: feasible first, then lower cost, then more quality; if none is feasible, most quality.
        order = np.lexsort((-quality, np.where(feasible, cost, 0), np.where(feasible, 0, -quality), ~feasible))
        chosen = int(order[0])
        left_out.append(LeftOut(concept, result.tried[chosen], float(costs[chosen, index]), float(kept[chosen, index])))
    return left_out
