"""EMA percentile: the relative change of L_det's moving average (paper, appendix E)."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import (
    L_DET,
    Booleans,
    Condition,
    Criterion,
    Floats,
    check_finite,
    check_positive,
    check_window,
)

#: Weight of the newest value in the moving average (appendix E).
WEIGHT = 0.1


@dataclass(frozen=True)
class EMA(Criterion):
    """Stops when |EMA(t) - EMA(t - n)| < threshold * |EMA(t - n)|, from n + 1 values on.

    EMA(1) is the first value; each later average is 0.1 times the newest value plus 0.9 times the last average. The
    paper gives the quantity but no threshold; the comparison is ours.

    Example:
        >>> EMA(window=2, threshold=0.01).first_stop([2.0, 1.0, 1.0] + 40 * [1.0])
        31

    Attributes:
        window: n (appendix E), in steps, at least 1.
        threshold: of the relative change, above 0.

    Raises:
        ValueError: `window` or `threshold` is out of range, or not a number.
    """

    series: ClassVar[str | None] = L_DET

    window: int
    threshold: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", check_window(self.window, 1))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))

    def holds(self, values: Floats) -> Booleans:
        """Return where the average has hardly changed over the window."""
        held = np.zeros(len(values), dtype=bool)
        averages = np.fromiter(_averages(values.tolist()), dtype=np.float64, count=len(values))
        then, now = averages[: -self.window], averages[self.window :]
        held[self.window :] = np.abs(now - then) < self.threshold * np.abs(then)
        return held

    def condition(self) -> Condition:
        """Return a fresh `EMACondition` with this window and threshold."""
        return EMACondition(self.window, self.threshold)


def _averages(values: Iterable[float]) -> Iterator[float]:
    # A recurrence: a pass in plain Python rounds like the online form, and serves every window and threshold.
    return accumulate(values, _next)


def _next(average: float, value: float) -> float:
    return WEIGHT * value + (1 - WEIGHT) * average


class EMACondition:
    """EMA's condition value by value, with memory for n + 1 averages.

    Args:
        window: n, valid as in `EMA`.
        threshold: valid as in `EMA`.
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold, self._count = window, threshold, 0
        self._averages: deque[float] = deque(maxlen=window + 1)

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`."""
        value = float(value)
        self._count += 1
        check_finite(value, self._count)
        self._averages.append(_next(self._averages[-1], value) if self._averages else value)
        if self._count <= self._window:
            return False
        then, now = self._averages[0], self._averages[-1]
        return abs(now - then) < self._threshold * abs(then)
