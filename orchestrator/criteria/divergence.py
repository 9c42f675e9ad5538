"""Divergence: the held-out loss moves away from the training loss, the sign of overfitting."""

from dataclasses import dataclass, field

import numpy as np

from orchestrator.criteria._l_det import LDetCriterion
from orchestrator.criteria.base import Booleans, Condition, Floats, check_positive, check_window
from trainables.settings import GAP


@dataclass(frozen=True, repr=False)
class Divergence(LDetCriterion):
    """Stops when held-out minus training L_det has exceeded its minimum by more than a threshold for `window` steps.

    Both batches are fixed, so their difference at the beginning says only which images are harder; what counts is how
    much it has grown since it was smallest. A gap that grows is not yet a held-out loss that rises (Prechelt, 1998,
    "Early stopping - but when?", stops on the latter): for that rule, use `Patience(window, batch="held_out")`.

    Example:
        >>> Divergence(window=2, threshold=0.1).first_stop([0.02, 0.01, 0.05, 0.15, 0.1, 0.2, 0.3])
        7

    Attributes:
        window: for how many steps in a row the gap must be that large, at least 1.
        threshold: of the gap's rise above its minimum, above 0; a share of the base model's loss where L_det is
            relative, else a loss.
        stride, inputs, relative, batch, first_timestep: how L_det is evaluated; see `LDetCriterion`. Here, `relative`
            is true unless it is given, and `batch` is always "gap".

    Raises:
        ValueError: a setting is out of range, not a number, the window holds no evaluation, or another batch is given.
    """

    window: int
    threshold: float
    relative: bool = field(default=True, kw_only=True)
    batch: str = field(default=GAP, kw_only=True)

    def check_settings(self) -> None:
        """Check the window, the threshold and the batch."""
        object.__setattr__(self, "window", check_window(self.window, 1))
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        self.check_window_holds(self.window, 1)
        if self.batch != GAP:
            raise ValueError(f"batch must be {GAP!r}, held-out minus training loss, got {self.batch!r}; leave it out")

    def holds_at_evaluations(self, values: Floats) -> Booleans:
        """Return where the gap has been wide for a window. Linear in the number of values."""
        is_wide = values - np.minimum.accumulate(values) > self.threshold
        counts = np.arange(1, len(values) + 1)
        last_narrow = np.maximum.accumulate(np.where(is_wide, 0, counts))
        held: Booleans = counts - last_narrow >= self.evaluations_in(self.window)
        return held

    def evaluation_condition(self) -> Condition:
        """Return a fresh condition that remembers the minimum, and since when the gap has been wide."""
        return _DivergenceCondition(self.evaluations_in(self.window), self.threshold)


class _DivergenceCondition:
    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold = window, threshold
        self._lowest, self._run = float("inf"), 0

    def update(self, value: float) -> bool:
        value = float(value)
        self._lowest = min(self._lowest, value)
        self._run = self._run + 1 if value - self._lowest > self._threshold else 0
        return self._run >= self._window
