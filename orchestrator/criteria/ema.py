"""EMA percentile: the relative change of L_det's moving average (paper, appendix E)."""

from collections import deque
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import (
    Booleans,
    Condition,
    Floats,
    check_finite,
    check_positive,
    check_window,
)

#: Weight of the newest value in the moving average (appendix E), at a stride of one step.
WEIGHT = 0.1


@dataclass(frozen=True, repr=False)
class EMA(LDetCriterion):
    """Stops when |EMA(t) - EMA(t - n)| < threshold * |EMA(t - n)|, from n + 1 values on.

    EMA(1) is the first value; each later average is 0.1 times the newest value plus 0.9 times the last average. At a
    stride of k it is (1 - 0.9^k) and 0.9^k times, to forget as fast in steps. The paper gives the quantity but no
    threshold; the comparison is ours.

    Example:
        >>> EMA(window=2, threshold=0.01).first_stop([2.0, 1.0, 1.0] + 40 * [1.0])
        31

    Attributes:
        window: n (appendix E), in steps, at least 1.
        threshold: of the relative change, above 0.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds too few evaluations.
    """

    window: int
    threshold: float

    def check_settings(self) -> None:
        """Check the window and the threshold."""
        object.__setattr__(self, "window", check_window(self.window, 1))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        self.check_window_holds(self.window, 1)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the average has hardly changed over the window."""
        window = self.evaluations_in(self.window)
        held = np.zeros(len(values), dtype=bool)
        averages = moving_averages(values, weight_of(self.stride))
        then, now = averages[:-window], averages[window:]
        held[window:] = np.abs(now - then) < self.threshold * np.abs(then)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh `EMACondition` with this window and threshold."""
        return EMACondition(self.evaluations_in(self.window), self.threshold, weight_of(self.stride))


def weight_of(stride: int) -> float:
    """Return the newest evaluation's weight, for a moving average that forgets as fast, in steps, at every stride.

    Example:
        >>> weight_of(1), round(weight_of(2), 4)
        (0.1, 0.19)
    """
    return WEIGHT if stride == 1 else float(1 - (1 - WEIGHT) ** stride)


def moving_averages(values: Floats, weight: float) -> Floats:
    """Return the exponential moving average after each value, which begins at the first, shape (values,)."""
    # A recurrence: a pass in plain Python rounds like the online form.
    averages = accumulate(values.tolist(), lambda average, value: next_average(average, value, weight))
    return np.fromiter(averages, dtype=np.float64, count=len(values))


def next_average(average: float, value: float, weight: float) -> float:
    """Return the exponential moving average after one more value."""
    return weight * value + (1 - weight) * average


class EMACondition:
    """EMA's condition value by value, with memory for n + 1 averages.

    Args:
        window: n, in values, valid as in `EMA`.
        threshold: valid as in `EMA`.
        weight: of the newest value.
    """

    def __init__(self, window: int, threshold: float, weight: float) -> None:
        self._window, self._threshold, self._weight, self._count = window, threshold, weight, 0
        self._averages: deque[float] = deque(maxlen=window + 1)

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`."""
        value = float(value)
        self._count += 1
        check_finite(value, self._count)
        self._averages.append(next_average(self._averages[-1], value, self._weight) if self._averages else value)
        if self._count <= self._window:
            return False
        then, now = self._averages[0], self._averages[-1]
        return abs(now - then) < self._threshold * abs(then)
