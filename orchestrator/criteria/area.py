"""Area: how far L_det's recent mean lies below its mean over the whole run."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_count, check_not_negative, check_positive


@dataclass(frozen=True, repr=False)
class Area(LDetCriterion):
    """Stops when 1 - now > min_drop and all - now < threshold * (1 - now), from step `begin` on.

    "now" is the mean of the last third of the evaluations so far (rounded up), "all" the mean of all of them, both as
    multiples of the first; where L_det is relative, it is a multiple of the base model's loss already. All windows grow
    with the run: a loss that falls half as fast stops the run twice as late. On a straight line all - now is 0.4 times
    1 - now, whatever the slope; a threshold below that waits until the fall has slowed down.

    Its default setting was chosen after seeing all the runs on which it was tried, so it needs a test on fresh ones.

    Example:
        >>> Area(begin=5, threshold=0.2).first_stop([0.5 + 0.5 * 0.8**step for step in range(100)])
        24

    Attributes:
        begin: the first step at which it may stop, at least 1; about 3 % of the budget.
        threshold: of the area between "all" and "now" as a share of the fall so far, above 0.
        min_drop: how far L_det must have fallen, as a share of the first evaluation, at least 0.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, or not a number.
    """

    begin: int
    threshold: float
    min_drop: float = 0.02

    def check_settings(self) -> None:
        """Check the first step and the thresholds."""
        object.__setattr__(self, "begin", check_count("begin", self.begin))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        object.__setattr__(self, "min_drop", check_not_negative("min_drop", self.min_drop))

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the fall has slowed down; never where the first value is not above 0. Linear in their number."""
        first = values[0] if len(values) else np.nan
        unit = 1.0 if self.relative else first
        # Means of distances from the first value, to be exact far from zero.
        sums = np.concatenate([[0.0], np.cumsum(values - first)])
        counts = np.arange(1, len(values) + 1)
        before = 2 * counts // 3
        now = (sums[1:] - sums[before]) / (counts - before)
        fall = (unit - first) - now
        is_slow = (fall > self.min_drop * unit) & (sums[1:] / counts - now < self.threshold * fall)
        held: Booleans = is_slow & (unit > 0) & (counts >= self.first_evaluation(self.begin))
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the sums over the last third of the run."""
        return _AreaCondition(self)


class _AreaCondition:
    def __init__(self, area: Area) -> None:
        self._begin, self._area = area.first_evaluation(area.begin), area
        self._first, self._count = 0.0, 0
        self._sums = deque([0.0])  # the last covers all values, the first all before the last third
        self._before = 0

    def update(self, value: float) -> bool:
        value = float(value)
        if self._count == 0:
            self._first = value
        self._count += 1
        self._sums.append(self._sums[-1] + (value - self._first))
        while self._before < 2 * self._count // 3:
            self._sums.popleft()
            self._before += 1
        return self._count >= self._begin and self._is_slow()

    def _is_slow(self) -> bool:
        unit = 1.0 if self._area.relative else self._first
        now = (self._sums[-1] - self._sums[0]) / (self._count - self._before)
        fall = (unit - self._first) - now
        area = self._sums[-1] / self._count - now
        return unit > 0 and fall > self._area.min_drop * unit and area < self._area.threshold * fall
