"""Criterion: the interface of a stopping criterion, one file a criterion."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

L_DET = "l_det"


class OnlineCriterion(Protocol):
    """A criterion at work on one series that grows a value at a time; can be pickled at any point."""

    def update(self, value: float) -> bool:
        """Take the next value; return whether the criterion has fired, now or before.

        Raises:
            ValueError: the value is not finite; the message holds its 1-based position.
        """


class Criterion(ABC):
    """A rule that says, from a series alone, when training is done.

    Criteria are frozen dataclasses: equal settings are equal, and `repr` is their label. `first_stop` and the
    object that `online` makes agree on every series.

    Attributes:
        series: what it watches: "l_det" (a value a step), or None when it looks at no value.
    """

    series: ClassVar[str | None]

    @abstractmethod
    def first_stop(self, values: ArrayLike) -> int | None:
        """Return how many values there are at the stop, counted from 1; None when it never stops.

        Args:
            values: the whole series, shape (values,), finite.

        Raises:
            ValueError: the series is not one-dimensional, or a value is not finite (its 1-based position is named).
        """

    @abstractmethod
    def online(self) -> OnlineCriterion:
        """Return a fresh object that decides value by value, in constant time each."""

    @property
    def needs_l_det(self) -> bool:
        """Whether L_det must be evaluated for it, and so its time counts."""
        return self.series == L_DET


def as_series(values: ArrayLike) -> Floats:
    """Return `values` as float64, shape (values,).

    Raises:
        ValueError: they are not one-dimensional, or not all finite.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"values must be one series of shape (values,), got shape {series.shape}")
    bad = np.flatnonzero(~np.isfinite(series))
    if bad.size:
        check_finite(float(series[bad[0]]), int(bad[0]) + 1)
    return series


def check_finite(value: float, position: int) -> None:
    """Refuse NaN and infinities.

    Raises:
        ValueError: naming the value and its 1-based position.
    """
    if not math.isfinite(value):
        raise ValueError(f"value {position} of the series is {value}; a stopping criterion takes finite values only")
