"""Relative gain: how much of the whole fall of L_det its last values have brought."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_positive, check_window


@dataclass(frozen=True, repr=False)
class RelativeGain(LDetCriterion):
    """Stops when B - A < threshold * (L_1 - A) and A < L_1, from 2n evaluations on.

    A is the mean of the last n evaluations, B that of the n before them. Neither scale nor offset matters. On a
    straight line it stops just after n / threshold + (n + 1) / 2 evaluations, whatever the slope: like DVAR it is then
    a number of steps in disguise.

    Example:
        >>> RelativeGain(window=2, threshold=0.1).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.8])
        6

    Attributes:
        window: n, in steps, at least 1 evaluation.
        threshold: of the gain as a share of the whole fall, above 0.
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
        """Return where the gain is small. Linear in the number of values."""
        window = self.evaluations_in(self.window)
        held = np.zeros(len(values), dtype=bool)
        # Sums of distances from the first value: the sum over a window is -n times its fall.
        sums = np.concatenate([[0.0], np.cumsum(values - values[:1])])
        windows = sums[window:] - sums[:-window]
        before, last = windows[:-window], windows[window:]
        held[2 * window - 1 :] = (last < 0) & (before - last < self.threshold * -last)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the sums over two windows."""
        return _GainCondition(self.evaluations_in(self.window), self.threshold)


class _GainCondition:
    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold, self._first = window, threshold, 0.0
        self._count = 0
        self._sums = deque([0.0], maxlen=2 * window + 1)

    def update(self, value: float) -> bool:
        value = float(value)
        if self._count == 0:
            self._first = value
        self._count += 1
        self._sums.append(self._sums[-1] + (value - self._first))
        if self._count < 2 * self._window:
            return False
        middle = self._sums[self._window]
        before, last = middle - self._sums[0], self._sums[-1] - middle
        return last < 0 and before - last < self._threshold * -last
