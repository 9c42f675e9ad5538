"""DVAR, Deterministic Variance Evaluation: the paper's criterion (section 3.3)."""

from collections import deque
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from orchestrator.criteria.base import L_DET, Criterion, Floats, OnlineCriterion, as_series, check_finite

#: Beyond this distance from the first value squares come near the largest float64, 1.8e308.
MAX_DISTANCE = 1e150

FloatOrFloats = TypeVar("FloatOrFloats", float, Floats)


@dataclass(frozen=True)
class DVAR(Criterion):
    """Stops when Var(last N values) < alpha * Var(all values so far).

    Both are population variances. It never stops before N + 1 values (at N the two are equal), nor on a constant
    series. To be both fast and exact far from zero, values are taken relative to the first one, and variances come
    from running sums of them and of their squares, in the same order of operations here and online.

    Example:
        >>> DVAR(window=3, threshold=0.15).first_stop([9.0, 5.0, 3.0, 2.0, 1.9, 1.9, 1.9])
        6

    Attributes:
        window: N (section 3.3), in values, at least 2.
        threshold: alpha (section 3.3), strictly between 0 and 1.

    Raises:
        ValueError: window or threshold is out of range, or not a number.
    """

    series: ClassVar[str | None] = L_DET

    window: int
    threshold: float

    def __post_init__(self) -> None:
        if not isinstance(self.window, Integral) or isinstance(self.window, bool) or self.window < 2:
            raise ValueError(f"window must be a whole number of at least 2 values, got {self.window!r}")
        if not isinstance(self.threshold, Real) or not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie strictly between 0 and 1, got {self.threshold!r}")
        # NumPy's numbers become plain ones, so that `repr` is the same whoever made the criterion.
        object.__setattr__(self, "window", int(self.window))
        object.__setattr__(self, "threshold", float(self.threshold))

    def first_stop(self, values: ArrayLike) -> int | None:
        """Return how many values there are at the stop; see `Criterion.first_stop`. Linear in their number.

        Raises:
            ValueError: as there; also when a value lies more than 1e150 from the first one.
        """
        distances = _distances(as_series(values))
        window, total = self.window, len(distances)
        if total <= window:
            return None
        sums, squares = np.cumsum(distances), np.cumsum(distances * distances)
        counts = np.arange(window + 1, total + 1)
        window_variance = _variance(
            (sums[window:] - sums[:-window]) / window, (squares[window:] - squares[:-window]) / window
        )
        total_variance = _variance(sums[window:] / counts, squares[window:] / counts)
        stops = np.flatnonzero(window_variance < self.threshold * total_variance)
        return int(counts[stops[0]]) if stops.size else None

    def online(self) -> OnlineCriterion:
        """Return a fresh `OnlineDVAR`."""
        return OnlineDVAR(self.window, self.threshold)


class OnlineDVAR:
    """DVAR value by value: constant time each, memory for N + 1 pairs of sums.

    Args:
        window: N, valid as in `DVAR`.
        threshold: alpha, valid as in `DVAR`.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold = window, threshold
        self._count, self._first, self._has_fired = 0, 0.0, False
        self._sums = deque([(0.0, 0.0)], maxlen=window + 1)  # the last is of all values, the first of all but N

    def update(self, value: float) -> bool:
        """Take the next value; see `OnlineCriterion.update`.

        Raises:
            ValueError: it is not finite, or lies more than 1e150 from the first one.
        """
        distance = self._distance(float(value))
        self._count += 1
        total, squares = self._sums[-1]
        self._sums.append((total + distance, squares + distance * distance))
        self._has_fired = self._has_fired or (self._count > self._window and self._is_stable())
        return self._has_fired

    def _distance(self, value: float) -> float:
        check_finite(value, self._count + 1)
        if self._count == 0:
            self._first = value
        distance = value - self._first
        if abs(distance) > MAX_DISTANCE:
            raise ValueError(_too_far(value, self._first, self._count + 1))
        return distance

    def _is_stable(self) -> bool:
        (old_total, old_squares), (total, squares) = self._sums[0], self._sums[-1]
        window_variance = _variance((total - old_total) / self._window, (squares - old_squares) / self._window)
        total_variance = _variance(total / self._count, squares / self._count)
        return window_variance < self._threshold * total_variance


def _variance(mean: FloatOrFloats, mean_square: FloatOrFloats) -> FloatOrFloats:
    return mean_square - mean * mean


def _distances(series: Floats) -> Floats:
    """Return every value's distance from the first one."""
    with np.errstate(over="ignore"):  # an infinite distance is refused below
        distances = series - series[:1]
    far = np.flatnonzero(np.abs(distances) > MAX_DISTANCE)
    if far.size:
        raise ValueError(_too_far(float(series[far[0]]), float(series[0]), int(far[0]) + 1))
    return distances


def _too_far(value: float, first: float, position: int) -> str:
    return (
        f"value {position} of the series is {value}, more than {MAX_DISTANCE:g} from the first one ({first}): "
        "its variance cannot be computed"
    )
