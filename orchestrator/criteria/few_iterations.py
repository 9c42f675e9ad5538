"""Few iterations: a number of steps that is fixed beforehand, the paper's oracle (section 4.2)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import Booleans, Condition, Criterion, Floats, check_count
from orchestrator.criteria.never import CountCondition


@dataclass(frozen=True)
class FewIterations(Criterion):
    """Stops after a fixed number of steps, whatever the loss; L_det need not be evaluated.

    The paper takes the mean, or the maximum, of the steps that CLIP-s needed on all concepts, which nobody knows
    beforehand.

    Example:
        >>> FewIterations(steps=3).first_stop([1.0, 1.0, 1.0, 1.0])
        3

    Attributes:
        steps: number of steps after which it stops, at least 1.

    Raises:
        ValueError: steps is not a whole number of at least 1.
    """

    series: ClassVar[str | None] = None

    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_count("steps", self.steps))

    def holds(self, values: Floats) -> Booleans:
        """Return True from value `steps` on, whatever the values are."""
        return np.arange(1, len(values) + 1) >= self.steps

    def condition(self) -> Condition:
        """Return a fresh `CountCondition` that holds from value number `steps` on."""
        return CountCondition(self.steps)
