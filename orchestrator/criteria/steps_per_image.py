"""Steps per image: a number of steps in proportion to the training images, as trainers' guides give it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from orchestrator.criteria.base import Booleans, Condition, Criterion, Floats, check_count
from orchestrator.criteria.never import CountCondition


@dataclass(frozen=True)
class StepsPerImage(Criterion):
    """Stops after steps * images steps, whatever the loss; L_det need not be evaluated.

    It is here because many follow it. Where it was measured, fewer images were learned more slowly, not faster.

    Example:
        >>> StepsPerImage(steps=2).for_images(3)
        StepsPerImage(steps=2, images=3)
        >>> StepsPerImage(steps=2, images=3).first_stop([1.0] * 10)
        6

    Attributes:
        steps: per image, at least 1.
        images: number of training images, at least 1; a run and a replay set it to those of their concept.

    Raises:
        ValueError: `steps` or `images` is not a whole number of at least 1.
    """

    series: ClassVar[str | None] = None

    steps: int
    images: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_count("steps", self.steps))
        object.__setattr__(self, "images", check_count("images", self.images))

    def for_images(self, images: int) -> Criterion:
        """Return the criterion for a concept with a number of training images."""
        return replace(self, images=images)

    def holds(self, values: Floats) -> Booleans:
        """Return True from value steps * images on, whatever the values are."""
        return np.arange(1, len(values) + 1) >= self.steps * self.images

    def condition(self) -> Condition:
        """Return a fresh `CountCondition` that holds from value number steps * images on."""
        return CountCondition(self.steps * self.images)
