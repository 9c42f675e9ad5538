"""Mann-Kendall: a rank test of whether L_det still falls within its last values (Mann, 1945; Kendall, 1975)."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_positive, check_window


@dataclass(frozen=True, repr=False)
class MannKendall(LDetCriterion):
    """Stops when a falling trend of the last n evaluations is not significant: z > -threshold, from n evaluations on.

    S counts the pairs of evaluations in the window of which the later is higher, minus those of which it is lower;
    z = (S - sign(S)) / sqrt(n (n - 1) (2n + 5) / 18) is about standard normal where there is no trend. Only the order
    of the values counts, so neither scale nor offset nor an outlier matters. Equal values count as no change; the
    variance is not corrected for them, as they are rare among losses.

    Example:
        >>> MannKendall(window=4, threshold=1.5).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 2.0])
        6

    Attributes:
        window: in steps, at least 3 evaluations.
        threshold: of -z, above 0; 1.645 is a one-sided test at 5 %. Evaluations of one run depend on each other, so
            this is a scale rather than a probability. z is at least about -1.5 sqrt(n).
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds fewer than three evaluations.
    """

    window: int
    threshold: float

    def check_settings(self) -> None:
        """Check the window and the threshold."""
        object.__setattr__(self, "window", check_window(self.window, 3))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        self.check_window_holds(self.window, 3)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the trend is not significant. The time grows with the number of values times the window."""
        window, count = self.evaluations_in(self.window), len(values)
        held = np.zeros(count, dtype=bool)
        if count < window:
            return held
        scores, sums = np.zeros(count - window + 1, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
        for lag in range(1, window):
            earlier, later = values[:-lag], values[lag:]
            signs = (later > earlier).view(np.int8) - (later < earlier).view(np.int8)
            np.cumsum(signs, out=sums[1 : count - lag + 1])
            scores += sums[window - lag : count - lag + 1] - sums[: count - window + 1]
        held[window - 1 :] = (scores - np.sign(scores)) / _deviation(window) > -self.threshold
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the last n values."""
        return _MannKendallCondition(self.evaluations_in(self.window), self.threshold)


def _deviation(window: int) -> float:
    """Return the standard deviation of S where there is no trend."""
    return math.sqrt(window * (window - 1) * (2 * window + 5) / 18)


def _compare(value: float, others: Iterable[float]) -> int:
    """Return how many of the others are below the value, minus how many are above it."""
    return sum((value > other) - (value < other) for other in others)


class _MannKendallCondition:
    """Each value takes time in proportion to the window, as it is compared with all others in it."""

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold, self._deviation = window, threshold, _deviation(window)
        self._values: deque[float] = deque()
        self._score = 0

    def update(self, value: float) -> bool:
        value = float(value)
        if len(self._values) == self._window:
            oldest = self._values.popleft()
            self._score += _compare(oldest, self._values)  # those above it were pairs that rose
        self._score += _compare(value, self._values)
        self._values.append(value)
        if len(self._values) < self._window:
            return False
        score = self._score
        return (score - _compare(score, [0])) / self._deviation > -self._threshold
