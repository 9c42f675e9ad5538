"""Never: the full budget, the baseline of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import ArrayLike

from orchestrator.criteria.base import Criterion, OnlineCriterion, as_series, check_finite


@dataclass(frozen=True)
class Never(Criterion):
    """Never stops: training uses its whole budget, and L_det need not be evaluated."""

    series: ClassVar[str | None] = None

    def first_stop(self, values: ArrayLike) -> int | None:
        """Return None; see `Criterion.first_stop` for what is refused."""
        as_series(values)
        return None

    def online(self) -> OnlineCriterion:
        """Return a fresh object that never fires."""
        return OnlineNever()


class OnlineNever:
    """Never, value by value: refuses what is not finite, as every criterion does."""

    def __init__(self) -> None:
        self._count = 0

    def update(self, value: float) -> bool:
        """Return False; see `OnlineCriterion.update` for what is refused."""
        check_finite(float(value), self._count + 1)
        self._count += 1
        return False
