"""Never: the full budget, the baseline of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import Booleans, Condition, Criterion, Floats


@dataclass(frozen=True)
class Never(Criterion):
    """Never stops: training uses its whole budget, and L_det need not be evaluated.

    Example:
        >>> print(Never().first_stop([9.0, 5.0, 3.0]))
        None
    """

    series: ClassVar[str | None] = None

    def holds(self, values: Floats) -> Booleans:
        """Return False for every value."""
        return np.zeros(len(values), dtype=bool)

    def condition(self) -> Condition:
        """Return a fresh condition that never holds."""
        return CountCondition(None)


class CountCondition:
    """Holds from a given number of values on, whatever they are.

    Args:
        least: number of values; with None it never holds.
    """

    def __init__(self, least: int | None) -> None:
        self._least, self._count = least, 0

    def update(self, value: float) -> bool:
        """Count the next value, whatever it is; see `Condition.update`."""
        self._count += 1
        return self._least is not None and self._count >= self._least
