"""Criterion: the interface of a stopping criterion; each criterion has a file of its own."""

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

#: Beyond this distance from the first value, squares approach the largest float64, 1.8e308; below the other, unless it
#: is 0, they approach the smallest of full precision, 2.2e-308, and a ratio of variances is a matter of chance.
MAX_DISTANCE, MIN_DISTANCE = 1e150, 1e-150


class Condition(Protocol):
    """A criterion's condition on a series that grows value by value; can be pickled at any point."""

    def update(self, value: float) -> bool:
        """Process the next value, finite where the criterion looks at it; return whether the condition holds now."""


class OnlineCriterion:
    """A criterion at work on a series that grows value by value; can be pickled at any point.

    Example:
        >>> from orchestrator.criteria import DVAR
        >>> online = DVAR(window=3, threshold=0.15).online()
        >>> [online.update(l_det) for l_det in [9.0, 5.0, 3.0, 2.0, 1.9, 1.9]]
        [False, False, False, False, True, True]

    Args:
        condition: a fresh condition; the criterion fires as soon as it holds.
        every: distance between the values at which the criterion looks; None when it looks at none.
    """

    def __init__(self, condition: Condition, every: int | None = 1) -> None:
        self._condition, self._every, self._count, self._has_fired = condition, every, 0, False

    def update(self, value: float) -> bool:
        """Process the next value; return whether the criterion has fired, now or before.

        Raises:
            ValueError: the criterion looks at the value, which is not finite; the message names its 1-based position.
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
        series: what it watches: "l_det" (a value per step), a quality such as "train_clip_image" (a value per
            snapshot), or None when it looks at no value.
        keeps_best: whether it keeps the best snapshot up to the stop, that at `best_step`, rather than the last.
        l_det_schedule: how L_det is evaluated for it. It does not look at the values between two evaluations, which may
            be NaN.
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
        """Return a fresh condition, which takes the series value by value in constant time each."""

    def first_stop(self, values: ArrayLike) -> int | None:
        """Return the number of values at the stop, counted from 1; None when it never stops.

        Args:
            values: the whole series, shape (values,), finite where it looks.

        Raises:
            ValueError: the series is not one-dimensional, or a value at which the criterion looks is not finite (the
                message names its 1-based position).
        """
        stops = np.flatnonzero(self.holds(as_series(values, self._looks_every)))
        return int(stops[0]) + 1 if stops.size else None

    def best_step(self, values: ArrayLike, stop: int) -> int:
        """Return where what it watches was best up to the stop: the snapshot that `keeps_best` keeps.

        L_det is best where it is lowest, a quality where it is highest; the first of equals counts.

        Example:
            >>> from orchestrator.criteria import Patience
            >>> Patience(window=2).best_step([9.0, 5.0, 3.0, 4.0, 4.0, 1.0], stop=5)
            3

        Args:
            values: the whole series, shape (values,), finite where it looks.
            stop: number of values at the stop, at least 1 and at most their number.

        Returns:
            A number of values counted from 1, a step where it watches L_det; the stop itself where it has looked at no
            value yet.

        Raises:
            ValueError: the stop is out of range, or the series is one that `first_stop` refuses.
        """
        series, every = as_series(values, self._looks_every), self._looks_every
        if not 1 <= stop <= len(series):
            raise ValueError(f"stop must be one of the {len(series)} values, counted from 1, got {stop!r}")
        if every is None or stop < every:
            return stop
        seen = series[every - 1 : stop : every]
        return (int(seen.argmin() if self.needs_l_det else seen.argmax()) + 1) * every

    def for_images(self, images: int) -> "Criterion":
        """Return the criterion for a concept with a number of training images: itself, unless it depends on them."""
        return self

    def online(self) -> OnlineCriterion:
        """Return a fresh object that decides value by value, each in constant time."""
        return OnlineCriterion(self.condition(), self._looks_every)

    @property
    def _looks_every(self) -> int | None:
        """Distance between the values at which it looks; None when it looks at none."""
        return None if self.series is None else self.l_det_schedule.every

    @property
    def decides_by_step(self) -> bool:
        """Whether it decides at every step; otherwise it watches snapshots, which a live run does not take."""
        return self.series in (None, L_DET)

    @property
    def needs_l_det(self) -> bool:
        """Whether L_det must be evaluated for it, so that the time of the evaluations counts as its cost."""
        return self.series == L_DET


def as_series(values: ArrayLike, every: int | None = 1) -> Floats:
    """Return `values` as float64, shape (values,).

    Args:
        values: anything that NumPy accepts.
        every: distance between the values that must be finite; None when none must be.

    Raises:
        ValueError: they are not one-dimensional, or a value that must be finite is not.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"values must be a series of shape (values,), got shape {series.shape}")
    if every is not None:
        bad = np.flatnonzero(~np.isfinite(series[every - 1 :: every]))
        if bad.size:
            position = (int(bad[0]) + 1) * every
            check_finite(float(series[position - 1]), position)
    return series


def check_finite(value: float, position: int) -> None:
    """Check that a value is neither NaN nor infinite.

    Args:
        value: of a series.
        position: of the value in the series, counted from 1.

    Raises:
        ValueError: the value is not finite; the message names it and its position.
    """
    if not math.isfinite(value):
        raise ValueError(f"value {position} of the series is {value}; a stopping criterion takes finite values only")


class Distances:
    """Distances from the first value, value by value: running sums are made of these, to be exact far from zero."""

    def __init__(self) -> None:
        self.count, self._first = 0, 0.0

    def take(self, value: float) -> float:
        """Return the next value's distance from the first.

        Raises:
            ValueError: the value is not finite, or its distance from the first is one that `distances` refuses.
        """
        check_finite(value, self.count + 1)
        if self.count == 0:
            self._first = value
        self.count += 1
        distance = value - self._first
        if distance != 0 and not MIN_DISTANCE <= abs(distance) <= MAX_DISTANCE:
            raise ValueError(_no_squares(value, self._first, self.count))
        return distance


def distances(series: Floats) -> Floats:
    """Return every value's distance from the first, shape (values,).

    Raises:
        ValueError: a distance exceeds `MAX_DISTANCE`, or is below `MIN_DISTANCE` without being 0.
    """
    with np.errstate(over="ignore"):  # an infinite distance is refused below
        relative = series - series[:1]
    sizes = np.abs(relative)
    bad = np.flatnonzero((relative != 0) & ~((sizes >= MIN_DISTANCE) & (sizes <= MAX_DISTANCE)))
    if bad.size:
        raise ValueError(_no_squares(float(series[bad[0]]), float(series[0]), int(bad[0]) + 1))
    return relative


def _no_squares(value: float, first: float, position: int) -> str:
    limit = f"more than {MAX_DISTANCE:g}" if abs(value - first) > MAX_DISTANCE else f"less than {MIN_DISTANCE:g}"
    return (
        f"value {position} of the series is {value}, {limit} from the first value ({first}): "
        "sums of its squares cannot be computed; scale the series"
    )


def check_window(window: object, least: int = 2) -> int:
    """Return a window as a plain int, whatever kind of whole number it was given as.

    Raises:
        ValueError: it is not a whole number, or below `least`.
    """
    if not isinstance(window, Integral) or isinstance(window, bool) or window < least:
        raise ValueError(f"window must be a whole number of at least {least} values, got {window!r}")
    return int(window)


def check_positive(name: str, value: object) -> float:
    """Return a setting as a plain float; `name` is for the message.

    Raises:
        ValueError: it is not a finite number above 0.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return float(value)


def check_count(name: str, value: object) -> int:
    """Return a setting as a plain int; `name` is for the message.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    return check_at_least(name, value, 1)


def check_at_least(name: str, value: object, least: int) -> int:
    """Return a setting as a plain int; `name` is for the message.

    Raises:
        ValueError: it is not a whole number of at least `least`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def check_not_negative(name: str, value: object) -> float:
    """Return a setting as a plain float; `name` is for the message.

    Raises:
        ValueError: it is not a finite number of at least 0.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    return float(value)


def check_share(name: str, value: object) -> float:
    """Return a setting as a plain float; `name` is for the message.

    Raises:
        ValueError: it does not lie strictly between 0 and 1.
    """
    if not isinstance(value, Real) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return float(value)
