"""Whether a setting looks at its concept at all, or acts as a fixed number of steps in disguise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from orchestrator.criteria import DVAR, Criterion
from orchestrator.study.result import TrialResult, by_concept

#: Where stops spread less than this over concepts, relative to their mean, a fixed number does the same; and where they
#: rank the concepts' needs worse than this, they vary for nothing. Tuned DVAR spreads by .00 to .25 on the shipped
#: recordings, and ranks by -.21 to .00, where the concepts' own needs spread by .25 to .68.
LITTLE_SPREAD, WEAK_CORRELATION = 0.1, 0.3
#: With fewer concepts a rank correlation is a matter of chance.
LEAST_CONCEPTS = 6


@dataclass(frozen=True)
class Adaptivity:
    """How the stops of a setting follow what the concepts need.

    Attributes:
        median_stop: over concepts, in steps.
        spread: standard deviation of the stops over their mean.
        correlation: Spearman's rank correlation of a concept's stop with the first step at which it keeps the target;
            None where too few concepts are known, or either does not vary.
        line_stop: of DVAR, N / sqrt(alpha), the step at which it stops on a straight line of any slope; else None.
    """

    median_stop: float
    spread: float
    correlation: float | None
    line_stop: float | None

    @property
    def acts_as_fixed(self) -> bool:
        """Whether its stops hardly vary, so that a fixed number of about `median_stop` steps would do the same."""
        return self.spread < LITTLE_SPREAD

    @property
    def follows_needs(self) -> bool:
        """Whether later stops go to the concepts that need more steps, as far as these concepts show it."""
        return self.correlation is None or self.correlation >= WEAK_CORRELATION


def adaptivity(result: TrialResult, needed_steps: Sequence[int | None]) -> Adaptivity:
    """Return how a setting's stops follow what the concepts need.

    Args:
        result: of the setting.
        needed_steps: of each concept, in the order of `result.concepts`.
    """
    stops = by_concept(result.outcomes, "stop_step")
    known = sum(need is not None for need in needed_steps)
    return Adaptivity(
        median_stop=float(np.median(stops)),
        spread=float(np.std(stops) / np.mean(stops)),
        correlation=rank_correlation(stops, needed_steps) if known >= LEAST_CONCEPTS else None,
        line_stop=line_stop(result.criterion),
    )


def rank_correlation(stops: Sequence[float], needed_steps: Sequence[int | None]) -> float | None:
    """Return Spearman's rank correlation of stops with what is known of the needs; None where either does not vary."""
    known = [(stop, need) for stop, need in zip(stops, needed_steps, strict=True) if need is not None]
    if not known or any(len(set(values)) < 2 for values in zip(*known, strict=True)):
        return None
    return float(spearmanr(*zip(*known, strict=True)).statistic)


def line_stop(criterion: Criterion) -> float | None:
    """Return N / sqrt(alpha) of DVAR, the step at which it stops on a straight line of any slope; None of others."""
    return criterion.window / math.sqrt(criterion.threshold) if isinstance(criterion, DVAR) else None
