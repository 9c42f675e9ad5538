"""Hall: the range of L_det's last values relative to their mean (paper, appendix E)."""

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
class Hall(LDetCriterion):
    """Stops when max - min of the last n values < threshold * |their mean|, from n + 1 values on.

    The paper gives the quantity but no threshold; the comparison is ours.

    Example:
        >>> Hall(window=3, threshold=0.1).first_stop([9.0, 5.0, 3.0, 2.0, 2.0, 1.9, 1.9])
        6

    Attributes:
        window: n (appendix E), in steps, at least 2.
        threshold: for the range over the mean, above 0.
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
        """Return where the last values lie close together. Linear in the number of values.

        Raises:
            ValueError: a value lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        window = self.evaluations_in(self.window)
        held = np.zeros(len(values), dtype=bool)
        relative = distances(values)
        if len(values) <= window:
            return held
        highest, lowest = rolling_max(values, window)[1:], -rolling_max(-values, window)[1:]
        sums = np.cumsum(relative)
        means = values[0] + (sums[window:] - sums[:-window]) / window
        held[window:] = highest - lowest < self.threshold * np.abs(means)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh `HallCondition` with this window and threshold."""
        return HallCondition(self.evaluations_in(self.window), self.threshold)


def rolling_max(values: Floats, window: int) -> Floats:
    """Return the maximum of every `window` consecutive values, shape (values - window + 1,).

    The series is cut into blocks of the window's length, each with running maxima from both ends: every window is the
    end of a block and the beginning of the next (van Herk, 1992).

    Example:
        >>> rolling_max(np.array([1.0, 3.0, 2.0, 0.0]), window=2)
        array([3., 3., 2.])
    """
    count = len(values) - window + 1
    padded = np.full(-(-len(values) // window) * window, -np.inf)
    padded[: len(values)] = values
    blocks = padded.reshape(-1, window)
    forward = np.maximum.accumulate(blocks, axis=1).ravel()
    backward = np.maximum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.maximum(backward[:count], forward[window - 1 : window - 1 + count]))


class HallCondition:
    """Hall's condition value by value, each in amortized constant time, with memory for n + 1 values.

    Args:
        window: n, in values, valid as in `Hall`.
        threshold: valid as in `Hall`.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold, self._distances = window, threshold, Distances()
        self._first = 0.0
        self._sums = deque([0.0], maxlen=window + 1)
        self._highest: deque[tuple[int, float]] = deque()  # falling values, each the highest since its own step
        self._lowest: deque[tuple[int, float]] = deque()

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`.

        Raises:
            ValueError: it is not finite, or lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        value = float(value)
        distance = self._distances.take(value)
        count = self._distances.count
        if count == 1:
            self._first = value
        self._sums.append(self._sums[-1] + distance)
        _push(self._highest, count, value, self._window)
        _push(self._lowest, count, -value, self._window)
        if count <= self._window:
            return False
        mean = self._first + (self._sums[-1] - self._sums[0]) / self._window
        return self._highest[0][1] + self._lowest[0][1] < self._threshold * abs(mean)


def _push(peaks: deque[tuple[int, float]], count: int, value: float, window: int) -> None:
    """Add a value to a queue whose head is the highest of the last `window` values."""
    while peaks and peaks[-1][1] <= value:
        peaks.pop()
    peaks.append((count, value))
    if peaks[0][0] <= count - window:
        peaks.popleft()
