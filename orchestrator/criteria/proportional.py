"""Proportional: DVAR whose window is a share of the steps so far."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Distances, Floats, check_count, check_share, distances
from orchestrator.criteria.dvar import variance


@dataclass(frozen=True, repr=False)
class Proportional(LDetCriterion):
    """Stops when Var(last share of the values) < threshold * Var(all values so far), from step `begin` on.

    With a window that grows with the run, nothing is measured in steps but `begin`: the same series at half the speed
    stops twice as late. On a straight line the ratio is share^2 at all times, so a threshold above it stops every line
    at `begin`, and one below it none. A strict threshold mostly never fires.

    Example:
        >>> Proportional(begin=5, share=0.5, threshold=0.05).first_stop([0.9**step for step in range(100)])
        26

    Attributes:
        begin: the first step at which it may stop, at least 1.
        share: of the evaluations so far that are in the window (rounded up), strictly between 0 and 1.
        threshold: of the ratio of the variances, strictly between 0 and 1.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, or not a number.
    """

    begin: int
    share: float
    threshold: float

    def check_settings(self) -> None:
        """Check the first step, the share and the threshold."""
        object.__setattr__(self, "begin", check_count("begin", self.begin))
        object.__setattr__(self, "share", check_share("share", self.share))
        object.__setattr__(self, "threshold", check_share("threshold", self.threshold))

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the last values vary little. Linear in the number of values.

        Raises:
            ValueError: a value lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        relative = distances(values)
        sums = np.concatenate([[0.0], np.cumsum(relative)])
        squares = np.concatenate([[0.0], np.cumsum(relative * relative)])
        counts = np.arange(1, len(values) + 1)
        before = ((1 - self.share) * counts).astype(np.int64)
        window = counts - before
        last = variance((sums[1:] - sums[before]) / window, (squares[1:] - squares[before]) / window)
        total = variance(sums[1:] / counts, squares[1:] / counts)
        ratios = np.divide(last, total, out=np.full(len(values), np.inf), where=total > 0)
        may_stop = (counts >= self.first_evaluation(self.begin)) & (window > 1) & (before > 0)
        held: Booleans = (ratios < self.threshold) & may_stop
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the sums over the window."""
        return _ProportionalCondition(self.first_evaluation(self.begin), self.share, self.threshold)


class _ProportionalCondition:
    def __init__(self, begin: int, share: float, threshold: float) -> None:
        self._begin, self._share, self._threshold = begin, share, threshold
        self._distances, self._before = Distances(), 0
        self._sums = deque([(0.0, 0.0)])  # the last covers all values, the first all before the window

    def update(self, value: float) -> bool:
        distance = self._distances.take(float(value))
        total, squares = self._sums[-1]
        self._sums.append((total + distance, squares + distance * distance))
        count = self._distances.count
        while self._before < int((1 - self._share) * count):
            self._sums.popleft()
            self._before += 1
        may_stop = count >= self._begin and count - self._before > 1 and self._before > 0
        return may_stop and self._is_stable(count)

    def _is_stable(self, count: int) -> bool:
        (old_total, old_squares), (total, squares) = self._sums[0], self._sums[-1]
        window = count - self._before
        last = variance((total - old_total) / window, (squares - old_squares) / window)
        total_variance = variance(total / count, squares / count)
        return total_variance > 0 and last / total_variance < self._threshold
