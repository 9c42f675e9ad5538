"""Criterion: the interface of a stopping criterion, and the checks and sums that criteria share."""

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.settings import LDetSchedule

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

L_DET = "l_det"
TRAIN_IMAGE = "train_clip_image"

#: Beyond this distance from the first value, squares approach the largest float64, 1.8e308.
MAX_DISTANCE = 1e150


class Condition(Protocol):
    """A criterion's condition on a series that grows value by value; can be pickled at any point."""

    def update(self, value: float) -> bool:
        """Process the next value, finite where the criterion looks at it; return whether the condition holds now."""


class OnlineCriterion:
    """A criterion at work on a series that grows value by value; can be pickled at any point.

    Args:
        condition: the criterion's, fresh.
        every: stride of the values at which the criterion looks; None if it looks at none.
    """

    def __init__(self, condition: Condition, every: int | None = 1) -> None:
        self._condition, self._every, self._count, self._has_fired = condition, every, 0, False

    def update(self, value: float) -> bool:
        """Process the next value; return whether the criterion has fired, now or before.

        Raises:
            ValueError: the criterion looks at the value, which is not finite; the message has its 1-based position.
        """
        self._count += 1
        if self._every is not None and self._count % self._every == 0:
            check_finite(float(value), self._count)
        self._has_fired = self._condition.update(value) or self._has_fired
        return self._has_fired


class Criterion(ABC):
    """Decides, from a series alone, when training is done: as soon as its condition holds.

    Criteria are frozen dataclasses: equal settings make equal criteria, and `repr` is their label. A criterion
    implements `holds`, over a whole series at once, and `condition`, value by value in constant time; the two agree on
    every series to the last bit.

    Attributes:
        series: what it watches: "l_det" (one value per step), a quality metric such as "train_clip_image" (one value
            per snapshot), or None if it looks at no value.
        keeps_best: whether the best snapshot up to the stop is kept, rather than the last.
        l_det_schedule: how L_det is evaluated for it; it ignores values between evaluations, which may be NaN.
    """

    series: ClassVar[str | None]
    keeps_best: ClassVar[bool] = False
    l_det_schedule: LDetSchedule = LDetSchedule()

    @abstractmethod
    def holds(self, values: Floats) -> Booleans:
        """Return whether the condition holds after each value, shape (values,).

        Args:
            values: the whole series, shape (values,), finite where it looks.
        """

    @abstractmethod
    def condition(self) -> Condition:
        """Return a fresh condition that processes value by value, each in constant time."""

    def first_stop(self, values: ArrayLike) -> int | None:
        """Return the 1-based position of the value at which it stops; None if it never stops.

        Args:
            values: the whole series, shape (values,), finite where it looks.

        Raises:
            ValueError: the series is not one-dimensional, or a value at which it looks is not finite (the message has
                its 1-based position).
        """
        stops = np.flatnonzero(self.holds(as_series(values, self._looks_every)))
        return int(stops[0]) + 1 if stops.size else None

    def online(self) -> OnlineCriterion:
        """Return a fresh object that decides value by value, each in constant time."""
        return OnlineCriterion(self.condition(), self._looks_every)

    @property
    def _looks_every(self) -> int | None:
        """Stride of the values at which it looks; None if it looks at none."""
        return None if self.series is None else self.l_det_schedule.every

    @property
    def decides_by_step(self) -> bool:
        """Whether it decides step by step; otherwise it watches snapshots, which a live run does not take."""
        return self.series in (None, L_DET)

    @property
    def needs_l_det(self) -> bool:
        """Whether it needs evaluations of L_det, whose time then counts as its cost."""
        return self.series == L_DET


def as_series(values: ArrayLike, every: int | None = 1) -> Floats:
    """Return `values` as float64, shape (values,).

    Args:
        values: anything that NumPy converts.
        every: stride of the values that must be finite; None if none must be.

    Raises:
        ValueError: the values are not one-dimensional, or one that must be finite is not.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"values must be a single series of shape (values,), got shape {series.shape}")
    if every is not None:
        bad = np.flatnonzero(~np.isfinite(series[every - 1 :: every]))
        if bad.size:
            position = (int(bad[0]) + 1) * every
            check_finite(float(series[position - 1]), position)
    return series


def check_finite(value: float, position: int) -> None:
    """Check that a value is neither NaN nor infinite.

    Raises:
        ValueError: it is; the message has the value and its 1-based position.
    """
    if not math.isfinite(value):
        raise ValueError(f"value {position} of the series is {value}; a stopping criterion takes finite values only")


class Distances:
    """Distances of values from the first, value by value; sums of distances are exact even far from zero.

    Attributes:
        count: number of values so far.
    """

    def __init__(self) -> None:
        self.count, self._first = 0, 0.0

    def take(self, value: float) -> float:
        """Return the next value's distance from the first.

        Raises:
            ValueError: it is not finite, or lies more than `MAX_DISTANCE` from the first.
        """
        check_finite(value, self.count + 1)
        if self.count == 0:
            self._first = value
        self.count += 1
        distance = value - self._first
        if abs(distance) > MAX_DISTANCE:
            raise ValueError(_too_far(value, self._first, self.count))
        return distance


def distances(series: Floats) -> Floats:
    """Return every value's distance from the first, shape (values,).

    Raises:
        ValueError: a distance exceeds `MAX_DISTANCE`.
    """
    with np.errstate(over="ignore"):  # an infinite distance is refused below
        relative = series - series[:1]
    far = np.flatnonzero(np.abs(relative) > MAX_DISTANCE)
    if far.size:
        raise ValueError(_too_far(float(series[far[0]]), float(series[0]), int(far[0]) + 1))
    return relative


def _too_far(value: float, first: float, position: int) -> str:
    return (
        f"value {position} of the series is {value}, more than {MAX_DISTANCE:g} from the first value ({first}): "
        "sums of squares cannot be computed"
    )


def check_window(window: object, least: int = 2) -> int:
    """Check a window of at least `least` values, and return it as a plain int.

    Raises:
        ValueError: it is not a whole number, or too small.
    """
    if not isinstance(window, Integral) or isinstance(window, bool) or window < least:
        raise ValueError(f"window must be a whole number of at least {least} values, got {window!r}")
    return int(window)


def check_positive(name: str, value: object) -> float:
    """Check a setting that must be positive, and return it as a plain float.

    Raises:
        ValueError: it is not a finite number above 0.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return float(value)


def check_count(name: str, value: object) -> int:
    """Check a setting that must be a count, and return it as a plain int.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
