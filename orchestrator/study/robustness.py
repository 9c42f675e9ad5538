"""Robustness: how strongly a study's choice depends on the few concepts on which it was made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.replay.aggregate import over_seeds
from orchestrator.replay.replay import Outcome
from orchestrator.study.result import Cost, StudyResult, TrialResult

Floats = NDArray[np.float64]

RESAMPLES = 2000
#: Settings within this factor of the best setting's cost are equally good for practical purposes.
NEAR = 1.05
#: By how much left-out concepts, and resampled sets of concepts, may miss the quality wanted before the choice counts
#: as inconclusive.
LEFT_OUT_MARGIN, INTERVAL_MARGIN = 0.02, 0.05


@dataclass(frozen=True)
class Interval:
    """A mean over concepts, with its 90 % bootstrap interval.

    Attributes:
        mean: over the concepts themselves.
        low, high: bounds of the means of nine in ten resampled sets of concepts.
    """

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
    """How robust a study's best setting is against another choice of concepts.

    Attributes:
        cost: of the best setting, with its interval over concepts.
        quality_kept: of the best setting, with its interval.
        wanted: share of the best quality that a setting must keep, 0..1.
        risk: share of resampled sets of concepts on which the best setting keeps less than that, 0..1.
        left_out: for each concept, its outcome under the choice made without it; empty for a single concept.
        near_ranges: for each parameter of the best criterion, its minimum and maximum among the tried settings that
            keep the quality wanted at a cost within 5 % of the best; empty if none keeps it.
    """

    cost: Interval
    quality_kept: Interval
    wanted: float
    risk: float
    left_out: tuple[LeftOut, ...]
    near_ranges: dict[str, tuple[float, float]]

    @property
    def left_out_cost(self) -> float:
        """Mean cost of the left-out concepts, each under the setting that was chosen without it."""
        return float(np.mean([case.cost for case in self.left_out]))

    @property
    def left_out_quality(self) -> float:
        """Mean share of the best quality that left-out concepts keep, each under the setting chosen without it."""
        return float(np.mean([case.quality_kept for case in self.left_out]))

    @property
    def is_inconclusive(self) -> bool:
        """Whether the concepts are too few, or too different, to conclude that the choice keeps the quality wanted."""
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
    """Return an outcome's cost, or the quality that it kept if no cost is named."""
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
        # As `TrialResult.rank`: feasible first, then lower cost, then more quality; if none is feasible, most quality.
        order = np.lexsort((-quality, np.where(feasible, cost, 0), np.where(feasible, 0, -quality), ~feasible))
        chosen = int(order[0])
        cases.append(LeftOut(name, result.tried[chosen], float(costs[chosen, index]), float(kept[chosen, index])))
    return cases
