"""Means over the seeds of each concept: every concept has the same weight, whatever its number of seeds."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TypeVar

T = TypeVar("T")


def over_seeds(
    concepts: Sequence[str],
    values: Sequence[T],
    mean: Callable[[list[T]], T] = fmean,  # type: ignore[assignment]
) -> dict[str, T]:
    """Return each concept's mean over its seeds, in the order in which concepts first appear.

    Args:
        concepts: name of the concept of each value.
        values: numbers, or whatever `mean` takes.
        mean: of one concept's values.

    Example:
        >>> over_seeds(["cat", "dog", "cat"], [1.0, 5.0, 2.0])
        {'cat': 1.5, 'dog': 5.0}
    """
    groups: dict[str, list[T]] = {}
    for concept, value in zip(concepts, values, strict=True):
        groups.setdefault(concept, []).append(value)
    return {concept: mean(group) for concept, group in groups.items()}
