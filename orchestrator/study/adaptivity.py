"""Whether a setting looks at its concept at all, or acts as a fixed number of steps in disguise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from orchestrator.criteria import DVAR
from orchestrator.study.result import TrialResult

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
    outcomes = result.outcomes
    stops = [
        np.mean([outcome.stop_step for outcome in outcomes if outcome.concept == name]) for name in result.concepts
    ]
    known = [(stop, need) for stop, need in zip(stops, needed_steps, strict=True) if need is not None]
    correlation = None
    if len(known) >= LEAST_CONCEPTS and all(len(set(values)) > 1 for values in zip(*known, strict=True)):
        correlation = float(spearmanr(*zip(*known, strict=True)).statistic)
    criterion = result.criterion
    line_stop = criterion.window / math.sqrt(criterion.threshold) if isinstance(criterion, DVAR) else None
    return Adaptivity(float(np.median(stops)), float(np.std(stops) / np.mean(stops)), correlation, line_stop)
