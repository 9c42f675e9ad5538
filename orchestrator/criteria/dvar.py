"""DVAR, Deterministic Variance Evaluation: the paper's criterion (section 3.3)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import (
    Booleans,
    Condition,
    Distances,
    Floats,
    as_series,
    check_share,
    check_window,
    distances,
)

FloatOrFloats = TypeVar("FloatOrFloats", float, Floats)


@dataclass(frozen=True, repr=False)
class DVAR(LDetCriterion):
    """Stops when Var(last N values) < alpha * Var(all values so far).

    Both are population variances. It never stops before N + 1 values (at N the two are equal), nor on a constant
    series. To be both fast and exact far from zero, values are taken relative to the first, and variances come
    from running sums of them and of their squares, in the same order of operations here and online.

    Example:
        >>> DVAR(window=3, threshold=0.15).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        5

    Attributes:
        window: N (section 3.3), in steps, at least 2.
        threshold: alpha (section 3.3), strictly between 0 and 1.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds fewer than two evaluations.
    """

    window: int
    threshold: float

    def check_settings(self) -> None:
        """Check the window and the threshold."""
        object.__setattr__(self, "window", check_window(self.window))
        object.__setattr__(self, "threshold", check_share("threshold", self.threshold))
        self.check_window_holds(self.window, 2)

    @property
    def window_in_evaluations(self) -> int:
        """Number of evaluations of L_det in the window: the nearest whole number, halves rounded up."""
        return self.evaluations_in(self.window)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the last values vary little. Linear in the number of values.

        Raises:
            ValueError: a value lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        held = np.zeros(len(values), dtype=bool)
        (ratios,) = variance_ratios(values, [self.window_in_evaluations])
        held[self.window_in_evaluations :] = ratios < self.threshold
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh `VarianceCondition` with this window and threshold."""
        return VarianceCondition(self.window_in_evaluations, self.threshold)


def variance_ratios(values: ArrayLike, windows: Sequence[int]) -> Iterator[Floats]:
    """Yield, for each window, the variance of its values over that of all values so far.

    Args:
        values: the whole series, shape (values,), finite.
        windows: in values, each at least 2.

    Yields:
        Ratios from value N + 1 on, shape (values - window,), infinite where all values so far are equal; empty for a
        series that is no longer than the window.

    Raises:
        ValueError: the series is not one-dimensional, not finite, or a value lies more than 1e150, or less than 1e-150
            but not 0, from the first.
    """
    relative = distances(as_series(values))
    sums, squares = np.cumsum(relative), np.cumsum(relative * relative)
    counts = np.arange(1, len(relative) + 1)
    totals = variance(sums / counts, squares / counts)
    for window in windows:
        variances = variance((sums[window:] - sums[:-window]) / window, (squares[window:] - squares[:-window]) / window)
        total = totals[window:]
        yield np.divide(variances, total, out=np.full(len(total), np.inf), where=total > 0)


def first_stops(values: ArrayLike, windows: Sequence[int], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return where DVAR stops for every pair of a window and a threshold, exactly as `DVAR.first_stop` does.

    The running minimum of the ratios falls, so bisection finds all thresholds in it: linear in the number of values for
    each window, whatever the number of thresholds.

    Example:
        >>> first_stops([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9], windows=[3, 4], thresholds=[0.01, 0.15])
        array([[6, 5],
               [7, 6]])

    Args:
        values: the whole series, shape (values,), finite.
        windows: N, in steps, each at least 2.
        thresholds: alpha, each strictly between 0 and 1.

    Returns:
        Steps, shape (windows, thresholds); 0 where it never stops.

    Raises:
        ValueError: a setting that `DVAR` refuses, or a series that `variance_ratios` refuses.
    """
    for window in windows:
        check_window(window)
    for threshold in thresholds:
        check_share("threshold", threshold)
    stops = np.zeros((len(windows), len(thresholds)), dtype=np.int64)
    limits = np.asarray(thresholds, dtype=np.float64)
    for row, (window, ratios) in enumerate(zip(windows, variance_ratios(values, windows), strict=True)):
        index = np.searchsorted(-np.minimum.accumulate(ratios), -limits, side="right")
        stops[row] = np.where(index < len(ratios), index + window + 1, 0)
    return stops


class VarianceCondition:
    """DVAR's condition value by value, each in constant time, with memory for N + 1 pairs of sums.

    Args:
        window: N, in values, valid as in `DVAR`.
        threshold: alpha, valid as in `DVAR`.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold, self._distances = window, threshold, Distances()
        self._sums = deque([(0.0, 0.0)], maxlen=window + 1)  # the last covers all values, the first all but the last N

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`.

        Raises:
            ValueError: it is not finite, or lies more than 1e150, or less than 1e-150 but not 0, from the first.
        """
        distance = self._distances.take(float(value))
        total, squares = self._sums[-1]
        self._sums.append((total + distance, squares + distance * distance))
        return self._distances.count > self._window and self._is_stable()

    def _is_stable(self) -> bool:
        (old_total, old_squares), (total, squares) = self._sums[0], self._sums[-1]
        count = self._distances.count
        window_variance = variance((total - old_total) / self._window, (squares - old_squares) / self._window)
        total_variance = variance(total / count, squares / count)
        return total_variance > 0 and window_variance / total_variance < self._threshold


def variance(mean: FloatOrFloats, mean_square: FloatOrFloats) -> FloatOrFloats:
    """Return the variance of values with a mean and a mean square, for numbers and arrays alike."""
    return mean_square - mean * mean
