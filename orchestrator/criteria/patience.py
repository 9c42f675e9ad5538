"""Patience: no improvement of L_det for some time, which users of trainers know as early stopping."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_not_negative, check_window


@dataclass(frozen=True, repr=False)
class Patience(LDetCriterion):
    """Stops when L_det has not improved for `window` steps, and keeps the snapshot where it was lowest.

    The first value is an improvement, and so is each value more than `min_delta` below the last improvement, as in
    Keras's EarlyStopping. With `batch="held_out"` it watches images that are never trained on, where a rise means that
    the model memorises the others.

    Example:
        >>> patience = Patience(window=2)
        >>> patience.first_stop([9.0, 5.0, 3.0, 4.0, 3.0, 3.0])
        5
        >>> patience.best_step([9.0, 5.0, 3.0, 4.0, 3.0, 3.0], stop=5)
        3

    Attributes:
        window: how many steps may pass without an improvement, at least 1.
        min_delta: by how much a value must be below the last improvement, in the unit of L_det, at least 0.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`.

    Raises:
        ValueError: a setting is out of range, not a number, or the window holds no evaluation.
    """

    keeps_best: ClassVar[bool] = True

    window: int
    min_delta: float = 0.0

    def check_settings(self) -> None:
        """Check the window and the least improvement."""
        object.__setattr__(self, "window", check_window(self.window, 1))
        object.__setattr__(self, "min_delta", check_not_negative("min_delta", self.min_delta))
        self.check_window_holds(self.window, 1)

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the last improvement is a window ago. Linear in the number of values."""
        lowest = np.minimum.accumulate(values)
        # Every improvement is a new minimum, so that a loop over these few is enough.
        minima = np.flatnonzero(values < np.concatenate([[np.inf], lowest[:-1]]))
        improved, best = np.zeros(len(values), dtype=np.int64), np.inf
        for index in minima.tolist():
            if values[index] < best - self.min_delta:
                improved[index], best = index + 1, values[index]
        since = np.arange(1, len(values) + 1) - np.maximum.accumulate(improved)
        held: Booleans = since >= self.evaluations_in(self.window)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the last improvement."""
        return _NoImprovementCondition(self.evaluations_in(self.window), self.min_delta)


class _NoImprovementCondition:
    def __init__(self, window: int, min_delta: float) -> None:
        self._window, self._min_delta = window, min_delta
        self._best, self._since = float("inf"), 0

    def update(self, value: float) -> bool:
        value = float(value)
        if value < self._best - self._min_delta:
            self._best, self._since = value, 0
        else:
            self._since += 1
        return self._since >= self._window
