"""CLIP-s: patience with the quality of samples, the paper's expensive baseline (section 4.2)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import (
    Booleans,
    Condition,
    Criterion,
    Floats,
    check_count,
    check_finite,
    check_not_negative,
)
from trainables.settings import TRAIN_IMAGE


@dataclass(frozen=True)
class ClipScore(Criterion):
    """Stops when the CLIP score of samples has not improved for more than `patience` consecutive snapshots.

    The first score is an improvement, and so is each score that exceeds the last improvement by more than
    `min_improvement`. The snapshot with the best score is kept, not the last.

    Example:
        >>> ClipScore(patience=2, min_improvement=0.02).first_stop([0.5, 0.6, 0.61, 0.6, 0.6, 0.6])
        5

    Attributes:
        patience: number of snapshots in a row that may fail to improve, at least 1.
        min_improvement: by which a score must exceed the last improvement, at least 0.

    Raises:
        ValueError: `patience` or `min_improvement` is out of range, or not a number.
    """

    series: ClassVar[str | None] = TRAIN_IMAGE
    keeps_best: ClassVar[bool] = True

    patience: int
    min_improvement: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "patience", check_count("patience", self.patience))
        object.__setattr__(self, "min_improvement", check_not_negative("min_improvement", self.min_improvement))

    def holds(self, values: Floats) -> Booleans:
        """Return where patience has run out; a loop, as there are few snapshots and each depends on the last."""
        condition = self.condition()
        return np.array([condition.update(value) for value in values.tolist()], dtype=bool)

    def condition(self) -> Condition:
        """Return a fresh `PatienceCondition` with this patience and improvement."""
        return PatienceCondition(self.patience, self.min_improvement)


class PatienceCondition:
    """CLIP-s's condition value by value.

    Args:
        patience: valid as in `ClipScore`.
        min_improvement: valid as in `ClipScore`.
    """

    def __init__(self, patience: int, min_improvement: float) -> None:
        self._patience, self._min_improvement = patience, min_improvement
        self._count, self._failures, self._best = 0, 0, -float("inf")

    def update(self, value: float) -> bool:
        """Process the next value; see `Condition.update`."""
        value = float(value)
        self._count += 1
        check_finite(value, self._count)
        if value > self._best + self._min_improvement:
            self._best, self._failures = value, 0
        else:
            self._failures += 1
        return self._failures > self._patience
