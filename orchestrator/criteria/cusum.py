"""CUSUM: the fall of L_det lags behind that of the beginning, summed up (Page, 1954)."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_positive, check_window


@dataclass(frozen=True, repr=False)
class CUSUM(LDetCriterion):
    """Stops when a cumulative sum of missing falls, C_t > threshold * D, from n + 2 evaluations on.

    D = L_1 - L_{n+1} is the fall over the first window, and C_{n+1} = 0. From then on

        C_t = max(0, C_{t-1} + D / (2n) - (L_{t-1} - L_t)):

    each evaluation is expected to fall by half of what one fell at first, and C adds up what is missing. This is Page's
    one-sided scheme (1954, "Continuous inspection schemes") for a fall whose mean drops from D / n to nothing, with the
    reference value in the middle. A loss that stops falling altogether stops the run just after 2n * threshold further
    evaluations. Where L_det does not fall over the first window, it never stops.

    Example:
        >>> CUSUM(window=2, threshold=1.0).first_stop([9.0, 7.0, 5.0, 4.5, 4.2, 4.1, 4.1, 4.1, 4.1])
        8

    Attributes:
        window: n, in steps, at least 1 evaluation.
        threshold: in multiples of the fall over the first window, above 0.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds no evaluation.
    """

    window: int
    threshold: float

    def check_settings(self) -> None:
        """Check the window and the threshold."""
        object.__setattr__(self, "window", check_window(self.window, 1))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        self.check_window_holds(self.window, 1)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where too much of the fall is missing. Linear in the number of values."""
        window = self.evaluations_in(self.window)
        held = np.zeros(len(values), dtype=bool)
        if len(values) <= window + 1:
            return held
        fall = float(values[0] - values[window])
        missing = fall / (2 * window) - (values[window:-1] - values[window + 1 :])
        # A recurrence: a pass in plain Python rounds like the online form.
        sums = np.fromiter(accumulate(missing.tolist(), _next, initial=0.0), dtype=np.float64)[1:]
        held[window + 1 :] = (sums > self.threshold * fall) & (fall > 0)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the fall over the first window, and the sum."""
        return _CUSUMCondition(self.evaluations_in(self.window), self.threshold)


def _next(total: float, missing: float) -> float:
    return max(0.0, total + missing)


class _CUSUMCondition:
    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold = window, threshold
        self._count, self._first, self._last, self._fall, self._sum = 0, 0.0, 0.0, 0.0, 0.0

    def update(self, value: float) -> bool:
        value = float(value)
        self._count += 1
        if self._count == 1:
            self._first = value
        if self._count == self._window + 1:
            self._fall = self._first - value
        if self._count > self._window + 1:
            self._sum = _next(self._sum, self._fall / (2 * self._window) - (self._last - value))
        self._last = value
        return self._count > self._window + 1 and self._fall > 0 and self._sum > self._threshold * self._fall
