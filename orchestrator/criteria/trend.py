"""Trend: the slope of a line through L_det's last values (paper, appendix E)."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import (
    Booleans,
    Condition,
    Distances,
    Floats,
    check_positive,
    check_window,
    distances,
)


@dataclass(frozen=True, repr=False)
class Trend(LDetCriterion):
    """Stops when the least-squares line through the last n values has |slope| < threshold, from n + 1 values on.

    The slope has a closed form: sums of the values and of their products with the step, both running. The paper gives
    the quantity but no threshold; the comparison is ours.

    Example:
        >>> Trend(window=3, threshold=0.5).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        6

    Attributes:
        window: n (appendix E), in steps, at least 2.
        threshold: of the slope, in loss per step, above 0.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds too few evaluations.
    """

    window: int
    threshold: float

    def check_settings(self) -> None:
        """Check the window and the threshold."""
        object.__setattr__(self, "window", check_window(self.window))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        self.check_window_holds(self.window, 2)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the line is nearly flat. Linear in the number of values.

        Raises:
            ValueError: a value lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        window = self.evaluations_in(self.window)
        held = np.zeros(len(values), dtype=bool)
        relative = distances(values)
        counts = np.arange(1.0, len(values) + 1)
        sums, products = np.cumsum(relative), np.cumsum(counts * relative)
        # Differences of running sums; the first complete window is left out, as nothing comes before it.
        total = sums[window:] - sums[:-window]
        product = products[window:] - products[:-window]
        middle = counts[window:] - (window - 1) / 2
        held[window:] = np.abs(product - middle * total) < self.threshold * self.stride * _spread(window)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh `TrendCondition` with this window and threshold."""
        return TrendCondition(self.evaluations_in(self.window), self.threshold * self.stride)


def _spread(window: int) -> float:
    """Return the sum of squared distances of the window's steps from their middle."""
    return window * (window * window - 1) / 12


class TrendCondition:
    """Trend's condition value by value, each in constant time, with memory for n + 1 pairs of sums.

    Args:
        window: n, in values, valid as in `Trend`.
        threshold: in loss per value, above 0.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._limit, self._distances = window, threshold * _spread(window), Distances()
        self._sums = deque([(0.0, 0.0)], maxlen=window + 1)

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`.

        Raises:
            ValueError: it is not finite, or lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        distance = self._distances.take(float(value))
        count, (total, product) = self._distances.count, self._sums[-1]
        self._sums.append((total + distance, product + count * distance))
        if count <= self._window:
            return False
        (old_total, old_product), (total, product) = self._sums[0], self._sums[-1]
        middle = count - (self._window - 1) / 2
        return abs((product - old_product) - middle * (total - old_total)) < self._limit
