"""A ratio of costs with an interval over concepts: the delete-a-group jackknife of its logarithm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

#: Groups of concepts, each left out once.
GROUPS = 8


@dataclass(frozen=True)
class Ratio:
    """A rule's mean cost on new concepts, as a multiple of the fixed number's at the same promise.

    Attributes:
        value: the ratio.
        low: lower bound of the interval.
        high: upper bound of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def is_below_one(self) -> bool:
        """Whether the rule is cheaper, and not by chance."""
        return self.high < 1


def jackknifed(value: float, without: Sequence[float], *, error: float = 0.1) -> Ratio:
    """Return a ratio with its interval; from 0 to infinity where fewer than two groups say nothing about it.

    Args:
        value: logarithm of the ratio over all concepts.
        without: the same without each of some groups of concepts.
        error: share of such intervals that may miss the truth.
    """
    groups = len(without)
    if groups < 2:
        return Ratio(math.exp(value), 0.0, math.inf)
    deviation = math.sqrt((groups - 1) / groups * float(np.sum((np.array(without) - np.mean(without)) ** 2)))
    reach = float(student.ppf(1 - error / 2, groups - 1)) * deviation
    return Ratio(math.exp(value), math.exp(value - reach), math.exp(value + reach))
