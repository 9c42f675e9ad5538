"""Robustness: how far a study's choice depends on the few concepts that it was made on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.replay.aggregate import over_seeds
from orchestrator.replay.replay import Outcome
from orchestrator.study.result import Cost, StudyResult, TrialResult

Floats = NDArray[np.float64]

RESAMPLES = 2000
#: Settings within this factor of the best one's cost are as good for every practical purpose.
NEAR = 1.05
#: By how much less than wanted concepts may keep that were left out of the choice, or that were resampled, before the
#: choice is called luck.
LEFT_OUT_MARGIN, INTERVAL_MARGIN = 0.02, 0.05


@dataclass(frozen=True)
class Interval:
    """A figure's mean over concepts, and where nine of ten resampled sets of concepts put it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LeftOut:
    """What a concept gets from the setting that was chosen without it.

    Attributes:
        concept: that was left out.
        chosen: the best setting on the others.
        cost: on the concept itself.
        quality_kept: by the concept itself.
    """

    concept: str
    chosen: TrialResult
    cost: float
    quality_kept: float


@dataclass(frozen=True)
class Robustness:
    """How far to robustness a study's best setting.

    Attributes:
        cost: of the best setting, with its interval over concepts.
        quality_kept: of the best setting, with its interval.
        wanted: the quality that a setting must keep.
        risk: share of resampled sets of concepts of which the best setting keeps less than that, 0..1.
        left_out: for each concept, what the choice without it does to it; empty for a single concept.
        near_ranges: for each parameter of the best criterion, the least and the greatest value among the tried settings
            that keep the quality wanted at a cost within 5 % of the best; empty where none keeps it.
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
        return float(np.mean([case.cost for case in self.left_out]))

    @property
    def left_out_quality(self) -> float:
        """Mean quality that they keep."""
        return float(np.mean([case.quality_kept for case in self.left_out]))

    @property
    def is_inconclusive(self) -> bool:
        """Whether the concepts are too few, or too different, to say that such a choice keeps the quality wanted."""
        if not self.left_out:
            return True
        falls_short = self.left_out_quality < self.wanted - LEFT_OUT_MARGIN
        return falls_short or self.quality_kept.low < self.wanted - INTERVAL_MARGIN


def assess(result: StudyResult, seed: int = 0) -> Robustness:
    """Examine a study's choice by what it would have been on other concepts.

    Args:
        result: of a study; every setting that it tried is a candidate again.
        seed: of the resampling.
    """
    names, costs, kept = _tables(result)
    best = next(index for index, trial in enumerate(result.tried) if trial is result.best or trial == result.best)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(names), size=(RESAMPLES, len(names)))
    limit = NEAR * result.best.cost if result.best.is_feasible else -1.0
    near = [
        trial for trial in result.tried if trial.is_feasible and trial.cost <= limit and trial.name == result.best.name
    ]
    return Robustness(
        cost=_interval(costs[best], drawn),
        quality_kept=_interval(kept[best], drawn),
        wanted=result.objective.quality_kept,
        risk=float(np.mean(kept[best][drawn].mean(axis=1) < result.objective.quality_kept)),
        left_out=tuple(_left_out(result, names, costs, kept)),
        near_ranges={
            key: (min(result.params[key] for result in near), max(result.params[key] for result in near))
            for key in (result.best.params if near else ())
        },
    )


def _tables(result: StudyResult) -> tuple[list[str], Floats, Floats]:
    """Return the concepts, and costs and qualities kept, shape (settings, concepts) each, averaged over seeds."""
    names = sorted({outcome.concept for outcome in result.best.outcomes})
    costs = np.array([_by_concept(trial.outcomes, names, result.objective.cost) for trial in result.tried])
    kept = np.array([_by_concept(trial.outcomes, names, None) for trial in result.tried])
    return names, costs, kept


def _by_concept(outcomes: Sequence[Outcome], names: Sequence[str], cost: Cost | None) -> list[float]:
    values = [_value(outcome, cost) for outcome in outcomes]
    means = over_seeds([outcome.concept for outcome in outcomes], values)
    return [means[name] for name in names]


def _value(outcome: Outcome, cost: Cost | None) -> float:
    """Return what an outcome costs, or the quality that it kept where no cost is named."""
    value = outcome.quality_kept
    if cost is not None:
        value = outcome.stop_step if cost == "iterations" else outcome.seconds
    assert value is not None
    return value


def _interval(values: Floats, drawn: NDArray[np.int64]) -> Interval:
    low, high = np.quantile(values[drawn].mean(axis=1), [0.05, 0.95])
    return Interval(float(values.mean()), float(low), float(high))


def _left_out(result: StudyResult, names: Sequence[str], costs: Floats, kept: Floats) -> list[LeftOut]:
    if len(names) < 2:
        return []
    cases = []
    for index, name in enumerate(names):
        others = [other for other in range(len(names)) if other != index]
        cost, quality = costs[:, others].mean(axis=1), kept[:, others].mean(axis=1)
        feasible = quality >= result.objective.quality_kept - 1e-12  # means of equal shares differ in their last bit
        # As the study ranks: feasible first, then the lower cost, then more quality; else the one that keeps most.
        order = np.lexsort((-quality, np.where(feasible, cost, 0), np.where(feasible, 0, -quality), ~feasible))
        chosen = int(order[0])
        cases.append(LeftOut(name, result.tried[chosen], float(costs[chosen, index]), float(kept[chosen, index])))
    return cases
